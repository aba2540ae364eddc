// Says a thing that happens thousands of times once a second, with the number of times. Internal to net.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "internal/protocol/time.h"

namespace logstream::net {

class LogThrottle {
public:
    explicit LogThrottle(protocol::Duration every = std::chrono::seconds(1)) : every_(every) {}

    // One more time. A number means: say it now, it stands for so many times.
    std::optional<std::uint64_t> count(protocol::TimePoint now) {
        ++times_;
        if (said_ && now - *said_ < every_) return std::nullopt;
        said_ = now;
        return std::exchange(times_, 0);
    }

private:
    protocol::Duration every_;
    std::optional<protocol::TimePoint> said_;
    std::uint64_t times_ = 0;
};

}  // namespace logstream::net
