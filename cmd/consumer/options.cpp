#include "cmd/consumer/options.h"

#include <charconv>

#include "cmd/consumer/format.h"

namespace logstream::consumer {

namespace {

constexpr const char* kExamples = R"(Examples:
  consumer --topic app                        all records, to the end that stands now
  consumer --topic app --from -10 --follow    the last 10, then what comes, until Ctrl-C
  consumer --topic app --group index --follow shares the partitions with others of the group, goes on where it stopped
  consumer --topic app --format '%p %o %T %k %v'
  consumer --topic app --from latest --follow --analytics --window 10
Format: %t topic, %p partition, %o offset, %T timestamp (ms since 1970), %k key, %v value, %h headers, %% a percent sign;
\n \t \\ as usual. A newline is added to each record.)";

int usage(std::string_view what) {
    std::fprintf(stderr, "consumer: %.*s\nTry consumer --help.\n", static_cast<int>(what.size()), what.data());
    return runtime::kUsage;
}

}  // namespace

std::optional<client::StartAt> parse_start(std::string_view text) {
    using Kind = client::StartAt::Kind;
    if (text == "earliest") return client::StartAt{Kind::kEarliest};
    if (text == "latest") return client::StartAt{Kind::kLatest};
    const bool tail = text.starts_with('-');
    if (tail) text.remove_prefix(1);
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size() || number < 0) return std::nullopt;
    return client::StartAt{tail ? Kind::kTail : Kind::kOffset, number};
}

std::expected<Options, int> parse_options(int argc, char** argv) {
    Options options;
    CLI::App app{"Writes the records of a topic to standard output.", "consumer"};
    app.footer(kExamples);
    app.add_option("-t,--topic", options.consumer.topic, "Topic to read")->required();
    options.client.add_to(app);
    std::string from = "earliest";
    app.add_option("--from", from, "earliest, latest, an offset, or -N: the last N of each partition")
        ->type_name("WHERE")
        ->capture_default_str();
    app.add_flag("-f,--follow", options.consumer.follow,
                 "Go on with what comes; else stop at the end that stands at the start");
    app.add_flag("--skip-unreadable", options.consumer.skip_unreadable,
                 "Pass over records that cannot be decoded, with a warning; else they end reading");
    std::uint64_t count = 0;
    auto* limited = app.add_option("--count", count, "Stop after N records")->type_name("N");
    std::uint32_t partition = 0;
    auto* fixed = app.add_option("--partition", partition, "Read this partition alone")->type_name("N");
    app.add_option("--group", options.consumer.group,
                   "Share the partitions with the other consumers of G; resume at, and commit, its offsets")
        ->type_name("G")
        ->excludes(fixed);
    double session_s = 6;
    app.add_option("--session-timeout", session_s, "With --group: a consumer that is silent for so long is given up")
        ->type_name("S")
        ->check(CLI::Range(1.0, 300.0).description(""))
        ->capture_default_str();
    auto* formatted = app.add_option("--format", options.format, "How to write a record, see below")
                          ->type_name("FORMAT")
                          ->capture_default_str();
    auto* analytics =
        app.add_flag("--analytics", options.analytics, "Print rate, bytes and counts in place of the records")
            ->excludes(formatted);
    app.add_option("--window", options.window_s, "With --analytics: the window that is summed up")
        ->type_name("S")
        ->check(CLI::PositiveNumber)
        ->needs(analytics)
        ->capture_default_str();
    app.add_option("--interval", options.interval_ms, "With --analytics: how often to print")
        ->type_name("MS")
        ->check(CLI::PositiveNumber)
        ->needs(analytics)
        ->capture_default_str();
    if (const auto code = runtime::parse(app, argc, argv)) return std::unexpected(*code);

    const auto start = parse_start(from);
    if (!start) return std::unexpected(usage("--from takes earliest, latest, an offset, or -N"));
    options.consumer.start = *start;
    if (const auto wrong = Formatter::check(options.format)) return std::unexpected(usage(*wrong));
    if (limited->count() > 0) options.count = count;
    if (fixed->count() > 0) options.consumer.partition = partition;
    options.consumer.session_timeout = std::chrono::milliseconds(static_cast<std::int64_t>(session_s * 1000));
    return options;
}

}  // namespace logstream::consumer
