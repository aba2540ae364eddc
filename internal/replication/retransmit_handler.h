// Decides which frames are sent again when receivers ask by NACK.
#pragma once

#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "internal/replication/send_ring.h"

namespace logstream::replication {

// One per session that we send; after Aeron's aeron_retransmit_handler.c. A resend is multicast, so one answers the
// NACKs of all receivers: further NACKs for a frame are ignored while it waits and while it lingers after. Resends are
// bounded per NACK, in the queue and in bytes per second; what a bound cuts off the receiver asks for again.
class RetransmitHandler {
public:
    struct Options {
        // A frame is not sent again within this time of its last resend. Less than LossDetector's linger, so that the
        // NACK for a resend that was lost too is heard.
        Duration linger = std::chrono::milliseconds(5);
        std::size_t max_frames_per_nack = 256;
        std::size_t max_queued_frames = 2048;
        // Token bucket over resent datagram bytes. The burst should hold the frames of one NACK.
        std::uint64_t bytes_per_second = 64u << 20;
        std::size_t burst_bytes = 1u << 20;
    };
    RetransmitHandler(const Options& options, TimePoint now);

    // A receiver lacks `ranges` (as they came from the network). Queues what is to be sent again. When some of it was
    // released already, returns the first sequence that is available: answer NACK_GONE with it. Ranges that are no
    // ranges or beyond what was sent are counted and ignored.
    std::optional<Sequence> on_nack(std::span<const SequenceRange> ranges, const SendRing& ring, TimePoint now);

    // Appends to `out` the frames to multicast now; call before new frames are sent, and at next_deadline(). Frames
    // that were released meanwhile are skipped.
    void poll(const SendRing& ring, TimePoint now, std::vector<OutFrame>& out);

    // When poll has something to do; TimePoint::max() when nothing is queued.
    TimePoint next_deadline() const { return queue_.empty() ? TimePoint::max() : next_send_; }

    struct Counters {
        std::uint64_t resent_frames{};
        std::uint64_t resent_bytes{};
        std::uint64_t suppressed{};  // frames asked for again while queued or lingering
        std::uint64_t cut_off{};     // NACKs of which a bound left something out
        std::uint64_t gone{};        // NACKs for released frames
        std::uint64_t invalid{};     // ranges that no correct receiver sends
    };
    const Counters& counters() const { return counters_; }

private:
    struct Mark {
        Sequence sequence;  // whose mark it is: slots are reused
        TimePoint quiet_until;
    };
    // What one NACK may still cost: frames to queue, frames to look at.
    struct Budget {
        std::size_t queue;
        std::size_t examine;
    };
    bool queue_range(SequenceRange range, Budget& budget, TimePoint now);
    void make_room(const SendRing& ring);
    void refill(TimePoint now);

    Options options_;
    SequenceRing<Mark> marks_;
    Sequence marks_end_;  // marks_ has slots from the ring's first available frame to here
    std::deque<Sequence> queue_;
    double tokens_bytes_;
    TimePoint refilled_;
    TimePoint next_send_;  // meaningful while something is queued
    Counters counters_;
};

}  // namespace logstream::replication
