#include "cmd/producer/options.h"

#include <map>

namespace logstream::producer {

namespace {

constexpr const char* kExamples = R"(Examples:
  producer --topic app < app.log              each line is a record; waits for every acknowledgement
  tail -f app.log | producer --topic app      until Ctrl-C
  producer --topic app --message hello --count 10 --rate 2
  producer --topic users --key-separator : < users.txt
  producer --topic app --file app.log --name app-import --resume
                                              run again after a crash: goes on where it stopped
Exits 0 only if every record was acknowledged; the summary is on stderr.)";

int usage(std::string_view what) {
    std::fprintf(stderr, "producer: %.*s\nTry producer --help.\n", static_cast<int>(what.size()), what.data());
    return runtime::kUsage;
}

}  // namespace

std::expected<Options, int> parse_options(int argc, char** argv) {
    Options options;
    CLI::App app{"Appends lines to a topic, each as a record, and waits until each is acknowledged.", "producer"};
    app.footer(kExamples);
    app.add_option("-t,--topic", options.producer.topic, "Topic to append to")->required();
    options.client.add_to(app);
    auto* file =
        app.add_option("--file", options.file, "Read lines from PATH in place of standard input")->type_name("PATH");
    std::string message;
    auto* made =
        app.add_option("--message", message, "Send TEXT in place of reading lines; once, or see --count, --rate")
            ->type_name("TEXT")
            ->excludes(file);
    std::uint64_t count = 0;
    auto* limited = app.add_option("--count", count, "Send N records at most")->type_name("N");
    double rate = 0;
    auto* paced =
        app.add_option("--rate", rate, "Send at most N records per second")->type_name("N")->check(CLI::PositiveNumber);
    double interval_ms = 0;
    auto* spaced = app.add_option("--interval", interval_ms, "Send one record every MS milliseconds")
                       ->type_name("MS")
                       ->check(CLI::PositiveNumber)
                       ->excludes(paced);
    std::string key;
    auto* keyed = app.add_option("--key", key, "Key of every record")->type_name("K");
    std::string separator;
    auto* separated =
        app.add_option("--key-separator", separator, "The key is what stands before the first C of a line")
            ->type_name("C")
            ->excludes(keyed);
    std::uint32_t partition = 0;
    auto* fixed = app.add_option("--partition", partition, "Partition to append to, in place of one by key or in turn")
                      ->type_name("N");
    const std::map<std::string, proto::Acks> acks{
        {"none", proto::NONE}, {"owner", proto::OWNER}, {"quorum", proto::QUORUM}, {"all", proto::ALL}};
    app.add_option("--acks", options.producer.acks,
                   "Who must have a record before it counts: none, owner, quorum, all (quorum)")
        ->transform(CLI::CheckedTransformer(acks).description(""))
        ->type_name("WHO");
    app.add_option("--batch-bytes", options.producer.batch_bytes, "Close a batch at this size, e.g. 64KiB (256KiB)")
        ->transform(CLI::AsSizeValue(false).description(""))
        ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 30).description(""))
        ->type_name("BYTES");
    double linger_ms = 5;
    app.add_option("--linger", linger_ms, "Wait so long for a batch to fill")
        ->type_name("MS")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    std::string compression = "none";
    app.add_option("--compression", compression, "none, lz4, zstd, snappy or gzip")
        ->check(CLI::IsMember({"none", "lz4", "zstd", "snappy", "gzip"}).description(""))
        ->type_name("CODEC")
        ->capture_default_str();
    double timeout_ms = 120'000;
    app.add_option("--timeout", timeout_ms, "Retry a record for so long; 0: one try, then say why not")
        ->type_name("MS")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--name", options.producer.name, "Name of this producer: an older instance of it is fenced")
        ->type_name("NAME");
    app.add_flag("--resume", options.producer.resumes,
                 "With --file and --name: skip the lines that the cluster has from that name, and send the others; a "
                 "file that is not the one that was sent is refused. Without it all is sent, as a new file");
    app.add_flag("--same-file", options.same_file,
                 "With --resume: skip as many lines as the cluster has, whatever they are now");
    app.add_option("--failed", options.failed, "Write records that were not acknowledged to PATH")->type_name("PATH");
    if (const auto code = runtime::parse(app, argc, argv)) return std::unexpected(*code);

    if (made->count() > 0) options.message = message;
    if (limited->count() > 0) options.count = count;
    if (paced->count() > 0) options.rate = rate;
    if (spaced->count() > 0) options.rate = 1000 / interval_ms;
    if (keyed->count() > 0) options.key = key;
    if (fixed->count() > 0) options.partition = partition;
    if (separated->count() > 0) {
        if (separator == "\\t") separator = "\t";
        if (separator.size() != 1) return std::unexpected(usage("--key-separator takes one character (\\t is a tab)"));
        options.key_separator = separator.front();
    }
    if (options.message && !options.count && !options.rate) options.count = 1;
    if (options.producer.resumes && (options.file.empty() || options.producer.name.empty()))
        return std::unexpected(
            usage("--resume needs --file and --name: it asks the cluster what it has from that name"));
    if (options.same_file && !options.producer.resumes) return std::unexpected(usage("--same-file needs --resume"));
    if (!options.producer.name.empty() && !client::keeps_sequences_whole(options.producer.acks))
        return std::unexpected(usage("--name goes by what a quorum has: use --acks quorum or all"));
    options.producer.compression = *protocol::parse_codec(compression);
    options.producer.linger = std::chrono::nanoseconds(static_cast<std::int64_t>(linger_ms * 1e6));
    options.producer.timeout = std::chrono::nanoseconds(static_cast<std::int64_t>(timeout_ms * 1e6));
    return options;
}

}  // namespace logstream::producer
