#include "internal/client/partitioner.h"

#include <cstddef>

#include "internal/protocol/error.h"
#include "internal/protocol/wire.h"

namespace logstream::client {

std::uint32_t murmur2(std::string_view key) {
    constexpr std::uint32_t kMultiplier = 0x5bd1e995;
    constexpr int kShift = 24;
    std::uint32_t hash = 0x9747b28cU ^ static_cast<std::uint32_t>(key.size());
    const auto* at = reinterpret_cast<const std::byte*>(key.data());
    std::size_t left = key.size();
    for (; left >= 4; left -= 4, at += 4) {
        auto word = protocol::load<std::uint32_t>(at);
        word *= kMultiplier;
        word ^= word >> kShift;
        word *= kMultiplier;
        hash = (hash * kMultiplier) ^ word;
    }
    if (left >= 3) hash ^= std::to_integer<std::uint32_t>(at[2]) << 16;
    if (left >= 2) hash ^= std::to_integer<std::uint32_t>(at[1]) << 8;
    if (left >= 1) {
        hash ^= std::to_integer<std::uint32_t>(at[0]);
        hash *= kMultiplier;
    }
    hash ^= hash >> 13;
    hash *= kMultiplier;
    hash ^= hash >> 15;
    return hash;
}

std::uint32_t partition_of_key(std::string_view key, std::uint32_t partitions) {
    LS_ASSERT(partitions > 0);
    return (murmur2(key) & 0x7fffffffU) % partitions;
}

}  // namespace logstream::client
