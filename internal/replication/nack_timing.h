// How long a receiver waits before it asks for a missing frame, and before it asks again: learned from the link.
#pragma once

#include <algorithm>
#include <deque>

#include "internal/replication/session.h"

namespace logstream::replication {

// One per LossDetector. On a switch frames are reordered by microseconds and a resend is there within one millisecond;
// over radio, tunnels and bonded links it may be tens of milliseconds, and who asks at once then makes the sender
// repeat what is already under way. What was asked for in vain shows: it arrives twice. As RFC 8985 (RACK) does by
// DSACK, the wait grows when a good part of what was asked for comes twice, and is forgotten when that was long ago.
class NackTiming {
public:
    // Since when a frame is missing, and how it was asked for.
    struct Missing {
        TimePoint seen{};
        TimePoint first_asked{};
        std::uint32_t asks{};  // 0: not yet
    };

    // The first copy of a frame that was missing came.
    void filled(Sequence sequence, const Missing& missing, TimePoint now);
    // A further copy of a frame came.
    void repeated(Sequence sequence, TimePoint now);

    // How late a frame may come that is not lost: within [0, kMaxReorder]. 0 while nothing else was seen.
    Duration reorder(TimePoint now) const { return std::min(reorder_.at(now), kMaxReorder); }
    // How long a resend may take to come: within [0, kMaxAnswer]. 0 while nothing shows that it takes long.
    Duration answer(TimePoint now) const { return std::min(answer_.at(now), kMaxAnswer); }

    static constexpr Duration kMaxReorder = std::chrono::milliseconds(40);
    static constexpr Duration kMaxAnswer = std::chrono::milliseconds(160);
    // What was learned holds for this long at least, three times as long at most.
    static constexpr Duration kMemory = std::chrono::seconds(10);

private:
    // The greatest value of this period and the last.
    class RecentMax {
    public:
        void raise(Duration value, TimePoint now);
        Duration at(TimePoint now) const;

    private:
        TimePoint since_{};
        Duration current_{};
        Duration previous_{};
    };
    // Frames in a row that were missing alike, were asked for, and came.
    struct Answered {
        SequenceRange range;
        Missing missing;
        TimePoint filled;
        std::size_t repeated{};
        std::size_t frames() const { return range.last - range.first + 1; }
    };
    bool asks_in_vain() const;

    RecentMax reorder_;
    RecentMax answer_;
    std::deque<Answered> answered_;  // the last few, in the order in which they came
};

}  // namespace logstream::replication
