// logstreamctl: asks and steers a running cluster.
#include "cmd/logstreamctl/command.h"

namespace {

using namespace logstream;

constexpr const char* kExamples = R"(Examples:
  logstreamctl status
  logstreamctl topics create app --partitions 4
  logstreamctl ring app --json
  logstreamctl append -t app -c "hello"
  logstreamctl query -t app --from 100 --count 10
  logstreamctl verify                        do all replicas hold the same? exit 1 if not
  logstreamctl drain n2                      hand over what n2 owns, before stopping it
  logstreamctl merge --from 10.0.0.9:8001 --brokers 10.0.0.1:8001
)";

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Shows and steers a LogStream cluster.", "logstreamctl"};
    app.footer(kExamples);
    app.require_subcommand(1);
    app.fallthrough();
    ctl::Common common;
    common.client.add_to(app);
    app.add_flag("--json", common.json, "Print JSON");
    std::function<int()> run;

    auto* status = app.add_subcommand("status", "View, leader, and members with role, address, phi, lag and disk");
    status->callback([&] { run = [&] { return ctl::status(common); }; });
    auto* verify = app.add_subcommand("verify", "Compare the replicas of every stream; exit 1 if they differ");
    verify->callback([&] { run = [&] { return ctl::verify(common); }; });

    std::string ring_topic;
    auto* ring = app.add_subcommand("ring", "Who owns which partition");
    ring->add_option("topic", ring_topic, "Only this topic");
    ring->callback([&] { run = [&] { return ctl::ring(common, ring_topic); }; });

    auto* topics = app.add_subcommand("topics", "List, create, delete or describe topics");
    topics->require_subcommand(0, 1);
    ctl::TopicOptions topic;
    topics->callback([&] {
        if (!run) run = [&] { return ctl::topics_list(common); };
    });
    topics->add_subcommand("list", "All topics")->callback([&] { run = [&] { return ctl::topics_list(common); }; });
    auto* create = topics->add_subcommand("create", "Make a topic");
    create->add_option("name", topic.name, "Its name")->required();
    create->add_option("--partitions", topic.partitions, "Number of partitions (the brokers' default)")
        ->check(CLI::PositiveNumber);
    create->add_option("--retention-ms", topic.retention_ms,
                       "Keep records so long; -1: for ever (the brokers' default)");
    create->add_option("--retention-bytes", topic.retention_bytes,
                       "Keep so much of a partition; -1: no limit (the brokers' default)");
    create->add_flag("--compact", topic.compact,
                     "Keep the last record of each key; with --retention-ms or --retention-bytes these go too");
    create->callback([&] { run = [&] { return ctl::topics_create(common, topic); }; });
    auto* erase = topics->add_subcommand("delete", "Delete a topic and its records");
    erase->add_option("name", topic.name, "Its name")->required();
    erase->callback([&] { run = [&] { return ctl::topics_delete(common, topic.name); }; });
    auto* describe = topics->add_subcommand("describe", "Settings, owners and offsets of a topic");
    describe->add_option("name", topic.name, "Its name")->required();
    describe->callback([&] { run = [&] { return ctl::topics_describe(common, topic.name); }; });

    ctl::AppendOptions append_options;
    std::string key;
    std::uint32_t partition = 0;
    double append_timeout_ms = 10'000;
    auto* append = app.add_subcommand("append", "Append one record");
    append->add_option("-t,--topic", append_options.topic, "Topic")->required();
    append->add_option("-c,--content", append_options.content, "The record's value")->required();
    auto* append_key = append->add_option("--key", key, "Its key");
    auto* append_partition = append->add_option("--partition", partition, "Partition, in place of one by key");
    append->add_option("--timeout", append_timeout_ms, "Retry so long; 0: one try")
        ->type_name("MS")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    append->callback([&] {
        if (append_key->count() > 0) append_options.key = key;
        if (append_partition->count() > 0) append_options.partition = partition;
        append_options.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(append_timeout_ms));
        run = [&] { return ctl::append(common, append_options); };
    });

    ctl::QueryOptions query_options;
    std::uint64_t count = 0;
    auto* query = app.add_subcommand("query", "Print records with offset, view and whether they are committed");
    query->add_option("-t,--topic", query_options.topic, "Topic")->required();
    auto* query_partition = query->add_option("--partition", partition, "Only this partition");
    query->add_option("--from", query_options.from, "First offset")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    auto* query_count = query->add_option("--count", count, "Records at most")->type_name("N");
    query->add_option("--at", query_options.at,
                      "Ask this broker (HOST:PORT, name or id) what it holds, in place of the owner");
    query->callback([&] {
        if (query_partition->count() > 0) query_options.partition = partition;
        if (query_count->count() > 0) query_options.count = count;
        run = [&] { return ctl::query(common, query_options); };
    });

    app.add_subcommand("elect", "Run an election now")->callback([&] { run = [&] { return ctl::elect(common); }; });
    std::string who;
    auto* remove = app.add_subcommand("remove", "Take a member out of the view");
    remove->add_option("node", who, "Its id, name or address")->required();
    remove->callback([&] { run = [&] { return ctl::remove(common, who); }; });
    auto* drain = app.add_subcommand("drain", "Make a broker hand over what it owns and leave the view");
    drain->add_option("node", who, "Its id, name or address")->required();
    drain->callback([&] { run = [&] { return ctl::drain(common, who); }; });

    ctl::MergeOptions merge_options;
    auto* merge =
        app.add_subcommand("merge", "Append every record of a cluster that was started apart, then retire its brokers");
    merge->add_option("--from", merge_options.from, "Brokers of the other cluster")
        ->delimiter(',')
        ->required()
        ->type_name("HOST:PORT,…");
    merge->add_flag("--keep", merge_options.keep, "Do not retire the other cluster's brokers");
    merge->callback([&] { run = [&] { return ctl::merge(common, merge_options); }; });
    ctl::RecoverOptions recover_options;
    auto* recover =
        app.add_subcommand("recover", "Start a new lineage from survivors, when the others are gone for good");
    recover->add_option("survivors", recover_options.survivors, "HOST:PORT of each")
        ->required()
        ->type_name("HOST:PORT");
    recover->add_flag("--yes", recover_options.yes, "Do not ask");
    recover->callback([&] { run = [&] { return ctl::recover(common, recover_options); }; });

    if (const auto code = runtime::parse(app, argc, argv)) return *code;
    return run();
}
