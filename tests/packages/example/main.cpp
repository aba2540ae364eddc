// Appends one record and waits until a quorum has it on disk: example HOST PORT TOPIC TEXT
#include <internal/client/producer.h>
#include <internal/net/resolve.h>
#include <internal/net/uv_env.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <cstdlib>

using namespace logstream;

int main(int argc, char** argv) {
    if (argc != 5) return 2;
    const auto brokers = net::resolve(argv[1], static_cast<std::uint16_t>(std::atoi(argv[2])));
    net::Loop loop;
    auto env = net::UvEnv::open(loop, {}, spdlog::default_logger());
    if (!brokers || !env) return 1;

    client::Bootstrap bootstrap;
    bootstrap.cluster = "";  // the address names the brokers well enough
    bootstrap.brokers = *brokers;
    client::Router router(**env, bootstrap);
    router.start();

    std::optional<protocol::Result<protocol::Offset>> outcome;
    client::ProducerOptions options;
    options.topic = argv[3];
    client::Producer producer(router, options, [&](const client::BatchReport& report) { outcome = report.outcome; });
    producer.start([&](protocol::Result<void> ready) {
        if (ready) ready = producer.send({.key = {}, .value = argv[4]});
        if (!ready) outcome = std::unexpected(ready.error());
    });
    loop.run_until([&] { return outcome.has_value(); }, std::chrono::minutes(1));
    if (!outcome || !*outcome) return 1;
    std::printf("offset %lld\n", static_cast<long long>((*outcome)->value));
    return 0;
}
