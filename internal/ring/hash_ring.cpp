#include "internal/ring/hash_ring.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <tuple>

namespace logstream::ring {

namespace {

// Per member. Of 1,000 streams on 7 members, chance alone (the streams are a sample) puts the most loaded above 1.3
// times the mean once in about 1,000 random sets of topics; unequal arcs add little to that from 2,048 points a member
// on:
//     points a member               256     512    1024    2048    4096
//     sets above 1.3, 7 members   0.77 %  0.32 %  0.22 %  0.12 %  0.10 %    (6,000 sets each; 3 members: none)
//     building the ring, 7        0.2 ms  0.4 ms  0.5 ms  1.0 ms  2.2 ms
constexpr std::uint64_t kPointsPerMember = 2048;

// Two seeds, so that a member's point and a stream never coincide by having equal bytes.
constexpr XXH64_hash_t kPointSeed = 1;
constexpr XXH64_hash_t kStreamSeed = 2;

// Of the two numbers as 16 little-endian bytes, on every machine.
std::uint64_t hash_of(std::uint64_t a, std::uint64_t b, XXH64_hash_t seed) {
    std::array<unsigned char, 16> bytes{};
    for (unsigned i = 0; i < 8; ++i) {
        bytes[i] = static_cast<unsigned char>(a >> (8 * i));
        bytes[8 + i] = static_cast<unsigned char>(b >> (8 * i));
    }
    return XXH64(bytes.data(), bytes.size(), seed);
}

}  // namespace

HashRing::HashRing(std::span<const NodeId> members) : members_(members.begin(), members.end()) {
    std::ranges::sort(members_);
    members_.erase(std::ranges::unique(members_).begin(), members_.end());
    points_.reserve(members_.size() * kPointsPerMember);
    for (std::uint32_t member = 0; member < members_.size(); ++member) {
        for (std::uint64_t i = 0; i < kPointsPerMember; ++i) {
            points_.push_back({.hash = hash_of(members_[member].value, i, kPointSeed), .member = member});
        }
    }
    std::ranges::sort(points_, {}, [](const Point& p) { return std::tuple(p.hash, p.member); });
}

std::size_t HashRing::first_point(StreamId stream) const {
    const std::uint64_t hash = hash_of(stream.topic.value, stream.partition, kStreamSeed);
    const auto found = std::ranges::lower_bound(points_, hash, {}, &Point::hash);
    return found == points_.end() ? 0 : static_cast<std::size_t>(found - points_.begin());
}

NodeId HashRing::owner(StreamId stream) const {
    return points_.empty() ? NodeId{} : members_[points_[first_point(stream)].member];
}

std::vector<NodeId> HashRing::preference(StreamId stream, std::size_t n) const {
    const std::size_t wanted = std::min(n, members_.size());
    std::vector<NodeId> chosen;
    chosen.reserve(wanted);
    if (wanted == 0) return chosen;
    for (std::size_t i = first_point(stream); chosen.size() < wanted; i = (i + 1) % points_.size()) {
        const NodeId member = members_[points_[i].member];
        if (std::ranges::find(chosen, member) == chosen.end()) chosen.push_back(member);
    }
    return chosen;
}

}  // namespace logstream::ring
