// Room `ring`: which member owns a stream. Consistent hashing (Karger et al., STOC 1997) with virtual nodes; a function
// of the set of members alone, so every member and client computes the same owner from the same view. It knows nothing
// of views, liveness or load.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "internal/protocol/ids.h"

namespace logstream::ring {

using protocol::NodeId;
using protocol::StreamId;

// Immutable. Part of the contract between brokers and clients of all versions: whoever changes a hash, a seed or the
// number of virtual nodes moves every stream, so that mixed versions disagree on owners.
class HashRing {
public:
    // An empty ring.
    HashRing() = default;
    // The order of `members`, and members named twice, make no difference.
    explicit HashRing(std::span<const NodeId> members);

    // The member that owns `stream`; NodeId 0 (nobody) when the ring is empty. Removing a member changes the owner of
    // that member's streams only; adding one moves streams to that one only.
    NodeId owner(StreamId stream) const;

    // The first `n` distinct members clockwise from `stream`, the owner first; all of them when there are fewer. If the
    // first k of them are removed, the next one is the owner.
    std::vector<NodeId> preference(StreamId stream, std::size_t n) const;

    bool empty() const { return members_.empty(); }
    // Ascending, each once.
    std::span<const NodeId> members() const { return members_; }

private:
    // A virtual node: `member` owns the hashes from the previous point (excluded) to this one (included).
    struct Point {
        std::uint64_t hash{};
        std::uint32_t member{};  // index in members_
    };

    std::size_t first_point(StreamId stream) const;

    std::vector<NodeId> members_;
    std::vector<Point> points_;  // ascending by hash, then by member
};

}  // namespace logstream::ring
