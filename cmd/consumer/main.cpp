// consumer: records of a topic, to standard output.
#include "cmd/consumer/run.h"

int main(int argc, char** argv) {
    using namespace logstream;
    auto options = consumer::parse_options(argc, argv);
    if (!options) return options.error();
    auto session = runtime::Session::open("consumer", options->client);
    if (!session) return runtime::complain("consumer", session.error());
    int code = 0;
    {
        consumer::Run run(std::move(*options), **session);
        code = run.execute();
    }
    (*session)->drain(std::chrono::milliseconds(200));
    return code;
}
