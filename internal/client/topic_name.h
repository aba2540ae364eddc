// What a topic may be called. Brokers check the same rule; clients check first, so that the user hears it at once.
#pragma once

#include <algorithm>
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

}  // namespace logstream::client
