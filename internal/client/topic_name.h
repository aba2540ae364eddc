// What a topic may be called, and which partitions it has. Brokers check the same rule; clients check first, so that
// the user hears it at once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "internal/protocol/error.h"

namespace logstream::client {

inline constexpr std::size_t kMaxTopicNameBytes = 249;

// kInvalid with what is allowed when `name` can't be a topic's.
inline protocol::Result<void> check_topic_name(std::string_view name) {
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
               c == '-';
    };
    if (name.empty() || name.size() > kMaxTopicNameBytes || name == "." || name == ".." ||
        !std::ranges::all_of(name, allowed)) {
        const std::string_view shown = name.substr(0, 60);
        return protocol::fail(protocol::ErrorCode::kInvalid,
                              "'{}{}' ({} bytes) is not a valid topic name: use 1 to {} of a-z A-Z 0-9 . _ - (but not "
                              "\".\" or \"..\")",
                              shown, shown.size() < name.size() ? "…" : "", name.size(), kMaxTopicNameBytes);
    }
    return {};
}

// kInvalid with those that there are, when a topic of so many partitions does not have this one.
inline protocol::Result<void> check_partition(std::string_view topic, std::size_t partitions, std::uint32_t partition) {
    if (partition < partitions) return {};
    if (partitions == 1)
        return protocol::fail(protocol::ErrorCode::kInvalid, "topic '{}' has partition 0 only, not {}", topic,
                              partition);
    return protocol::fail(protocol::ErrorCode::kInvalid, "topic '{}' has partitions 0 to {}, not {}", topic,
                          partitions - 1, partition);
}

}  // namespace logstream::client
