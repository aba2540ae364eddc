// Views: numbered memberships and the rules that keep them from going apart.
//
// This room is pure: it holds no clock, socket, file or thread. `node` feeds it what members answered and does what it
// decides; it knows nothing of how messages travel.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "internal/protocol/error.h"
#include "internal/protocol/ids.h"
#include "internal/protocol/ip_address.h"
#include "logstream.pb.h"

namespace logstream::view {

using protocol::ClusterId;
using protocol::Incarnation;
using protocol::NodeId;
using protocol::Offset;
using protocol::Sequence;
using protocol::StreamId;
using protocol::ViewId;
using protocol::ViewNumber;

// One run of one broker and where it is reached.
struct Member {
    NodeId id;
    Incarnation incarnation;
    std::string name;
    protocol::IpAddress ip;
    std::uint16_t port{};
    std::uint16_t http_port{};     // 0: no HTTP
    std::uint64_t window_bytes{};  // what the kernel really gave its multicast socket
    std::uint32_t frame_bytes{};   // largest datagram of its interface
    std::uint32_t version{1};      // the greatest of the protocol that it speaks
    friend bool operator==(const Member&, const Member&) = default;
};

// What quorums are counted in: a view without its own bases.
struct Base {
    ViewNumber number;
    NodeId coordinator;
    std::vector<NodeId> members;  // sorted
    ViewId id{};
    friend bool operator==(const Base&, const Base&) = default;
};

// A numbered membership. A number has one content for ever; another content needs another number.
struct View {
    ViewNumber number;
    NodeId coordinator;           // always one of the members
    std::vector<Member> members;  // sorted by id
    std::vector<Base>
        bases;         // the views whose quorums it needed; bases.front() is the one known to be chosen, if any was
    bool multicast{};  // else the same frames go over TCP
    Sequence first_sequence{1};  // of every member's session
    std::uint64_t window_bytes{};
    std::uint32_t frame_bytes{};
    ViewId id{};
    std::uint32_t version{1};  // of the protocol that all members speak

    bool has(NodeId id) const { return find(id) != nullptr; }
    const Member* find(NodeId id) const;
    // The member with this id and this run of it.
    bool has(NodeId id, Incarnation incarnation) const;
    std::vector<NodeId> ids() const;
    Base base() const { return Base{number, coordinator, ids(), id}; }
    friend bool operator==(const View&, const View&) = default;
};

proto::Member to_proto(const Member& member);
proto::View to_proto(const View& view);
Member from_proto(const proto::Member& member);
// kInvalid when the content cannot be a view: no members, too many, unsorted, a coordinator that is not a member.
protocol::Result<View> from_proto(const proto::View& view);

inline constexpr std::size_t kMaxMembers = 32;
inline constexpr std::size_t kMaxBases = 64;

}  // namespace logstream::view
