// consumer: records of a topic, to standard output.
#include "cmd/consumer/run.h"
#include "internal/process/standard_streams.h"

namespace {

using namespace logstream;

int run(int argc, char** argv) {
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

}  // namespace

int main(int argc, char** argv) {
    process::open_standard_streams();
    return process::finish_output("consumer", run(argc, argv));
}
