// producer: lines in, records out.
#include "cmd/producer/run.h"
#include "internal/process/standard_streams.h"

namespace {

using namespace logstream;

int run(int argc, char** argv) {
    auto options = producer::parse_options(argc, argv);
    if (!options) return options.error();
    // With --timeout 0 the user wants to hear soon.
    const auto search = std::clamp<protocol::Duration>(options->producer.timeout, std::chrono::milliseconds(1800),
                                                       std::chrono::seconds(10));
    auto session = runtime::Session::open("producer", options->client, search);
    if (!session) return runtime::complain("producer", session.error());
    int code = 0;
    {
        producer::Run run(std::move(*options), **session);
        code = run.execute();
    }
    (*session)->drain(std::chrono::milliseconds(200));
    return code;
}

}  // namespace

int main(int argc, char** argv) {
    process::open_standard_streams();
    return process::finish_output("producer", run(argc, argv));
}
