// Which partition a record goes to.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace logstream::client {

// Austin Appleby's MurmurHash2 with the seed that Kafka's clients use, so that they agree with ours on a key's
// partition.
std::uint32_t murmur2(std::string_view key);

// Kafka's default partitioner for a record with a key. `partitions` is at least 1.
std::uint32_t partition_of_key(std::string_view key, std::uint32_t partitions);

}  // namespace logstream::client
