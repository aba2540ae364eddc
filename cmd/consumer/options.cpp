#include "cmd/consumer/options.h"

#include <algorithm>
#include <chrono>

#include "cmd/consumer/format.h"
#include "cmd/consumer/sources.h"
#include "cmd/runtime/start_at.h"
#include "cmd/runtime/values.h"
#include "internal/client/topic_name.h"
#include "internal/manual/program.h"
#include "internal/text/utf8.h"

namespace logstream::consumer {

namespace {

constexpr protocol::Duration kMillisecond = std::chrono::milliseconds(1);
constexpr protocol::Duration kSecond = std::chrono::seconds(1);

constexpr const char* kExamples = R"(Examples:
  consumer --topic app                        all records up to the current end
  consumer --topic app --from -10 --follow    the last 10, then new records, until Ctrl-C
  consumer --topic app --from @-15m           records of the last 15 minutes
  consumer --topic app --from @2026-11-29T10:00 --until @2026-11-29T10:05
  consumer --topic 'app.*' --follow --format '%t %v'  all matching topics, also those created later
  consumer --topic app --group index --follow shares the partitions with the group, resumes where it stopped
  consumer --topic app --format '%p %o %T %k %v'
  consumer --topic app --json | jq -r .value
  consumer --topic app --from @-1h --grep 'ERROR|WARN' --format '%d %v'
  consumer --topic app --from latest --follow --analytics --window 10
TIME: 2026-11-29, 2026-11-29T10:00 or 2026-11-29T10:00:30, in UTC; -15m (15 minutes ago); or milliseconds since 1970.
It is compared with the timestamps of records: the time at which they were sent, unless their producer gave another.
Format: %t topic, %p partition, %o offset, %T timestamp (ms since 1970), %d timestamp as UTC date and time, %k key,
%v value, %h headers, %% a percent sign; \n \t \\ as usual. A newline is added to each record.)";

runtime::Parse<protocol::Duration> session_timeout() {
    return [](std::string_view text) -> config::Parsed<protocol::Duration> {
        auto value = config::parse_wait(text, kSecond);
        if (value && (*value < kSecond || *value > 300 * kSecond)) return std::unexpected("1 to 300 seconds");
        return value;
    };
}

int usage(std::string_view what) { return runtime::wrong_usage("consumer", what); }

}  // namespace

std::expected<Options, int> parse_options(int argc, char** argv) {
    Options options;
    CLI::App app{"Writes the records of topics to standard output.", "consumer"};
    app.footer(kExamples);
    auto* topics =
        app.add_option(
               "-t,--topic", options.topics,
               "Topic to read, or a pattern for several ('app.*', with * ? [a-z] as in a shell); may be repeated, "
               "or a list with commas")
            ->type_name("T")
            ->required()
            ->delimiter(',')
            ->allow_extra_args(false);
    manual::set_source(topics, "topics");
    options.client.add_to(app);
    std::string from = "earliest";
    auto* places =
        app.add_option("--from", from,
                       "earliest, latest, an offset, -N: the last N of each partition, or @TIME: all from the first "
                       "record with that timestamp or a later one, see below")
            ->type_name("WHERE")
            ->capture_default_str();
    auto* follows = app.add_flag("-f,--follow", options.consumer.follow,
                                 "Keep reading new records; without it, stop at the end as of the start");
    std::string until;
    auto* ends = app.add_option("--until", until, "Stop each partition before its first record at or after that time")
                     ->type_name("@TIME")
                     ->excludes(follows);
    app.add_flag("--skip-unreadable", options.consumer.skip_unreadable,
                 "Skip records that cannot be decoded, with a warning; without it, they are an error");
    runtime::add_value(app, "--count", options.count, "Stop after N records", runtime::count_from<std::uint64_t>(0));
    std::string pattern;
    auto* filtered =
        app.add_option("--grep", pattern,
                       "Only records whose value contains a match of this regular expression (RE2, on bytes)")
            ->type_name("PATTERN");
    std::string key;
    auto* keyed = app.add_option("--key", key, "Only records with this key")->type_name("K");
    auto* fixed = runtime::add_value(app, "--partition", options.consumer.partition, "Read only this partition",
                                     runtime::count_from<std::uint32_t>(0));
    auto* group =
        app.add_option("--group", options.consumer.group,
                       "Share the partitions with the other consumers of group G; resume at its committed offsets and "
                       "commit to them")
            ->type_name("G")
            ->excludes(fixed)
            ->excludes(ends);
    manual::set_source(group, "groups");
    options.consumer.session_timeout = 6 * kSecond;
    runtime::add_value(app, "--session-timeout", options.consumer.session_timeout,
                       "With --group: a consumer silent for S seconds is removed from the group, 1 to 300",
                       session_timeout())
        ->type_name("S")
        ->default_str("6");
    std::optional<protocol::Duration> limit;
    runtime::add_value(app, "--timeout", limit,
                       "Give up and report why when no record arrives for MS; 0: never (120000; with --follow, 0)",
                       runtime::wait_in(kMillisecond))
        ->type_name("MS");
    auto* formatted = app.add_option("--format", options.format, "Output format of a record, see below")
                          ->type_name("FORMAT")
                          ->capture_default_str();
    auto* json = app.add_flag("--json", options.json,
                              "One JSON object per line: topic, partition, offset, timestamp, key, value, headers; "
                              "bytes that are not UTF-8 go into key_base64 and value_base64")
                     ->excludes(formatted);
    auto* analytics = app.add_flag("--analytics", options.analytics, "Print rate, bytes and counts instead of records")
                          ->excludes(formatted)
                          ->excludes(json);
    runtime::add_value(app, "--window", options.window, "With --analytics: length of the window the figures cover",
                       runtime::wait_in(kSecond, 100 * kMillisecond))
        ->type_name("S")
        ->needs(analytics)
        ->default_str("10");
    runtime::add_value(app, "--interval", options.interval, "With --analytics: how often to print",
                       runtime::wait_in(kMillisecond, kMillisecond))
        ->type_name("MS")
        ->needs(analytics)
        ->default_str("1000");
    if (const auto code = runtime::parse(app, argc, argv, {keyed})) return std::unexpected(*code);
    if (filtered->count() > 0)
        if (const auto kept = options.filter.keep_matching(pattern); !kept)
            return std::unexpected(usage(fmt::format("--grep '{}': {}", pattern, kept.error())));
    if (keyed->count() > 0) options.filter.keep_key(key);
    options.consumer.start_given = places->count() > 0;
    std::ranges::sort(options.topics);
    const auto repeated = std::ranges::unique(options.topics);
    options.topics.erase(repeated.begin(), repeated.end());
    for (const std::string& topic : options.topics) {
        if (is_pattern(topic)) continue;
        if (auto valid = client::check_topic_name(topic); !valid)
            return std::unexpected(runtime::complain("consumer", valid.error()));
    }

    const std::int64_t now_ms = runtime::wall_clock_ms();
    const auto start = runtime::parse_start(from, now_ms);
    if (!start) return std::unexpected(usage("--from takes " + start.error()));
    options.consumer.start = *start;
    if (ends->count() > 0) {
        const auto end = runtime::parse_start(until, now_ms);
        if (!end || end->kind != client::StartAt::Kind::kTime)
            return std::unexpected(usage("--until takes @TIME, like --from"));
        options.consumer.until_ms = end->value;
    }
    if (!text::is_utf8(options.consumer.group)) return std::unexpected(usage("--group takes a name in UTF-8"));
    if (const auto wrong = Formatter::check(options.format)) return std::unexpected(usage(*wrong));
    options.consumer.timeout = limit.value_or(options.consumer.follow ? protocol::Duration{} : 120'000 * kMillisecond);
    return options;
}

}  // namespace logstream::consumer
