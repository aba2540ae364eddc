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
  logstream-bench                                       one producer, 100-byte records, as fast as possible
  logstream-bench --producers 4 --partitions 8 --consumers 1 --duration 30
  logstream-bench --window 1 --linger 0                 latency of one record at a time
  logstream-bench --rate 10000 --acks all --json
  logstream-bench --topics 10000 --active 1000 --producers 64
  logstream-bench --limits                              what this machine's network, disk and memory can do
Latency is measured from when a record is handed to the client until its acknowledgement; for a batch, from its first
record. Consumers report the time from then until delivery.)";

}  // namespace

std::expected<Options, int> parse_options(int argc, char** argv) {
    Options options;
    CLI::App app{"Measures how fast a cluster accepts and delivers records.", "logstream-bench"};
    app.footer(kExamples);
    options.client.add_to(app);
    app.add_option("-t,--topic", options.producer.topic,
                   "Topic; without it, one is created for the run and deleted afterwards");
    runtime::add_value(app, "--partitions", options.partitions, "Partitions of the topic that is created",
                       runtime::count_from<std::uint32_t>(1, 10'000))
        ->default_str("1");
    runtime::add_value(
        app, "--topics", options.topics,
        "Number of topics, named with a suffix 0, 1, 2 and so on; producers divide them among themselves",
        runtime::count_from<std::uint32_t>(1, 100'000))
        ->default_str("1");
    runtime::add_value(app, "--active", options.active, "Write to only N of the topics; 0: all",
                       runtime::count_from<std::uint32_t>(0))
        ->default_str("0");
    runtime::add_value(app, "--producers", options.producers, "Number of producer threads",
                       runtime::count_from<std::uint32_t>(0, 256))
        ->default_str("1");
    runtime::add_value(app, "--consumers", options.consumers,
                       "Number of consumer threads, each reading the whole topic",
                       runtime::count_from<std::uint32_t>(0, 256))
        ->default_str("0");
    runtime::add_value(app, "--record-bytes", options.record_bytes, "Size of a record's value",
                       runtime::size_between(8, 1 << 20))
        ->type_name("BYTES")
        ->default_str("100");
    runtime::add_acks(app, options.producer.acks, "none, owner, quorum or all; Kafka's 0, 1 and -1")
        ->default_str("quorum");
    runtime::add_value(app, "--in-flight", options.producer.max_in_flight,
                       "Batches in flight per partition and producer, up to 5", runtime::count_from<std::size_t>(1, 5))
        ->default_str(std::to_string(options.producer.max_in_flight));
    runtime::add_value(app, "--window", options.window,
                       "Records in flight per producer; 0: as many as the batches in flight hold",
                       runtime::count_from<std::uint64_t>(0))
        ->default_str("0");
    runtime::add_value(app, "--batch-bytes", options.producer.batch_bytes, "Close a batch at this size (256KiB)",
                       runtime::size_between(1, 1u << 30))
        ->type_name("BYTES");
    options.producer.linger = kMillisecond;
    runtime::add_value(app, "--linger", options.producer.linger, "Wait up to MS for a batch to fill",
                       runtime::wait_in(kMillisecond))
        ->type_name("MS")
        ->default_str("1");
    runtime::add_compression(app, options.compression);
    runtime::add_value(app, "--rate", options.rate,
                       "Records per second, all producers together; 0: as fast as possible", runtime::rate(0))
        ->default_str("0");
    runtime::add_value(app, "--duration", options.duration, "Measure for S seconds",
                       runtime::wait_in(kSecond, kMillisecond))
        ->type_name("S")
        ->default_str("10");
    runtime::add_value(app, "--warmup", options.warm_up, "Run for S seconds before measuring",
                       runtime::wait_in(kSecond))
        ->type_name("S")
        ->default_str("2");
    app.add_flag("--json", options.json, "Print one JSON object");
    app.add_option(
           "--compare", options.compare,
           "Compare with an earlier result, a file that --json wrote; with two files, compare these without a run")
        ->type_name("FILE")
        ->expected(1, 2)
        ->check(CLI::Validator(CLI::ExistingFile).description(""));
    auto* limits = app.add_flag("--limits", options.limits, "Measure this machine instead of a cluster");
    app.add_option("--network", options.network,
                   "Measure between the hosts NAME-1 to NAME-3 of deploy/netns; without it, on loopback")
        ->needs(limits)
        ->type_name("NAME");
    app.add_option("--dir", options.dir, "Measure the disk that holds this folder")
        ->needs(limits)
        ->type_name("DIR")
        ->check(CLI::Validator(CLI::ExistingDirectory).description(""))
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
