// logstreamctl: asks and steers a running cluster.
#include "cmd/logstreamctl/command.h"
#include "cmd/logstreamctl/examples.h"
#include "cmd/runtime/start_at.h"
#include "cmd/runtime/values.h"
#include "internal/manual/program.h"
#include "internal/process/standard_streams.h"
#include "internal/text/utf8.h"

namespace {

using namespace logstream;
using protocol::Duration;

// What messages carry as text.
const CLI::Validator kGroupName(  // NOLINT: of CLI11
    [](const std::string& name) { return text::is_utf8(name) ? "" : "expected a group name in UTF-8"; }, "");

constexpr std::uint64_t kMostOffset = std::numeric_limits<std::int64_t>::max();

// -1 for no limit.
runtime::Parse<std::int64_t> retention_time() {
    return [](std::string_view text) -> config::Parsed<std::int64_t> {
        if (text == "-1") return -1;
        if (const auto ms = config::parse_count_between<std::uint64_t>(text, 1, kMostOffset))
            return static_cast<std::int64_t>(*ms);
        const auto time = config::parse_duration(text);
        if (!time || *time < std::chrono::milliseconds(1))
            return std::unexpected("a time like 7d or 36h, a whole number of milliseconds from 1, or -1");
        return std::chrono::duration_cast<std::chrono::milliseconds>(*time).count();
    };
}
runtime::Parse<std::int64_t> retention_size() {
    return [](std::string_view text) -> config::Parsed<std::int64_t> {
        if (text == "-1") return -1;
        const auto bytes = config::parse_size_between(text, 1, kMostOffset);
        if (!bytes) return std::unexpected("a size like 512MiB, a whole number of bytes from 1, or -1");
        return static_cast<std::int64_t>(*bytes);
    };
}

// 0 stands for what the brokers are configured to.
runtime::Parse<std::int64_t> or_default(runtime::Parse<std::int64_t> parse) {
    return [parse = std::move(parse)](std::string_view text) -> config::Parsed<std::int64_t> {
        if (text == "default") return 0;
        auto value = parse(text);
        return value ? value : std::unexpected(value.error() + ", or default");
    };
}

int command(int argc, char** argv) {
    CLI::App app{"Inspects and manages a LogStream cluster.", "logstreamctl"};
    app.require_subcommand(1);
    app.fallthrough();
    ctl::Common common;
    common.client.add_to(app);
    app.add_flag("--json", common.json, "Print JSON");
    std::function<int()> run;

    auto* status = app.add_subcommand("status", "View, leader, and members with role, address, phi, lag and disk");
    ctl::StatusOptions status_options;
    auto* watch =
        status->add_flag("--watch", status_options.watch, "Refresh until Ctrl-C; with --json, one line each time");
    runtime::add_value(*status, "--interval", status_options.interval, "With --watch: refresh interval, at least 100",
                       runtime::wait_in(std::chrono::milliseconds(1), std::chrono::milliseconds(100)))
        ->type_name("MS")
        ->needs(watch)
        ->default_str("1000");
    status->callback([&] { run = [&] { return ctl::status(common, status_options); }; });
    Duration top_interval = std::chrono::seconds(1);
    auto* top = app.add_subcommand("top", "Show members, topics and groups on a live screen; q quits");
    runtime::add_value(*top, "--interval", top_interval, "Refresh interval, at least 100",
                       runtime::wait_in(std::chrono::milliseconds(1), std::chrono::milliseconds(100)))
        ->type_name("MS")
        ->default_str("1000");
    top->callback([&] { run = [&] { return ctl::top(common, top_interval); }; });
    auto* verify = app.add_subcommand("verify", "Compare the replicas of every stream; exit 1 if they differ");
    verify->callback([&] { run = [&] { return ctl::verify(common); }; });

    app.add_subcommand(
           "views",
           "Recent views that the brokers remember, up to 100 each: members, reason, and how long each step took")
        ->callback([&] { run = [&] { return ctl::views(common); }; });

    std::string ring_topic;
    auto* ring = app.add_subcommand("ring", "Show which broker owns which partition");
    manual::set_source(ring->add_option("topic", ring_topic, "Only this topic"), "topics");
    ring->callback([&] { run = [&] { return ctl::ring(common, ring_topic); }; });

    auto* topics = app.add_subcommand("topics", "List, create, alter, delete or describe topics");
    topics->require_subcommand(0, 1);
    ctl::TopicOptions topic;
    topics->callback([&] {
        if (!run) run = [&] { return ctl::topics_list(common); };
    });
    topics->add_subcommand("list", "List all topics with records, size and rate (the average of the last 10 s)")
        ->callback([&] { run = [&] { return ctl::topics_list(common); }; });
    auto* create = topics->add_subcommand("create", "Create a topic");
    create->add_option("name", topic.name, "Its name")->required();
    runtime::add_value(*create, "--partitions", topic.partitions, "Number of partitions (default: set by the brokers)",
                       runtime::count_from<std::uint32_t>(1));
    runtime::add_value(
        *create, "--retention-ms", topic.retention_ms,
        "How long to keep records, e.g. 7d, or a number of ms; -1: forever (default: set by the brokers)",
        retention_time());
    runtime::add_value(*create, "--retention-bytes", topic.retention_bytes,
                       "How much of each partition to keep, e.g. 10GiB; -1: no limit (default: set by the brokers)",
                       retention_size());
    create->add_flag(
        "--compact", topic.compact,
        "Keep only the last record of each key; --retention-ms and --retention-bytes then delete these, too");
    create->callback([&] { run = [&] { return ctl::topics_create(common, topic); }; });
    ctl::AlterOptions alter_options;
    auto* alter =
        topics->add_subcommand("alter", "Change the settings of a topic; the number of partitions cannot be changed");
    manual::set_source(alter->add_option("name", alter_options.name, "Its name")->required(), "topics");
    runtime::add_value(
        *alter, "--retention-ms", alter_options.retention_ms,
        "How long to keep records, e.g. 7d, or a number of ms; -1: forever; default: as set by the brokers",
        or_default(retention_time()));
    runtime::add_value(*alter, "--retention-bytes", alter_options.retention_bytes,
                       "How much of each partition to keep, e.g. 10GiB; -1: no limit; default: as set by the brokers",
                       or_default(retention_size()));
    alter->add_flag("--compact", alter_options.compact,
                    "Keep only the last record of each key from now on; this cannot be undone");
    alter->callback([&] { run = [&] { return ctl::topics_alter(common, alter_options); }; });
    auto* erase = topics->add_subcommand("delete", "Delete a topic and its records");
    manual::set_source(erase->add_option("name", topic.name, "Its name")->required(), "topics");
    erase->callback([&] { run = [&] { return ctl::topics_delete(common, topic.name); }; });
    auto* describe = topics->add_subcommand("describe", "Settings, owners and offsets of a topic");
    manual::set_source(describe->add_option("name", topic.name, "Its name")->required(), "topics");
    describe->callback([&] { run = [&] { return ctl::topics_describe(common, topic.name); }; });

    auto* groups = app.add_subcommand("groups", "List, describe, reset or delete consumer groups");
    groups->require_subcommand(0, 1);
    std::string group;
    groups->callback([&] {
        if (!run) run = [&] { return ctl::groups_list(common); };
    });
    groups->add_subcommand("list", "All groups")->callback([&] { run = [&] { return ctl::groups_list(common); }; });
    auto* describe_group = groups->add_subcommand("describe", "Members of a group, its committed offsets and lag");
    manual::set_source(describe_group->add_option("name", group, "Its name")->required()->check(kGroupName), "groups");
    describe_group->callback([&] { run = [&] { return ctl::groups_describe(common, group); }; });
    ctl::ResetOptions reset;
    auto* reset_group = groups->add_subcommand(
        "reset", "Reset the offsets of a group without members; shows what would change, --yes applies it");
    manual::set_source(reset_group->add_option("name", reset.group, "Its name")->required()->check(kGroupName),
                       "groups");
    runtime::add_value<client::StartAt, client::StartAt>(
        *reset_group, "--to", reset.to,
        "earliest, latest, an offset, -N: N offsets before the end of each partition, or @TIME, as for consumer --from",
        [](std::string_view text) { return runtime::parse_start(text, runtime::wall_clock_ms()); })
        ->type_name("WHERE")
        ->required();
    reset_group->add_option("--topic", reset.topic, "Only this topic; the group need not have read it before")
        ->type_name("T");
    runtime::add_value(*reset_group, "--partition", reset.partition, "Only this partition of the topic",
                       runtime::count_from<std::uint32_t>(0))
        ->needs("--topic");
    reset_group->add_flag("--yes", reset.yes, "Apply the change");
    reset_group->callback([&] { run = [&] { return ctl::groups_reset(common, reset); }; });
    auto* delete_group = groups->add_subcommand("delete", "Delete a group without members, and its offsets");
    manual::set_source(delete_group->add_option("name", group, "Its name")->required()->check(kGroupName), "groups");
    delete_group->callback([&] { run = [&] { return ctl::groups_delete(common, group); }; });

    auto* context = app.add_subcommand("context", "Manage named clusters for --context and LOGSTREAM_CONTEXT");
    context->require_subcommand(0, 1);
    std::string context_name;
    context->callback([&] {
        if (!run) run = [&] { return ctl::context_list(common); };
    });
    context->add_subcommand("list", "All contexts; * is the current one")->callback([&] {
        run = [&] { return ctl::context_list(common); };
    });
    auto* add =
        context->add_subcommand("add", "Save --brokers and --cluster under a name; an existing context is replaced");
    add->add_option("name", context_name, "Its name")->required();
    add->callback([&] { run = [&] { return ctl::context_add(common, context_name); }; });
    auto* use = context->add_subcommand("use", "Make a context the current one, which is used when none is named");
    manual::set_source(use->add_option("name", context_name, "Its name")->required(), "contexts");
    use->callback([&] { run = [&] { return ctl::context_use(context_name); }; });
    auto* drop = context->add_subcommand("remove", "Remove a context");
    manual::set_source(drop->add_option("name", context_name, "Its name")->required(), "contexts");
    drop->callback([&] { run = [&] { return ctl::context_remove(context_name); }; });

    ctl::AppendOptions append_options;
    std::string key;
    auto* append = app.add_subcommand("append", "Append one record");
    manual::set_source(append->add_option("-t,--topic", append_options.topic, "Topic")->required(), "topics");
    auto* content = append->add_option("-c,--content", append_options.content, "The record's value")->required();
    auto* append_key = append->add_option("--key", key, "Its key");
    runtime::add_value(*append, "--partition", append_options.partition,
                       "Append to this partition instead of choosing one by key",
                       runtime::count_from<std::uint32_t>(0));
    runtime::add_value(*append, "--timeout", append_options.timeout, "Retry for up to MS; 0: try once",
                       runtime::wait_in(std::chrono::milliseconds(1)))
        ->type_name("MS")
        ->default_str("10000");
    append->callback([&] {
        if (append_key->count() > 0) append_options.key = key;
        run = [&] { return ctl::append(common, append_options); };
    });

    ctl::QueryOptions query_options;
    auto* query = app.add_subcommand("query", "Print records with offset, view and commit state");
    manual::set_source(query->add_option("-t,--topic", query_options.topic, "Topic")->required(), "topics");
    runtime::add_value(*query, "--partition", query_options.partition, "Only this partition",
                       runtime::count_from<std::uint32_t>(0));
    runtime::add_value(*query, "--from", query_options.from, "First offset",
                       runtime::count_from<std::uint64_t>(0, kMostOffset))
        ->default_str("0");
    runtime::add_value(*query, "--count", query_options.count, "Print at most N records",
                       runtime::count_from<std::uint64_t>(0));
    query->add_option("--at", query_options.at, "Read from this broker (HOST:PORT, name or id) instead of the owner");
    query->callback([&] { run = [&] { return ctl::query(common, query_options); }; });

    ctl::TailOptions tail_options;
    auto* tail = app.add_subcommand(
        "tail", "Print the last records of a topic: time, partition/offset, key (- without one), value");
    manual::set_source(tail->add_option("topic", tail_options.topic, "Topic")->required(), "topics");
    runtime::add_value(*tail, "-n,--count", tail_options.count, "Number of records per partition",
                       runtime::count_from<std::uint64_t>(0, kMostOffset))
        ->default_str("10");
    tail->add_flag("-f,--follow", tail_options.follow, "Keep printing new records, until Ctrl-C");
    tail->callback([&] { run = [&] { return ctl::tail(common, tail_options); }; });

    app.add_subcommand("elect", "Run an election now")->callback([&] { run = [&] { return ctl::elect(common); }; });
    std::string who;
    auto* remove = app.add_subcommand("remove", "Remove a member from the view");
    manual::set_source(remove->add_option("node", who, "Its id, name or address")->required(), "members");
    remove->callback([&] { run = [&] { return ctl::remove(common, who); }; });
    auto* drain = app.add_subcommand("drain", "Make a broker hand over its partitions and leave the view");
    manual::set_source(drain->add_option("node", who, "Its id, name or address")->required(), "members");
    drain->callback([&] { run = [&] { return ctl::drain(common, who); }; });

    ctl::MergeOptions merge_options;
    auto* merge =
        app.add_subcommand("merge", "Append every record of a separately started cluster, then retire its brokers");
    runtime::add_host_ports(*merge, "--from", merge_options.from, "Brokers of the other cluster")->required();
    merge->add_flag("--keep", merge_options.keep, "Do not retire the other cluster's brokers");
    merge->callback([&] { run = [&] { return ctl::merge(common, merge_options); }; });
    ctl::RecoverOptions recover_options;
    auto* recover = app.add_subcommand(
        "recover", "Start a new lineage from the surviving brokers when the others are gone for good");
    runtime::add_host_ports(*recover, "survivors", recover_options.survivors, "HOST:PORT of each surviving broker")
        ->required()
        ->expected(-1);
    recover->add_flag("--yes", recover_options.yes, "Do not ask");
    recover->callback([&] { run = [&] { return ctl::recover(common, recover_options); }; });

    std::string source;
    auto* complete = app.add_subcommand("complete", "For shells: names that a command line may go on with")->group("");
    complete->add_option("source", source, "topics, groups, members, brokers or contexts")->required();
    complete->callback([&] { run = [&] { return ctl::complete(common, source); }; });

    ctl::add_examples(app);
    if (const auto code = runtime::parse(app, argc, argv, {content, append_key})) return *code;
    return run();
}

}  // namespace

int main(int argc, char** argv) {
    process::open_standard_streams();
    return process::finish_output("logstreamctl", command(argc, argv));
}
