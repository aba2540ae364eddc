// What a consumer group is: its members, what each of them reads, and how far the group has come; and how that stands
// in the groups stream.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "internal/node/topics.h"

namespace logstream::node {

struct GroupMember {
    std::set<std::string> topics;
    Duration session{};
    protocol::TimePoint deadline;
    std::set<StreamId> held;     // it may be reading these
    std::set<StreamId> granted;  // told in the answer of the current generation; a part of `held`
};

// How far a group has come in a stream. It belongs to the topic of that id: one made later under the same name is
// another one.
struct GroupPosition {
    std::string topic;
    std::int64_t offset{};  // the next to read
};

struct Group {
    // Rises with every change of the membership. Nobody is told of a generation that is not committed.
    std::uint64_t generation{};
    std::uint64_t committed_generation{};
    std::map<std::string, GroupMember> members;
    std::map<StreamId, GroupPosition> positions;
    // Without members: since when, by this process's clock, which counts what earlier processes wrote down.
    protocol::TimePoint empty_since;
    Duration empty_written{};  // how much of it is written down
    bool ending{};             // the records that end it are on their way
};

// Who shall read what: partitions stay with who holds them as far as shares stay even, the rest goes to who has least.
std::map<StreamId, std::string> assign_partitions(const Group& group, const Topics& topics);

// A key of the groups stream.
struct GroupKey {
    std::string group;
    std::optional<StreamId> stream;  // of a position; else it is the membership's
};
std::string encode(const GroupKey& key);
std::optional<GroupKey> decode_group_key(std::string_view text);

struct GroupEntry {
    GroupKey key;
    std::optional<proto::GroupRecord> value;  // none: what the key names has ended
};
GroupEntry position_entry(const std::string& group, StreamId stream, const GroupPosition& position);
GroupEntry membership_entry(const std::string& name, const Group& group, Duration empty);
Result<protocol::Bytes> encode(std::span<const GroupEntry> entries, std::int64_t timestamp_ms);

}  // namespace logstream::node
