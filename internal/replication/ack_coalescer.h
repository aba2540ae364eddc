// Decides when a receiver sends REPLICATE_ACK, and what it says.
#pragma once

#include <optional>

#include "internal/replication/session.h"

namespace logstream::replication {

// One per (sender, view), on a receiver. Acknowledgements are cumulative, so the fewer the better, as long as the
// sender neither waits for one nor runs into the end of its window: at once when nothing more is known to be on its
// way, otherwise by count and time.
class AckCoalescer {
public:
    struct Options {
        Sequence first_sequence{1};
        // So many newly durable frames are worth an acknowledgement; >= 1. Times the frame size it bounds the bytes:
        // take at most a quarter of the window.
        std::size_t frames = 64;
        // No durable frame waits longer.
        Duration max_delay = std::chrono::milliseconds(1);
    };
    explicit AckCoalescer(const Options& options);

    // The window's state after frames came: ReceiveWindow::received(), last_message_end(), highest_seen().
    void received(Sequence received, Sequence last_message_end, Sequence highest_seen, TimePoint now);
    // Every message that ends at or below `last_frame` is durable; <= last_message_end as told. Lower values than
    // before are ignored.
    void durable(Sequence last_frame, TimePoint now);
    // The connection to the sender is new: say the position again, whatever was said before.
    void repeat() { repeat_ = true; }

    struct Ack {
        Sequence durable;
        Sequence received;
    };
    // The acknowledgement to send now, if any. Call it after each change (once a turn of the event loop is best) and at
    // next_deadline().
    std::optional<Ack> poll(TimePoint now);
    // TimePoint::max() when nothing is held back. Valid after poll.
    TimePoint next_deadline() const;

    // The cumulative position, never falling: the last message that is durable, and when no complete message waits for
    // the disk, the frames of the incomplete one as well: else a message larger than the window could never be sent.
    Sequence position() const { return position_; }

private:
    void update_position(TimePoint now);

    Options options_;
    Sequence received_;
    Sequence last_message_end_;
    Sequence highest_seen_;
    Sequence durable_;  // as told
    Sequence position_;
    Sequence acknowledged_;    // as last said
    TimePoint waiting_since_;  // since position_ > acknowledged_; meaningful only then
    bool repeat_{};
};

}  // namespace logstream::replication
