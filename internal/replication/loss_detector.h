// Decides when a receiver asks for missing frames, and for which.
#pragma once

#include <vector>

#include "internal/replication/receive_window.h"

namespace logstream::replication {

// One per (sender, view); after Aeron's aeron_loss_detector.c, with several gaps at a time. A gap that is seen for the
// first time is asked for after a short random delay (it may only be reordered, and of many receivers that lack the
// same frame the first one's NACK serves all), and again, with growing distance, while it stays.
class LossDetector {
public:
    struct Options {
        // First NACK: random in [min_delay, max_delay] after the gap was first seen. 0 < min_delay <= max_delay.
        Duration min_delay = std::chrono::microseconds(500);
        Duration max_delay = std::chrono::milliseconds(2);
        // Next NACK for what is still missing: after linger, doubled each time up to max_linger, plus a random part of
        // max_delay. RetransmitHandler's linger is shorter.
        Duration linger = std::chrono::milliseconds(10);
        Duration max_linger = std::chrono::milliseconds(80);
        // Bounds one NACK and the gaps that are followed at a time; later gaps wait for earlier ones to close.
        std::size_t max_ranges = 32;
    };
    explicit LossDetector(const Options& options);

    // Looks at the window and returns the ranges to ask for now, ascending, disjoint, at most max_ranges; mostly none.
    // Call it after frames or a heartbeat came while window.has_gap() (cheap otherwise, too), and at next_deadline().
    // `random`: any 64 random bits.
    std::vector<SequenceRange> poll(const ReceiveWindow& window, TimePoint now, std::uint64_t random);

    // When a gap is due; TimePoint::max() when none is known. Valid after poll.
    TimePoint next_deadline() const;

    struct Counters {
        std::uint64_t gaps{};   // first seen
        std::uint64_t nacks{};  // polls that returned ranges
    };
    const Counters& counters() const { return counters_; }

private:
    struct Gap {
        SequenceRange range;
        TimePoint due;
        Duration linger;  // until the NACK after the next
    };
    void find_new_gaps(const ReceiveWindow& window, TimePoint due);
    void drop_filled(const ReceiveWindow& window);

    Options options_;
    std::vector<Gap> gaps_;     // ascending, disjoint; ends may have been filled since
    std::vector<Gap> scratch_;  // of drop_filled; keeps its capacity
    Sequence scanned_;          // up to here gaps were looked for
    Counters counters_;
};

}  // namespace logstream::replication
