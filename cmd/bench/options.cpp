#include "cmd/bench/options.h"

#include <random>

#include "cmd/runtime/choices.h"
#include "cmd/runtime/values.h"

namespace logstream::bench {

std::string Options::topic(std::uint32_t index) const {
    return topics == 1 ? producer.topic : fmt::format("{}-{}", producer.topic, index);
}

namespace {

constexpr protocol::Duration kMillisecond = std::chrono::milliseconds(1);
constexpr protocol::Duration kSecond = std::chrono::seconds(1);

constexpr const char* kExamples = R"(Examples:
  logstream-bench                                       one producer, 100-byte records, as fast as it goes
  logstream-bench --producers 4 --partitions 8 --consumers 1 --duration 30
  logstream-bench --window 1 --linger 0                 latency of one record at a time
  logstream-bench --rate 10000 --acks all --json
  logstream-bench --topics 10000 --active 1000 --producers 64
  logstream-bench --limits                              what network, disk and memory of this machine could do
The latency of a record counts from when it is handed to the client to its acknowledgement, of a batch from its first
record. Consumers tell the time from handing over to delivery.)";

}  // namespace

std::expected<Options, int> parse_options(int argc, char** argv) {
    Options options;
    CLI::App app{"Measures how fast a cluster takes and gives records.", "logstream-bench"};
    app.footer(kExamples);
    options.client.add_to(app);
    app.add_option("-t,--topic", options.producer.topic,
                   "Topic; without it one is made for the run and deleted after it");
    runtime::add_value(app, "--partitions", options.partitions, "Partitions of the topic that is made",
                       runtime::count_from<std::uint32_t>(1, 10'000))
        ->default_str("1");
    runtime::add_value(app, "--topics", options.topics,
                       "Topics, with 0, 1, 2 and so on behind the name; producers share them out",
                       runtime::count_from<std::uint32_t>(1, 100'000))
        ->default_str("1");
    runtime::add_value(app, "--active", options.active, "Only so many of the topics are written to; 0: all",
                       runtime::count_from<std::uint32_t>(0))
        ->default_str("0");
    runtime::add_value(app, "--producers", options.producers, "Threads that append",
                       runtime::count_from<std::uint32_t>(0, 256))
        ->default_str("1");
    runtime::add_value(app, "--consumers", options.consumers, "Threads that read, each the whole topic",
                       runtime::count_from<std::uint32_t>(0, 256))
        ->default_str("0");
    runtime::add_value(app, "--record-bytes", options.record_bytes, "Size of a record's value",
                       runtime::size_between(8, 1 << 20))
        ->type_name("BYTES")
        ->default_str("100");
    runtime::add_acks(app, options.producer.acks, "none, owner, quorum or all; Kafka's 0, 1 and -1")
        ->default_str("quorum");
    runtime::add_value(app, "--in-flight", options.producer.max_in_flight,
                       "Batches under way per partition and producer, up to 5", runtime::count_from<std::size_t>(1, 5))
        ->default_str(std::to_string(options.producer.max_in_flight));
    runtime::add_value(app, "--window", options.window,
                       "Records under way per producer; 0: what the batches in flight hold",
                       runtime::count_from<std::uint64_t>(0))
        ->default_str("0");
    runtime::add_value(app, "--batch-bytes", options.producer.batch_bytes, "Close a batch at this size (256KiB)",
                       runtime::size_between(1, 1u << 30))
        ->type_name("BYTES");
    options.producer.linger = kMillisecond;
    runtime::add_value(app, "--linger", options.producer.linger, "Wait so long for a batch to fill",
                       runtime::wait_in(kMillisecond))
        ->type_name("MS")
        ->default_str("1");
    runtime::add_compression(app, options.compression);
    runtime::add_value(app, "--rate", options.rate,
                       "Records per second of all producers together; 0: as fast as it goes", runtime::rate(0))
        ->default_str("0");
    runtime::add_value(app, "--duration", options.duration, "Measure for so long",
                       runtime::wait_in(kSecond, kMillisecond))
        ->type_name("S")
        ->default_str("10");
    runtime::add_value(app, "--warmup", options.warm_up, "Run for so long before", runtime::wait_in(kSecond))
        ->type_name("S")
        ->default_str("2");
    app.add_flag("--json", options.json, "Print one JSON object");
    auto* limits = app.add_flag("--limits", options.limits, "Measure this machine, in place of a cluster");
    app.add_option("--network", options.network,
                   "Limits between the hosts NAME-1 to NAME-3 that deploy/netns made, else on loopback")
        ->needs(limits)
        ->type_name("NAME");
    app.add_option("--dir", options.dir, "Limits of the disk of this folder")
        ->needs(limits)
        ->check(CLI::ExistingDirectory)
        ->capture_default_str();
    if (const auto code = runtime::parse(app, argc, argv)) return std::unexpected(*code);

    options.producer.compression = protocol::parse_codec(options.compression);  // none: auto
    options.producer.auto_create = client::AutoCreate::kNo;
    if (options.producer.topic.empty()) {
        options.own_topic = true;
        options.producer.topic = fmt::format("bench-{:08x}", std::random_device{}());
    }
    return options;
}

}  // namespace logstream::bench
