// Consumer groups: who reads which partition, and how far. The owner of the groups stream decides; every change is a
// record of that stream, so a new owner goes on where the old one stopped.
//
// A partition goes to a new reader only after its old one has said that it stopped (it subscribes again under the new
// generation) or its session ended, so that no record is read twice while both live. A session ends only by silence
// that this broker was there to hear: who takes over, reads the groups anew, stood still or had no quorum gives every
// member a whole one.
//
// A group that has had no members for Settings::group_retention ends. Every broker counts that time by its own
// monotonic clock; the owner writes it down now and then, so that a restart costs a part of the count and a wrong wall
// clock nothing.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "internal/node/committed_reader.h"
#include "internal/node/group_state.h"
#include "internal/node/topics.h"

namespace logstream::node {

class Groups {
public:
    // Appends to the groups stream with quorum; the handler comes once, with kUnknown if the view changed meanwhile.
    using AppendHandler = std::function<void(Result<Offset>)>;
    using Append = std::function<void(protocol::Bytes batch, AppendHandler done)>;
    using SubscribeReply = std::function<void(const proto::SubscribeResponse&)>;
    using CommitReply = std::function<void(const proto::CommitOffsetsResponse&)>;
    using GroupsReply = std::function<void(const proto::GroupsResponse&)>;

    // An answer's PartitionOffset::offset where the group has no position in the partition, and where it has one in an
    // older topic of that name: then it reads the new one from its beginning.
    static constexpr std::int64_t kNoPosition = -1;
    static constexpr std::int64_t kNewTopic = -2;
    // So many groups are remembered beside those that have members (limits.groups).
    static constexpr std::size_t kMaxEmptyGroups = 100'000;

    Groups(env::Env& env, const Settings& settings, Streams& streams, Topics& topics, Append append);

    // Begins with what is known to be committed already.
    void start() { reader_.start(); }

    // What follows is for the owner of the groups stream when it is `ready`.
    bool ready() const { return reader_.caught_up() && topics_.reader().caught_up(); }
    void on_subscribe(const proto::Subscribe& request, SubscribeReply reply);
    void on_commit(const proto::CommitOffsets& request, CommitReply reply);
    void on_groups(const proto::Groups& request, GroupsReply reply);
    // Ends sessions that were not kept alive, and groups that stayed empty; the owner calls it about every 100 ms while
    // it has a quorum.
    void tick();
    // Every member gets a whole session from now.
    void take_over();

    void reset();
    // Groups with members, and these members.
    std::size_t active_groups() const;
    std::size_t members() const;

private:
    Group& group_named(const std::string& name);
    void apply(const protocol::Record& record);
    void apply_membership(const proto::GroupRecord& record);
    void forget(const GroupKey& key);

    std::optional<Error> refusal_to_join(const proto::Subscribe& request) const;
    void leave(const std::string& name, const std::string& member, SubscribeReply reply);
    void grant(Group& group, const std::string& member);
    void answer(const std::string& name, const std::string& member, const SubscribeReply& reply) const;
    std::int64_t start_of(const Group& group, StreamId stream, const std::string& topic) const;

    void end_sessions(protocol::TimePoint now);
    void tend_empty_groups();
    void drop_dead_positions();
    void end_group(const std::string& name, AppendHandler done);

    proto::GroupInfo describe(const std::string& name, const Group& group) const;
    void add_details(proto::GroupInfo& info, const Group& group) const;
    std::optional<proto::GroupsResponse> refusal_to_steer(const std::string& name, std::string_view how) const;
    void delete_group(const std::string& name, const GroupsReply& reply);
    void reset_group(const proto::Groups& request, const GroupsReply& reply);

    Duration empty_for(const Group& group) const {
        return group.members.empty() ? env_.now() - group.empty_since : Duration{0};
    }
    void save_membership(const std::string& name, const Group& group, AppendHandler done);
    void append(std::span<const GroupEntry> entries, AppendHandler done);
    void append_in_parts(std::span<const GroupEntry> entries, AppendHandler done);

    env::Env& env_;
    const Settings& settings_;
    Streams& streams_;
    Topics& topics_;
    Append append_;
    std::map<std::string, Group> groups_;
    protocol::TimePoint last_tick_;
    protocol::TimePoint next_tending_;
    protocol::TimePoint next_tidying_;
    CommittedReader reader_;
};

}  // namespace logstream::node
