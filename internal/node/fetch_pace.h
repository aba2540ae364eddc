// How much a broker that catches up asks for at a time, and how long it waits for that.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

#include "internal/protocol/time.h"

namespace logstream::node {

// An answer counts only when it is there as a whole, so what is asked for must fit what the link carries: a link of a
// few Mbit/s, or one that loses packets, would otherwise fetch the first megabytes again and again. It begins with
// little, asks for more while answers are quick, and after a time-out for the least, with more time.
class FetchPace {
public:
    static constexpr std::size_t kLeast = 64u << 10;
    static constexpr std::size_t kFirst = 256u << 10;
    static constexpr std::size_t kMost = 4u << 20;
    static constexpr protocol::Duration kQuick = std::chrono::milliseconds(200);
    static constexpr protocol::Duration kSlow = std::chrono::seconds(1);
    static constexpr protocol::Duration kLeastPatience = std::chrono::seconds(2);
    static constexpr protocol::Duration kMostPatience = std::chrono::seconds(16);

    protocol::Duration patience() const { return patience_; }

    struct Ask {
        std::size_t bytes{};
        protocol::TimePoint at;
    };
    Ask ask(protocol::TimePoint now) const { return {bytes_, now}; }
    // So many bytes came. What is less than half of what was asked for says nothing about the link.
    void answered(const Ask& ask, protocol::TimePoint now, std::size_t bytes) {
        if (bytes < ask.bytes / 2) return;
        const protocol::Duration after = now - ask.at;
        if (after < kQuick) {
            bytes_ = std::clamp(2 * ask.bytes, bytes_, kMost);
            patience_ = std::max(patience_ / 2, kLeastPatience);
        } else if (after > kSlow) {
            bytes_ = std::max(std::min(bytes_, ask.bytes / 2), kLeast);
        }
    }
    // Requests to one broker time out together: what was asked before the last time-out is the same one.
    void timed_out(const Ask& ask, protocol::TimePoint now) {
        if (ask.at < timed_out_at_) return;
        timed_out_at_ = now;
        bytes_ = kLeast;
        patience_ = std::min(2 * patience_, kMostPatience);
    }

private:
    std::size_t bytes_{kFirst};
    protocol::Duration patience_{kLeastPatience};
    protocol::TimePoint timed_out_at_{};
};

}  // namespace logstream::node
