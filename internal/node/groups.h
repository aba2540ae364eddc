// Consumer groups: who reads which partition, and how far. The owner of the groups stream decides; every change is a
// record of that stream, so a new owner goes on where the old one stopped.
//
// A partition goes to a new reader only after its old one has said that it stopped (it subscribes again under the new
// generation) or its session ended, so that no record is read twice while both live.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "internal/node/committed_reader.h"
#include "internal/node/topics.h"

namespace logstream::node {

struct TopicPartition {
    std::string topic;
    std::uint32_t partition{};
    friend auto operator<=>(const TopicPartition&, const TopicPartition&) = default;
};

class Groups {
public:
    // Appends to the groups stream with quorum; the handler comes once, with kUnknown if the view changed meanwhile.
    using AppendHandler = std::function<void(Result<Offset>)>;
    using Append = std::function<void(protocol::Bytes batch, AppendHandler done)>;
    using SubscribeReply = std::function<void(const proto::SubscribeResponse&)>;
    using CommitReply = std::function<void(const proto::CommitOffsetsResponse&)>;

    Groups(env::Env& env, const Settings& settings, Streams& streams, const Topics& topics, Append append);

    // Both are for the owner of the groups stream when its reader has caught up.
    void on_subscribe(const proto::Subscribe& request, SubscribeReply reply);
    void on_commit(const proto::CommitOffsets& request, CommitReply reply);
    // Ends sessions that were not kept alive; the owner calls it about every 100 ms.
    void tick();
    // This node became the owner: every member gets a whole session from now.
    void take_over();

    CommittedReader& reader() { return reader_; }
    void reset();
    // Groups with members, and these members.
    std::size_t active_groups() const;
    std::size_t members() const;

private:
    struct Member {
        std::set<std::string> topics;
        Duration session{};
        protocol::TimePoint deadline;
        std::set<TopicPartition> held;     // it may be reading these
        std::set<TopicPartition> granted;  // told in the answer of the current generation; a part of `held`
    };
    struct Group {
        std::uint64_t generation{};
        std::map<std::string, Member> members;
        std::map<TopicPartition, std::int64_t> offsets;
    };

    void apply(const protocol::Record& record);
    std::map<TopicPartition, std::string> targets(const Group& group) const;
    void grant(Group& group, const std::string& member);
    proto::SubscribeResponse answer(const Group& group, const std::string& member) const;
    void save_membership(const std::string& name, const Group& group, AppendHandler done);
    void append(std::vector<proto::GroupRecord> records, AppendHandler done);

    env::Env& env_;
    const Settings& settings_;
    const Topics& topics_;
    Append append_;
    std::map<std::string, Group> groups_;
    CommittedReader reader_;
};

}  // namespace logstream::node
