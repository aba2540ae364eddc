#include "cmd/bench/options.h"

#include <map>
#include <random>

namespace logstream::bench {

std::string Options::topic(std::uint32_t index) const {
    return topics == 1 ? producer.topic : fmt::format("{}-{}", producer.topic, index);
}

namespace {

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
    app.add_option("--partitions", options.partitions, "Partitions of the topic that is made")
        ->check(CLI::Range(1, 10'000).description(""))
        ->capture_default_str();
    app.add_option("--topics", options.topics,
                   "Topics, with 0, 1, 2 and so on behind the name; producers share them out")
        ->check(CLI::Range(1, 100'000).description(""))
        ->capture_default_str();
    app.add_option("--active", options.active, "Only so many of the topics are written to; 0: all")
        ->type_name("N")
        ->capture_default_str();
    app.add_option("--producers", options.producers, "Threads that append")
        ->check(CLI::Range(0, 256).description(""))
        ->capture_default_str();
    app.add_option("--consumers", options.consumers, "Threads that read, each the whole topic")
        ->check(CLI::Range(0, 256).description(""))
        ->capture_default_str();
    app.add_option("--record-bytes", options.record_bytes, "Size of a record's value")
        ->transform(CLI::AsSizeValue(false).description(""))
        ->check(CLI::Range(8, 1 << 20).description(""))
        ->type_name("BYTES")
        ->capture_default_str();
    const std::map<std::string, proto::Acks> acks{
        {"none", proto::NONE}, {"owner", proto::OWNER}, {"quorum", proto::QUORUM}, {"all", proto::ALL}};
    app.add_option("--acks", options.acks, "none, owner, quorum or all")
        ->check(CLI::IsMember({"none", "owner", "quorum", "all"}).description(""))
        ->type_name("WHO")
        ->capture_default_str();
    app.add_option("--in-flight", options.producer.max_in_flight,
                   "Batches under way per partition and producer, up to 5")
        ->check(CLI::Range(1, 5).description(""))
        ->capture_default_str();
    app.add_option("--window", options.window, "Records under way per producer; 0: what the batches in flight hold")
        ->type_name("N")
        ->capture_default_str();
    app.add_option("--batch-bytes", options.producer.batch_bytes, "Close a batch at this size (256KiB)")
        ->transform(CLI::AsSizeValue(false).description(""))
        ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 30).description(""))
        ->type_name("BYTES");
    double linger_ms = 1;
    app.add_option("--linger", linger_ms, "Wait so long for a batch to fill")
        ->type_name("MS")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--compression", options.compression, "none, lz4, zstd, snappy or gzip")
        ->check(CLI::IsMember({"none", "lz4", "zstd", "snappy", "gzip"}).description(""))
        ->type_name("CODEC")
        ->capture_default_str();
    app.add_option("--rate", options.rate, "Records per second of all producers together; 0: as fast as it goes")
        ->type_name("N")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    double duration_s = 10;
    app.add_option("--duration", duration_s, "Measure for so long")
        ->type_name("S")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    double warm_up_s = 2;
    app.add_option("--warmup", warm_up_s, "Run for so long before")
        ->type_name("S")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
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

    options.producer.acks = acks.at(options.acks);
    options.producer.compression = *protocol::parse_codec(options.compression);
    options.producer.linger = std::chrono::nanoseconds(static_cast<std::int64_t>(linger_ms * 1e6));
    options.producer.auto_create = client::AutoCreate::kNo;
    options.duration = std::chrono::nanoseconds(static_cast<std::int64_t>(duration_s * 1e9));
    options.warm_up = std::chrono::nanoseconds(static_cast<std::int64_t>(warm_up_s * 1e9));
    if (options.producer.topic.empty()) {
        options.own_topic = true;
        options.producer.topic = fmt::format("bench-{:08x}", std::random_device{}());
    }
    return options;
}

}  // namespace logstream::bench
