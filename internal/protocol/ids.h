// The strong identifiers that travel through every room (node, view, offset, sequence, …).
// A bare integer never crosses an interface: two ids of different kinds do not mix or compare.
#pragma once

#include <fmt/format.h>

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace logstream::protocol {

// An integer with a kind. `Tag` only names the kind; arithmetic is limited to moving by a bare distance
// and to the distance between two of one kind.
template <class Tag, class Rep>
struct Id {
    using rep = Rep;
    Rep value{};

    constexpr Id() = default;
    constexpr explicit Id(Rep v) : value(v) {}

    friend constexpr auto operator<=>(Id, Id) = default;
    friend constexpr Id operator+(Id a, Rep distance) { return Id(a.value + distance); }
    friend constexpr Id operator-(Id a, Rep distance) { return Id(a.value - distance); }
    friend constexpr Rep operator-(Id a, Id b) { return a.value - b.value; }
    constexpr Id& operator++() {
        ++value;
        return *this;
    }
    constexpr Id& operator+=(Rep distance) {
        value += distance;
        return *this;
    }
};

// A broker: 64 random bits, made once, kept on its disk. 0 names nobody.
using NodeId = Id<struct NodeIdTag, std::uint64_t>;
// A lineage: 64 random bits, made when a cluster is bootstrapped. 0 means "none yet".
using ClusterId = Id<struct ClusterIdTag, std::uint64_t>;
// A view's number; rises for ever within a lineage. 0 means "no view". Record batches carry it as Kafka's leader epoch
// (leader_epoch.h).
using ViewNumber = Id<struct ViewNumberTag, std::uint64_t>;
// What a view's number stands for: 64 random bits, drawn when the view is proposed. Two views of one number come to be
// only where a broker forgot what it had promised (a folder restored from a backup); their ids tell them apart. 0: of a
// view from before views had ids, which agrees with any.
using ViewId = Id<struct ViewIdTag, std::uint64_t>;
// One run of a broker process: random, never 0. A restarted process has another.
using Incarnation = Id<struct IncarnationTag, std::uint64_t>;
// A frame's number in one sender's multicast session of one view; the first is 1.
using Sequence = Id<struct SequenceTag, std::uint64_t>;
// A record's number in its stream; the first is 0.
using Offset = Id<struct OffsetTag, std::int64_t>;
// A topic, for ever: a deleted and re-created name gets another. Values below 16 are internal topics.
using TopicId = Id<struct TopicIdTag, std::uint64_t>;
// An idempotent producer: 63 random bits (never counted); -1 means "none".
using ProducerId = Id<struct ProducerIdTag, std::int64_t>;
// One run of a ring election.
using ElectionId = Id<struct ElectionIdTag, std::uint64_t>;

inline constexpr ViewNumber kMaxViewNumber{0x7fffffff};
inline constexpr ProducerId kNoProducer{-1};

// A (topic, partition): the unit of order, of ownership and of storage.
struct StreamId {
    TopicId topic;
    std::uint32_t partition{};
    friend constexpr auto operator<=>(const StreamId&, const StreamId&) = default;
};

inline constexpr StreamId kMetadataStream{TopicId{1}, 0};  // topics and their settings; owned by the leader
inline constexpr StreamId kGroupsStream{TopicId{2}, 0};    // committed consumer offsets

constexpr bool is_internal(StreamId s) { return s.topic.value < 16; }

// Node, cluster and topic ids are shown as 16 hex digits everywhere: logs, JSON, flags.
inline std::string hex(std::uint64_t v) { return fmt::format("{:016x}", v); }
inline std::string to_string(NodeId id) { return hex(id.value); }
inline std::string to_string(ClusterId id) { return hex(id.value); }
inline std::string to_string(StreamId s) { return fmt::format("{}/{}", hex(s.topic.value), s.partition); }

}  // namespace logstream::protocol

template <class Tag, class Rep>
struct std::hash<logstream::protocol::Id<Tag, Rep>> {
    std::size_t operator()(logstream::protocol::Id<Tag, Rep> id) const noexcept { return std::hash<Rep>{}(id.value); }
};

template <>
struct std::hash<logstream::protocol::StreamId> {
    std::size_t operator()(const logstream::protocol::StreamId& s) const noexcept {
        return std::hash<std::uint64_t>{}(s.topic.value * 0x9e3779b97f4a7c15ULL + s.partition);
    }
};

template <class Tag, class Rep>
struct fmt::formatter<logstream::protocol::Id<Tag, Rep>> : fmt::formatter<Rep> {
    template <class Context>
    auto format(logstream::protocol::Id<Tag, Rep> id, Context& ctx) const {
        return fmt::formatter<Rep>::format(id.value, ctx);
    }
};
