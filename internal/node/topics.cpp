#include "internal/node/topics.h"

#include <algorithm>

namespace logstream::node {

protocol::Result<void> check_topic_name(std::string_view name) {
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
               c == '-';
    };
    if (name.empty() || name.size() > 249 || name == "." || name == ".." || !std::ranges::all_of(name, allowed))
        return protocol::fail(
            protocol::ErrorCode::kInvalid,
            "topic name '{}{}' is not allowed: use 1 to 249 letters, digits, dots, underscores or dashes",
            name.substr(0, 40), name.size() > 40 ? "…" : "");
    return {};
}

Topics::Topics(env::Env& env, Streams& streams, DeletedHandler on_deleted)
    : on_deleted_(std::move(on_deleted)),
      reader_(env, streams, protocol::kMetadataStream, [this](const protocol::Record& record) { apply(record); }) {}

const proto::TopicRecord* Topics::find(const std::string& name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : &found->second;
}

const proto::TopicRecord* Topics::find(TopicId id) const {
    const auto found = by_id_.find(id.value);
    return found == by_id_.end() ? nullptr : found->second;
}

const proto::TopicRecord* Topics::find(const std::string& name, TopicId id) const {
    const proto::TopicRecord* topic = find(name);
    return topic != nullptr && (id.value == 0 || topic->topic() == id.value) ? topic : nullptr;
}

void Topics::reset() {
    by_name_.clear();
    by_id_.clear();
    stream_count_ = 0;
    deleted_.clear();
    reader_.reset();
}

Result<protocol::Bytes> Topics::encode(const proto::TopicRecord& record, std::int64_t timestamp_ms) {
    protocol::BatchBuilder builder({});
    const std::string value = record.SerializeAsString();
    builder.add(timestamp_ms, std::string_view(record.name()), std::string_view(value), {});
    const std::string by_id = "#" + protocol::hex(record.topic());
    if (record.deleted()) builder.add(timestamp_ms, std::string_view(by_id), std::string_view(value), {});
    return builder.finish();
}

void Topics::apply(const protocol::Record& record) {
    proto::TopicRecord topic;
    if (!record.value || !topic.ParseFromArray(record.value->data(), static_cast<int>(record.value->size()))) return;
    const TopicId id{topic.topic()};
    if (!topic.deleted()) {
        // It was altered by a leader that did not know yet that it was deleted.
        if (deleted_.contains(id)) return;
        if (const auto known = by_name_.find(topic.name()); known != by_name_.end()) {
            // Two leaders in a row may each have made one: the first stands, on every member alike.
            if (known->second.topic() != topic.topic()) return;
            topic.mutable_settings()->set_partitions(known->second.settings().partitions());
            *known->second.mutable_settings() = topic.settings();
            return;
        }
        proto::TopicRecord& made = by_name_[topic.name()];
        made = std::move(topic);
        by_id_[id.value] = &made;
        stream_count_ += made.settings().partitions();
        return;
    }
    if (!deleted_.insert(id).second) return;
    by_id_.erase(id.value);
    if (const auto found = by_name_.find(topic.name()); found != by_name_.end() && found->second.topic() == id.value) {
        stream_count_ -= found->second.settings().partitions();
        by_name_.erase(found);
    }
    on_deleted_(id);
}

}  // namespace logstream::node
