// Node's part that makes, alters and deletes topics: the leader appends to the metadata stream, the others ask it.
#include "internal/node/node.h"

namespace logstream::node {

namespace {

constexpr Duration kLeaderLimit = std::chrono::seconds(2);

Result<void> outcome_of(const Result<Message>& reply) {
    proto::TopicsResponse response;
    if (!reply) return std::unexpected(reply.error());
    if (!reply->parse(response)) return protocol::fail(ErrorCode::kUnknown, "an unreadable answer");
    if (response.error().code() == 0) return {};
    return std::unexpected(Error{static_cast<ErrorCode>(response.error().code()), response.error().message()});
}

Result<void> check(const proto::TopicAlteration& alteration, const proto::TopicSettings& settings) {
    if (alteration.retention_ms() < -1 || alteration.retention_bytes() < -1)
        return protocol::fail(ErrorCode::kInvalid,
                              "a retention is -1 (no limit), 0 (the brokers' default) or a positive number");
    // Each replica has left out other records so far: byte for byte they are not the same any more.
    if (settings.compact() && alteration.has_compact() && !alteration.compact())
        return protocol::fail(ErrorCode::kInvalid, "compaction of a topic cannot be turned off");
    return {};
}

}  // namespace

void Node::ask_leader_for_topic(const proto::Topics& request, std::function<void(Result<void>)> done) {
    links_.request(address_of(*serving_->find(serving_->coordinator)), MessageType::kTopics, request, kLeaderLimit,
                   lifetime_.guard([done](const Result<Message>& reply) { done(outcome_of(reply)); }));
}

void Node::create_topic(const std::string& name, const proto::TopicSettings& settings,
                        std::function<void(Result<void>)> done) {
    if (auto valid = check_topic_name(name); !valid) return done(valid);
    if (settings.partitions() == 0 || settings.partitions() > settings_.max_streams)
        return done(protocol::fail(ErrorCode::kInvalid,
                                   "cannot create {} partitions: a topic has at least one, and limits.streams is {}",
                                   settings.partitions(), settings_.max_streams));
    if (const auto error = refusal()) return done(std::unexpected(*error));
    if (!is_leader()) {
        proto::Topics request;
        request.set_action(proto::Topics::CREATE);
        request.set_name(name);
        *request.mutable_settings() = settings;
        return ask_leader_for_topic(request, [this, name, done](const Result<void>& made) {
            if (!made && made.error().code != ErrorCode::kExists) return done(made);
            // Known here as soon as the commit has come round.
            if (topics_.find(name) != nullptr) return done({});
            done(protocol::fail(ErrorCode::kBusy, "topic '{}' is being created; retry", name));
        });
    }
    topics_.reader().when_caught_up([this, name, settings, done] {
        if (topics_.find(name) != nullptr) return done({});
        // Asked for by several at once: all wait for the one record.
        if (const auto creating = creating_.find(name); creating != creating_.end())
            return creating->second.push_back(done);
        if (topics_.stream_count() + settings.partitions() > settings_.max_streams)
            return done(protocol::fail(ErrorCode::kRefused,
                                       "cannot create {} partitions: there are {} streams and limits.streams is {}; "
                                       "delete topics or raise it on all brokers",
                                       settings.partitions(), topics_.stream_count(), settings_.max_streams));
        proto::TopicRecord record;
        record.set_name(name);
        record.set_topic(core_.env.random() | 16);  // never an internal topic's id
        *record.mutable_settings() = settings;
        creating_[name].push_back(done);
        append_topic(record, [this, name](const Result<void>& created) {
            auto waiting = creating_.extract(name);
            if (waiting.empty()) return;
            for (const auto& done : waiting.mapped()) done(created);
        });
    });
}

void Node::delete_topic(const std::string& name, TopicId id, std::function<void(Result<void>)> done) {
    if (const auto error = refusal()) return done(std::unexpected(*error));
    if (!is_leader()) {
        proto::Topics request;
        request.set_action(proto::Topics::DELETE);
        request.set_name(name);
        request.set_topic(id.value);
        return ask_leader_for_topic(request, std::move(done));
    }
    topics_.reader().when_caught_up([this, name, id, done] {
        const proto::TopicRecord* topic = topics_.find(name, id);
        if (topic == nullptr) return done(protocol::fail(ErrorCode::kUnknownTopic, "there is no topic '{}'", name));
        proto::TopicRecord record = *topic;
        record.set_deleted(true);
        append_topic(record, done);
    });
}

void Node::alter_topic(const std::string& name, TopicId id, const proto::TopicAlteration& alteration,
                       std::function<void(Result<void>)> done) {
    if (const auto error = refusal()) return done(std::unexpected(*error));
    if (!is_leader()) {
        proto::Topics request;
        request.set_action(proto::Topics::ALTER);
        request.set_name(name);
        request.set_topic(id.value);
        *request.mutable_alteration() = alteration;
        return ask_leader_for_topic(request, std::move(done));
    }
    topics_.reader().when_caught_up([this, name, id, alteration, done] {
        const proto::TopicRecord* topic = topics_.find(name, id);
        if (topic == nullptr) return done(protocol::fail(ErrorCode::kUnknownTopic, "there is no topic '{}'", name));
        if (auto valid = check(alteration, topic->settings()); !valid) return done(valid);
        // What two change at once would otherwise undo the change of the first.
        const TopicId altered{topic->topic()};
        if (!altering_.insert(altered).second)
            return done(protocol::fail(ErrorCode::kBusy, "topic '{}' is being altered; retry", name));
        proto::TopicRecord record = *topic;
        proto::TopicSettings& settings = *record.mutable_settings();
        if (alteration.has_retention_ms()) settings.set_retention_ms(alteration.retention_ms());
        if (alteration.has_retention_bytes()) settings.set_retention_bytes(alteration.retention_bytes());
        if (alteration.has_compact()) settings.set_compact(alteration.compact());
        append_topic(record, [this, altered, done](const Result<void>& appended) {
            altering_.erase(altered);
            done(appended);
        });
    });
}

void Node::append_topic(const proto::TopicRecord& record, std::function<void(Result<void>)> done) {
    auto stream = streams_.open(protocol::kMetadataStream);
    if (!stream) return done(std::unexpected(stream.error()));
    auto batch = Topics::encode(record, core_.env.wall_clock_ms());
    if (!batch) return done(std::unexpected(batch.error()));
    replicator_.produce(**stream, *std::move(batch), proto::QUORUM, [this, done](const Result<Offset>& appended) {
        if (!appended) return done(std::unexpected(appended.error()));
        topics_.reader().when_caught_up([done] { done({}); });
    });
}

}  // namespace logstream::node
