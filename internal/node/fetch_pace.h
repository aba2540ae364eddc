// How much a broker that catches up asks for at a time, and how long it waits for that.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

#include "internal/protocol/time.h"

namespace logstream::node {

// An answer counts only when it is there as a whole, so what is asked for must fit what the link carries: a link of a
// few Mbit/s, or one that loses packets, would else fetch the first megabytes again and again. It begins with little,
// asks for more while answers are quick, and after a time-out for the least, with more time.
class FetchPace {
public:
    static constexpr std::size_t kLeast = 64u << 10;
    static constexpr std::size_t kFirst = 256u << 10;
    static constexpr std::size_t kMost = 4u << 20;
    static constexpr protocol::Duration kQuick = std::chrono::milliseconds(200);
    static constexpr protocol::Duration kSlow = std::chrono::seconds(1);
    static constexpr protocol::Duration kLeastPatience = std::chrono::seconds(2);
    static constexpr protocol::Duration kMostPatience = std::chrono::seconds(16);

    std::size_t bytes() const { return bytes_; }
    protocol::Duration patience() const { return patience_; }

    void answered(protocol::Duration after) {
        if (after < kQuick) bytes_ = std::min(2 * bytes_, kMost);
        if (after > kSlow) bytes_ = std::max(bytes_ / 2, kLeast);
    }
    void timed_out() {
        bytes_ = kLeast;
        patience_ = std::min(2 * patience_, kMostPatience);
    }

private:
    std::size_t bytes_{kFirst};
    protocol::Duration patience_{kLeastPatience};
};

}  // namespace logstream::node
