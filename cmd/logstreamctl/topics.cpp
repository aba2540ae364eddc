// logstreamctl topics and ring: what there is, and who owns it.
#include "cmd/logstreamctl/command.h"
#include "cmd/logstreamctl/figures.h"
#include "cmd/runtime/topic_hint.h"
#include "internal/client/topic_name.h"
#include "internal/config/value.h"

namespace logstream::ctl {

namespace {

json describe(const client::Topic& topic) {
    return {{"name", topic.name},
            {"id", protocol::hex(topic.id.value)},
            {"partitions", topic.partitions},
            {"retention_ms", topic.settings.retention_ms()},
            {"retention_bytes", topic.settings.retention_bytes()},
            {"compact", topic.settings.compact()}};
}

std::string retention_time_text(std::int64_t retention_ms) {
    if (retention_ms == 0) return "default";
    if (retention_ms < 0) return "forever";
    constexpr std::int64_t kMost = config::Duration::max() / std::chrono::milliseconds(1);
    return config::show_duration(std::chrono::milliseconds(std::min(retention_ms, kMost)));
}

std::string retention_size_text(std::int64_t retention_bytes) {
    if (retention_bytes == 0) return "default";
    return retention_bytes < 0 ? "no limit" : config::show_size(static_cast<std::uint64_t>(retention_bytes));
}

// The topic, or that there is none, and which one may have been meant.
Result<client::Topic> find_topic(const client::ClusterView& view, const std::string& name) {
    if (const client::Topic* topic = view.find_topic(name)) return *topic;
    return protocol::fail(ErrorCode::kUnknownTopic, "there is no topic '{}'{}", name,
                          runtime::similar_topic(view, name));
}

json ring_of(const client::ClusterView& view, const client::Topic& topic) {
    json out{{"topic", topic.name}, {"partitions", json::array()}};
    for (std::uint32_t partition = 0; partition < topic.partitions; ++partition) {
        json replicas = json::array();
        for (const protocol::NodeId id : view.replicas({topic.id, partition}))
            replicas.push_back(protocol::to_string(id));
        const json owner = replicas.empty() ? json(nullptr) : replicas.front();
        if (partition == 0) out["owner"] = owner;
        out["partitions"].push_back({{"partition", partition}, {"owner", owner}, {"replicas", std::move(replicas)}});
    }
    return out;
}

std::string name_of(const client::ClusterView& view, protocol::NodeId id) {
    const Broker* broker = view.find(id);
    return broker == nullptr ? protocol::to_string(id) : broker->name;
}

Result<std::unique_ptr<runtime::Session>> connect_for(const Common& common, const std::string& topic) {
    if (auto valid = client::check_topic_name(topic); !valid) return std::unexpected(valid.error());
    return connect(common, [](client::Router& router) { router.want_all_topics(); });
}

}  // namespace

int topics_list(const Common& common) {
    auto session = connect(common, [](client::Router& router) { router.want_all_topics(); });
    if (!session) return complain(session.error());
    const auto topics = (*session)->router().view().topics();
    const Figures figures = ask_figures(**session);
    if (common.json) {
        json out{{"topics", json::array()}};
        for (const client::Topic& topic : topics) {
            json each = describe(topic);
            put_figures(each, figures.find(topic));
            out["topics"].push_back(std::move(each));
        }
        print(out);
        return runtime::kDone;
    }
    Table rows{
        {"TOPIC", "PARTITIONS", "RECORDS", "SIZE", "RATE", "LAST WRITE (UTC)", "RETENTION", "SIZE LIMIT", "COMPACT"}};
    for (const client::Topic& topic : topics) {
        const FiguresText text(figures.find(topic));
        rows.push_back({topic.name, std::to_string(topic.partitions), text.records, text.size, text.rate,
                        text.last_write, retention_time_text(topic.settings.retention_ms()),
                        retention_size_text(topic.settings.retention_bytes()),
                        topic.settings.compact() ? "yes" : "no"});
    }
    print_table(rows);
    return runtime::kDone;
}

int topics_create(const Common& common, const TopicOptions& options) {
    if (auto valid = client::check_topic_name(options.name); !valid) return complain(valid.error());
    auto session = connect(common);
    if (!session) return complain(session.error());
    proto::Topics request;
    request.set_action(proto::Topics::CREATE);
    request.set_name(options.name);
    request.mutable_settings()->set_partitions(options.partitions);
    request.mutable_settings()->set_retention_ms(options.retention_ms);
    request.mutable_settings()->set_retention_bytes(options.retention_bytes);
    request.mutable_settings()->set_compact(options.compact);
    int tries = 0;
    const auto response = ask_owner<proto::TopicsResponse>(**session, protocol::kMetadataStream, MessageType::kTopics,
                                                           request, kOwnerLimit, &tries);
    // Asked twice, the first answer lost: it exists because we made it.
    const bool made = response || (response.error().code == ErrorCode::kExists && tries > 1);
    if (!made) return complain(response.error());
    if (common.json) {
        print({{"created", options.name}});
    } else {
        std::printf("created %s\n", options.name.c_str());
    }
    return runtime::kDone;
}

int topics_alter(const Common& common, const AlterOptions& options) {
    if (!options.retention_ms && !options.retention_bytes && !options.compact)
        return runtime::wrong_usage("logstreamctl", "topics alter takes --retention-ms, --retention-bytes or --compact",
                                    "logstreamctl topics alter");
    auto session = connect_for(common, options.name);
    if (!session) return complain(session.error());
    const auto topic = find_topic((*session)->router().view(), options.name);
    if (!topic) return complain(topic.error());
    proto::Topics request;
    request.set_action(proto::Topics::ALTER);
    request.set_name(options.name);
    request.set_topic(topic->id.value);
    proto::TopicAlteration& alteration = *request.mutable_alteration();
    if (options.retention_ms) alteration.set_retention_ms(*options.retention_ms);
    if (options.retention_bytes) alteration.set_retention_bytes(*options.retention_bytes);
    if (options.compact) alteration.set_compact(true);
    const auto response =
        ask_owner<proto::TopicsResponse>(**session, protocol::kMetadataStream, MessageType::kTopics, request);
    // An earlier version takes it for a request to create the topic.
    if (!response && response.error().code == ErrorCode::kExists)
        return complain(
            {ErrorCode::kRefused, "the leader runs an earlier version that cannot alter topics: upgrade it"});
    if (!response) return complain(response.error());
    if (response->topics_size() != 1)
        return complain({ErrorCode::kUnknown, "the broker does not say how the topic stands now"});
    client::Topic altered = *topic;
    altered.settings = response->topics(0).settings();
    if (common.json) {
        print(describe(altered));
        return runtime::kDone;
    }
    std::printf("altered %s: retention %s, size limit %s, compacted %s\n", altered.name.c_str(),
                retention_time_text(altered.settings.retention_ms()).c_str(),
                retention_size_text(altered.settings.retention_bytes()).c_str(),
                altered.settings.compact() ? "yes" : "no");
    return runtime::kDone;
}

int topics_delete(const Common& common, const std::string& name) {
    if (auto valid = client::check_topic_name(name); !valid) return complain(valid.error());
    auto session = connect_for(common, name);
    if (!session) return complain(session.error());
    const auto topic = find_topic((*session)->router().view(), name);
    if (!topic) return complain(topic.error());
    proto::Topics request;
    request.set_action(proto::Topics::DELETE);
    request.set_name(name);
    request.set_topic(topic->id.value);
    const auto response =
        ask_owner<proto::TopicsResponse>(**session, protocol::kMetadataStream, MessageType::kTopics, request);
    // It was there when we began; a repeated try may find it gone.
    if (!response && response.error().code != ErrorCode::kUnknownTopic) return complain(response.error());
    if (common.json) {
        print({{"deleted", name}});
    } else {
        std::printf("deleted %s\n", name.c_str());
    }
    return runtime::kDone;
}

int topics_describe(const Common& common, const std::string& name) {
    auto session = connect_for(common, name);
    if (!session) return complain(session.error());
    const client::ClusterView& view = (*session)->router().view();
    const auto topic = find_topic(view, name);
    if (!topic) return complain(topic.error());
    json out = describe(*topic);
    const auto figures = ask_figures(**session).find(*topic);
    put_figures(out, figures);
    out["streams"] = json::array();
    Table rows{{"PARTITION", "OWNER", "LOG START", "HIGH WATERMARK"}};
    for (std::uint32_t partition = 0; partition < topic->partitions; ++partition) {
        const protocol::StreamId stream{topic->id, partition};
        const auto offsets = ask_offsets(**session, stream, -1, std::chrono::seconds(3));
        if (!offsets) return complain(offsets.error());
        const Broker* owner = view.owner(stream);
        out["streams"].push_back({{"partition", partition},
                                  {"owner", owner == nullptr ? json(nullptr) : json(protocol::to_string(owner->id))},
                                  {"log_start", offsets->log_start()},
                                  {"high_watermark", offsets->high_watermark()}});
        rows.push_back({std::to_string(partition), owner == nullptr ? "?" : owner->name,
                        std::to_string(offsets->log_start()), std::to_string(offsets->high_watermark())});
    }
    if (common.json) {
        print(out);
        return runtime::kDone;
    }
    std::printf("topic %s (id %s)\n", topic->name.c_str(), protocol::hex(topic->id.value).c_str());
    const FiguresText text(figures);
    std::printf("records %s, %s, %s, last write %s\n", text.records.c_str(), text.size.c_str(), text.rate.c_str(),
                text.last_write.c_str());
    std::printf("retention %s, size limit %s per partition\ncompacted %s\n\n",
                retention_time_text(topic->settings.retention_ms()).c_str(),
                retention_size_text(topic->settings.retention_bytes()).c_str(),
                topic->settings.compact() ? "yes" : "no");
    print_table(rows);
    return runtime::kDone;
}

int ring(const Common& common, const std::string& name) {
    auto session = name.empty() ? connect(common, [](client::Router& router) { router.want_all_topics(); })
                                : connect_for(common, name);
    if (!session) return complain(session.error());
    const client::ClusterView& view = (*session)->router().view();
    std::vector<client::Topic> topics = view.topics();
    if (!name.empty()) {
        const auto topic = find_topic(view, name);
        if (!topic) return complain(topic.error());
        topics = {*topic};
    }
    if (common.json) {
        if (!name.empty()) {
            print(ring_of(view, topics.front()));
            return runtime::kDone;
        }
        json out{{"view", view.number.value}, {"topics", json::array()}};
        for (const client::Topic& topic : topics) out["topics"].push_back(ring_of(view, topic));
        print(out);
        return runtime::kDone;
    }
    Table rows{{"TOPIC", "PARTITION", "OWNER", "THEN"}};
    for (const client::Topic& topic : topics) {
        for (std::uint32_t partition = 0; partition < topic.partitions; ++partition) {
            const auto replicas = view.replicas({topic.id, partition});
            std::string others;
            for (std::size_t i = 1; i < replicas.size(); ++i) others += (i > 1 ? " " : "") + name_of(view, replicas[i]);
            rows.push_back({topic.name, std::to_string(partition),
                            replicas.empty() ? "?" : name_of(view, replicas.front()), others});
        }
    }
    std::printf("view %llu\n", static_cast<unsigned long long>(view.number.value));
    print_table(rows);
    return runtime::kDone;
}

}  // namespace logstream::ctl
