// What a client knows of the cluster: its lineage, the view, who owns which stream, and the topics it asked for.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "internal/env/endpoint.h"
#include "internal/protocol/error.h"
#include "internal/protocol/ids.h"
#include "internal/ring/hash_ring.h"
#include "logstream.pb.h"

namespace logstream::client {

using protocol::ClusterId;
using protocol::NodeId;
using protocol::StreamId;
using protocol::TopicId;
using protocol::ViewNumber;

struct Broker {
    NodeId id;
    std::string name;
    env::Endpoint endpoint;
    std::uint16_t http_port{};  // 0: none
};
// `told_by` told of it: a link-local address is reached by the interface by which that one is.
Broker broker_of(const proto::Member& member, const env::Endpoint& told_by);
// Of a broker whose address is given in a message of `told_by`.
env::Endpoint endpoint_of(const proto::Member& member, const env::Endpoint& told_by);

struct Topic {
    std::string name;
    TopicId id;
    std::uint32_t partitions{1};
    proto::TopicSettings settings;
};

// The view that a METADATA answer tells of, and what the answers so far said of topics. A value: copied, compared by
// hand, never shared.
class ClusterView {
public:
    ClusterView() = default;
    ClusterView(const proto::MetadataResponse& response, const env::Endpoint& told_by);

    // Takes over what another answer says of topics, as far as it is newer than what is known (a broker that is
    // catching up knows less).
    void merge_topics(const proto::MetadataResponse& response);
    // What was known before this view.
    void keep_topics_of(const ClusterView& older);

    bool known() const { return cluster_id.value != 0; }
    // The broker that orders `stream` in this view; nullptr when nobody is known to.
    const Broker* owner(StreamId stream) const;
    const Broker* find(NodeId id) const;
    // Every member stores every stream; the owner comes first, then who would own it without those before.
    std::vector<NodeId> replicas(StreamId stream) const { return ring_.preference(stream, members.size()); }
    // The topic; nullptr when there is none. Valid until the next answer.
    const Topic* find_topic(std::string_view name) const;
    // The topic, or why there is none (kUnknownTopic also when nobody was asked for it).
    protocol::Result<Topic> topic(std::string_view name) const;
    // How much of the metadata stream the best-informed broker knew (`MetadataResponse::topics_as_of`).
    std::int64_t topics_as_of() const { return topics_as_of_; }
    // No answer so far says that any topic has changed since this one was last heard about.
    bool is_current(std::string_view topic) const;
    // It was made for a question of this client's.
    bool was_created(std::string_view name) const;
    // A broker said that it does not exist, and never did.
    bool is_missing(std::string_view name) const;
    // It was there and is not any more.
    bool was_deleted(std::string_view name) const;
    // All topics that are known to exist, by name.
    std::vector<Topic> topics() const;

    std::string cluster;
    ClusterId cluster_id;
    ViewNumber number;
    NodeId leader;
    std::vector<Broker> members;  // ascending by id
    std::size_t max_batch_bytes{};
    // Lineages that this one was recovered from, the oldest first, and the first view of the one that came after each.
    struct Ancestor {
        ClusterId cluster;
        ViewNumber first_view;
    };
    std::vector<Ancestor> ancestors;

private:
    struct Answer {
        Topic topic;
        protocol::Error error;  // kNone when the topic exists
        std::int64_t as_of{};   // how much of the metadata stream the broker knew
        bool deleted{};
        bool created{};
    };

    ring::HashRing ring_;
    std::map<std::string, Answer, std::less<>> topics_;
    std::int64_t topics_as_of_{};  // the highest value in any answer
};

}  // namespace logstream::client
