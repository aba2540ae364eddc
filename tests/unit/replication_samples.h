// Bytes and streams for the tests of replication.
#pragma once

#include <cstring>

#include "internal/protocol/frame.h"
#include "internal/replication/session_message.h"

namespace logstream::replication::samples {

using namespace std::chrono_literals;

inline constexpr TimePoint kStart{std::chrono::hours(1)};
inline constexpr protocol::ClusterTag kCluster{0xc1};
inline constexpr protocol::ViewNumber kView{7};
inline constexpr NodeId kSender{0x50};

inline StreamId stream(std::uint64_t n) { return {protocol::TopicId{100 + n}, static_cast<std::uint32_t>(n % 3)}; }

inline SequenceRange range(std::uint64_t first, std::uint64_t last) { return {Sequence{first}, Sequence{last}}; }

// A cheap generator with 64 good bits (SplitMix64).
struct Random {
    std::uint64_t state;
    std::uint64_t operator()() {
        std::uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31);
    }
    std::uint64_t below(std::uint64_t n) { return (*this)() % n; }
    std::uint64_t between(std::uint64_t low, std::uint64_t high) { return low + below(high - low + 1); }
    bool chance(double p) { return static_cast<double>((*this)() >> 11) * 0x1p-53 < p; }
};

// Contents that differ with `seed` and from position to position.
inline Bytes batch(std::size_t size, std::uint64_t seed) {
    Bytes out = Bytes::allocate(size);
    Random random{seed};
    for (std::size_t i = 0; i < size; i += 8) {
        const std::uint64_t word = random();
        std::memcpy(out.mutable_data() + i, &word, std::min<std::size_t>(8, size - i));
    }
    return out;
}

inline Bytes join(std::initializer_list<std::span<const std::byte>> parts) {
    std::size_t size = 0;
    for (const auto& part : parts) size += part.size();
    Bytes out = Bytes::allocate(size);
    std::byte* at = out.mutable_data();
    for (const auto& part : parts) {
        if (!part.empty()) std::memcpy(at, part.data(), part.size());
        at += part.size();
    }
    return out;
}

// The datagram as it goes over the wire.
inline Bytes datagram(const OutFrame& frame) { return join({frame.head.span(), frame.tail.span()}); }
// What follows the frame header.
inline Bytes payload(const OutFrame& frame) { return datagram(frame).from(protocol::kFrameHeaderBytes); }

}  // namespace logstream::replication::samples
