// How long to wait before the next try: short while a fail-over is likely to be under way, then growing.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "internal/protocol/time.h"

namespace logstream::client {

// Jittered exponential back-off with a fast phase: the first `kFastFor` of trouble stays at or below `kFastMax`,
// because a view change takes tens of milliseconds and a client that waits longer than that is what a user notices.
class Backoff {
public:
    static constexpr protocol::Duration kFirst = std::chrono::milliseconds(4);
    static constexpr protocol::Duration kFastMax = std::chrono::milliseconds(50);
    static constexpr protocol::Duration kFastFor = std::chrono::seconds(3);
    static constexpr protocol::Duration kMax = std::chrono::milliseconds(500);

    // The wait before the next try; `random` is any 64 random bits.
    protocol::Duration next(protocol::TimePoint now, std::uint64_t random) {
        if (tries_++ == 0) {
            since_ = now;
            step_ = kFirst;
        } else {
            // Growing by half, a try comes at most half as late as the trouble was long; by twice, as late as that.
            step_ = now - since_ < kFastFor ? std::min<protocol::Duration>(step_ * 3 / 2, kFastMax)
                                            : std::min<protocol::Duration>(step_ * 2, kMax);
        }
        // Between half of the step and all of it, so that many clients do not come back in one instant.
        const auto half = step_.count() / 2;
        return protocol::Duration(half + static_cast<std::int64_t>(random % static_cast<std::uint64_t>(half + 1)));
    }
    // The trouble is over.
    void reset() { tries_ = 0; }
    bool in_trouble() const { return tries_ > 0; }

private:
    std::uint64_t tries_{};
    protocol::TimePoint since_{};
    protocol::Duration step_{};
};

}  // namespace logstream::client
