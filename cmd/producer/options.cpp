#include "cmd/producer/options.h"

#include <utility>

#include "cmd/producer/failed_file.h"
#include "cmd/runtime/choices.h"
#include "cmd/runtime/values.h"
#include "internal/manual/program.h"

namespace logstream::producer {

namespace {

constexpr protocol::Duration kMillisecond = std::chrono::milliseconds(1);
constexpr double kLeastRate = 1e-6;

constexpr std::array kPartitioners{runtime::Word{"key", Partitioner::kKey}, runtime::Word{"turn", Partitioner::kTurn},
                                   runtime::Word{"random", Partitioner::kRandom}};

constexpr const char* kExamples = R"(Examples:
  producer --topic app < app.log              one record per line; waits for every acknowledgement
  tail -f app.log | producer --topic app      until Ctrl-C
  producer --topic app --message hello --count 10 --rate 2
  producer --topic app --message hello -H host=web1 -H app=shop
  producer --topic users --key-separator : < users.txt
  echo '{"key": "u1", "value": "hello", "headers": {"host": "web1"}}' | producer --topic users --json
  consumer --topic app --json | producer --topic copy --json
  producer --topic app --file app.log --name app-import --resume
                                              run again after a crash: continues where it stopped
Exits 0 only if every record was acknowledged; the summary is on stderr.)";

int usage(std::string_view what) { return runtime::wrong_usage("producer", what); }

}  // namespace

std::expected<Options, int> parse_options(int argc, char** argv) {
    Options options;
    CLI::App app{"Appends lines to a topic, one record per line, and waits until each is acknowledged.", "producer"};
    app.footer(kExamples);
    manual::set_source(app.add_option("-t,--topic", options.producer.topic, "Topic to append to")->required(),
                       "topics");
    options.client.add_to(app);
    auto* file =
        app.add_option("--file", options.file, "Read lines from PATH instead of standard input")->type_name("PATH");
    std::string message;
    auto* made = app.add_option("--message", message,
                                "Send TEXT instead of reading lines; sent once unless --count or --rate is given")
                     ->type_name("TEXT")
                     ->excludes(file);
    runtime::add_value(app, "--count", options.count, "Send at most N records", runtime::count_from<std::uint64_t>(0));
    auto* paced =
        runtime::add_value(app, "--rate", options.rate, "Send at most N records per second", runtime::rate(kLeastRate));
    protocol::Duration interval{};
    auto* spaced = runtime::add_value(app, "--interval", interval, "Send one record every MS milliseconds",
                                      runtime::wait_in(kMillisecond, std::chrono::nanoseconds(1)))
                       ->type_name("MS")
                       ->excludes(paced);
    std::string key;
    auto* keyed = app.add_option("--key", key, "Key of every record")->type_name("K");
    std::string separator;
    auto* separated = app.add_option("--key-separator", separator, "The key is the part of a line before the first C")
                          ->type_name("C")
                          ->excludes(keyed);
    app.add_option("-H,--header", options.headers, "Header of every record; may be repeated")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    auto* json = app.add_flag("--json", options.json,
                              "Each line is a JSON object: key, value, headers, partition, timestamp (ms since 1970); "
                              "key_base64 and value_base64 hold arbitrary bytes")
                     ->excludes(separated)
                     ->excludes(made);
    app.add_flag("--null-value", options.null_value,
                 "Send an empty value as null, which deletes its key in a compacted topic")
        ->excludes(json);
    auto* chosen = runtime::add_value(app, "--partition", options.partition,
                                      "Append to this partition instead of choosing one by key or in turn",
                                      runtime::count_from<std::uint32_t>(0));
    std::vector<std::string> partitioners;
    for (const auto& word : kPartitioners) partitioners.emplace_back(word.text);
    auto* placed =
        manual::set_words(
            runtime::add_value(app, "--partitioner", options.partitioner,
                               "key: by hash of the key, like Kafka; without a key, in turn, a batch each; turn: in "
                               "turn, a record each; random",
                               runtime::one_of(kPartitioners)),
            partitioners)
            ->type_name("HOW")
            ->default_str("key")
            ->excludes(chosen);
    runtime::add_acks(
        app, options.producer.acks,
        "Who must have a record before it is acknowledged: none, owner, quorum, all (quorum); Kafka's 0, 1 "
        "and -1 are none, owner and quorum");
    runtime::add_value(app, "--batch-bytes", options.producer.batch_bytes,
                       "Close a batch at this size, e.g. 64KiB (256KiB)", runtime::size_between(1, 1u << 30))
        ->type_name("BYTES");
    options.producer.linger = 5 * kMillisecond;
    runtime::add_value(app, "--linger", options.producer.linger, "Wait up to MS for a batch to fill",
                       runtime::wait_in(kMillisecond))
        ->type_name("MS")
        ->default_str("5");
    std::string compression = "none";
    runtime::add_compression(app, compression);
    options.producer.timeout = 120'000 * kMillisecond;
    runtime::add_value(app, "--timeout", options.producer.timeout,
                       "Retry a record for up to MS; 0: try once, then report why it failed",
                       runtime::wait_in(kMillisecond))
        ->type_name("MS")
        ->default_str("120000");
    app.add_option("--name", options.producer.name,
                   "Name of this producer; an older instance with the same name is fenced")
        ->type_name("NAME");
    app.add_flag(
        "--resume", options.producer.resumes,
        "With --file and --name: skip the lines that the cluster already has from that name and send the rest; "
        "a file that differs from the one sent before is refused. Without it, everything is sent, as a new "
        "file");
    app.add_flag("--same-file", options.same_file,
                 "With --resume: skip as many lines as the cluster has, even if their content changed");
    app.add_option("--failed", options.failed,
                   "Write records that were not acknowledged to PATH; its previous content is kept as PATH~, PATH~2, …")
        ->type_name("PATH");
    if (const auto code = runtime::parse(app, argc, argv, {made, keyed})) return std::unexpected(*code);

    options.partitioner_given = placed->count() > 0;
    if (made->count() > 0) options.message = message;
    if (spaced->count() > 0) options.rate = 1 / std::chrono::duration<double>(interval).count();
    if (keyed->count() > 0) options.key = key;
    if (separated->count() > 0) {
        if (separator == "\\t") separator = "\t";
        if (separator.size() != 1) return std::unexpected(usage("--key-separator takes one character (\\t is a tab)"));
        options.key_separator = separator.front();
    }
    for (const std::string& header : options.headers)
        if (const auto equals = header.find('='); equals == 0 || equals == std::string::npos)
            return std::unexpected(usage(fmt::format("--header takes KEY=VALUE, not '{}'", header)));
    if (options.message && !options.count && !options.rate) options.count = 1;
    if (!options.failed.empty() && !options.message && is_input(options.failed, options.file))
        return std::unexpected(usage("--failed would overwrite the file being read: choose another one"));
    if (options.producer.resumes && (options.file.empty() || options.producer.name.empty()))
        return std::unexpected(
            usage("--resume needs --file and --name: it asks the cluster which lines it has from that name"));
    if (options.partitioner == Partitioner::kRandom && !options.producer.name.empty())
        return std::unexpected(usage(
            "--name needs each line to go to the same partition every time: --partitioner random cannot do that"));
    if (options.same_file && !options.producer.resumes) return std::unexpected(usage("--same-file needs --resume"));
    if (!options.producer.name.empty() && !client::keeps_sequences_whole(options.producer.acks))
        return std::unexpected(usage("--name relies on what a quorum has: use --acks quorum or all"));
    options.producer.compression = protocol::parse_codec(compression);  // none: auto
    return options;
}

}  // namespace logstream::producer
