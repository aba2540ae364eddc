#include "internal/client/cluster_view.h"

#include <algorithm>

namespace logstream::client {

namespace {

protocol::Error deleted(const std::string& topic) {
    return {protocol::ErrorCode::kUnknownTopic, fmt::format("topic '{}' was deleted", topic)};
}

}  // namespace

env::Endpoint endpoint_of(const proto::Member& member, const env::Endpoint& told_by) {
    const protocol::IpAddress ip = protocol::ip_of(member);
    return {ip, static_cast<std::uint16_t>(member.port()), ip.is_link_local() ? told_by.scope : 0};
}

Broker broker_of(const proto::Member& member, const env::Endpoint& told_by) {
    return Broker{NodeId{member.id()}, member.name(), endpoint_of(member, told_by),
                  static_cast<std::uint16_t>(member.http_port())};
}

ClusterView::ClusterView(const proto::MetadataResponse& response, const env::Endpoint& told_by)
    : cluster(response.cluster()),
      cluster_id(response.cluster_id()),
      number(response.view().number()),
      leader(response.view().coordinator()),
      max_batch_bytes(response.max_batch_bytes()) {
    std::vector<NodeId> ids;
    for (const proto::Member& member : response.view().members()) {
        members.push_back(broker_of(member, told_by));
        ids.push_back(NodeId{member.id()});
    }
    for (const proto::Ancestor& ancestor : response.ancestors())
        ancestors.push_back({ClusterId{ancestor.cluster_id()}, ViewNumber{ancestor.first_view()}});
    std::ranges::sort(members, {}, &Broker::id);
    ring_ = ring::HashRing(ids);
}

void ClusterView::merge_topics(const proto::MetadataResponse& response) {
    topics_as_of_ = std::max<std::int64_t>(topics_as_of_, response.topics_as_of());
    for (const proto::TopicInfo& info : response.topics()) {
        Answer answer;
        answer.error = {static_cast<protocol::ErrorCode>(info.error().code()), info.error().message()};
        answer.topic =
            Topic{info.name(), TopicId{info.topic()}, std::max(1U, info.settings().partitions()), info.settings()};
        answer.as_of = response.topics_as_of();
        answer.created = info.created();
        const auto [known, added] = topics_.try_emplace(info.name(), answer);
        if (added || answer.as_of < known->second.as_of) continue;
        // One who can't tell now says nothing against what is known.
        const bool existed = known->second.error.code == protocol::ErrorCode::kNone || known->second.deleted;
        if (existed && answer.error.code != protocol::ErrorCode::kNone) {
            if (answer.error.code != protocol::ErrorCode::kUnknownTopic) continue;
            answer.deleted = true;
            answer.error = deleted(info.name());
        }
        answer.created |= known->second.created && known->second.topic.id == answer.topic.id;
        known->second = std::move(answer);
    }
    if (!response.all_topics()) return;
    for (auto& [name, known] : topics_) {
        if (known.as_of >= response.topics_as_of() || known.error.code != protocol::ErrorCode::kNone) continue;
        known = {.topic = {}, .error = deleted(name), .as_of = response.topics_as_of(), .deleted = true};
    }
}

void ClusterView::keep_topics_of(const ClusterView& older) {
    topics_ = older.topics_;
    topics_as_of_ = older.topics_as_of_;
}

const Broker* ClusterView::owner(StreamId stream) const {
    return find(stream == protocol::kMetadataStream ? leader : ring_.owner(stream));
}

const Broker* ClusterView::find(NodeId id) const {
    const auto found = std::ranges::lower_bound(members, id, {}, &Broker::id);
    return found != members.end() && found->id == id ? &*found : nullptr;
}

const Topic* ClusterView::find_topic(std::string_view name) const {
    const auto found = topics_.find(name);
    return found != topics_.end() && found->second.error.code == protocol::ErrorCode::kNone ? &found->second.topic
                                                                                            : nullptr;
}

protocol::Result<Topic> ClusterView::topic(std::string_view name) const {
    const auto found = topics_.find(name);
    if (found == topics_.end())
        return protocol::fail(protocol::ErrorCode::kUnknownTopic, "topic '{}' is not known yet", name);
    if (found->second.error.code != protocol::ErrorCode::kNone) return std::unexpected(found->second.error);
    return found->second.topic;
}

bool ClusterView::is_current(std::string_view topic) const {
    const auto found = topics_.find(topic);
    // Brokers of early versions do not report it.
    return found != topics_.end() && topics_as_of_ > 0 && found->second.as_of >= topics_as_of_;
}

bool ClusterView::was_created(std::string_view name) const {
    const auto found = topics_.find(name);
    return found != topics_.end() && found->second.created;
}

bool ClusterView::is_missing(std::string_view name) const {
    const auto found = topics_.find(name);
    return found != topics_.end() && !found->second.deleted &&
           found->second.error.code == protocol::ErrorCode::kUnknownTopic;
}

bool ClusterView::was_deleted(std::string_view name) const {
    const auto found = topics_.find(name);
    return found != topics_.end() && found->second.deleted;
}

std::vector<Topic> ClusterView::topics() const {
    std::vector<Topic> out;
    for (const auto& [name, answer] : topics_)
        if (answer.error.code == protocol::ErrorCode::kNone) out.push_back(answer.topic);
    return out;
}

}  // namespace logstream::client
