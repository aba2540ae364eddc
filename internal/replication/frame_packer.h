// Packs session messages into frames: small ones together, large ones over several.
#pragma once

#include <deque>
#include <vector>

#include "internal/replication/session_message.h"

namespace logstream::replication {

// A frame that is ready to be sent but for its header: the first kFrameHeaderBytes of `frame.head` are left free, and
// SendRing::append fills them.
struct PackedFrame {
    Sequence sequence;     // what SendRing will give it: the packer numbers, the ring checks
    std::uint8_t flags{};  // kFirstFragment, kLastFragment
    OutFrame frame;
};

// One per session that we send. Frames leave in the order of their sequence, on the end of a queue that the caller owns
// and bounds (it stops taking messages when the queue is long; it never drops from it).
//
// A batch that does not fit a frame, or that is at least kReferenceBytes long, is referenced, not copied: its bytes
// must not change any more. Shorter ones are copied once, when their frame is closed, into a buffer of just the frame's
// size.
class FramePacker {
public:
    // Below this, copying is cheaper than a second piece in the datagram; and it keeps room for coalescing.
    static constexpr std::size_t kReferenceBytes = 4096;

    // `frame_bytes`: the largest datagram, header included; >= protocol::kMinFrameBytes. `first_sequence` >= 1: of the
    // view.
    FramePacker(std::size_t frame_bytes, Sequence first_sequence);

    // Takes a message; frames that are full thereby go to the end of `out`. Returns the sequence of the frame in which
    // the message ends: what is durable, committed or stable up to there covers the message. Never falls; several small
    // messages share one. `committed` (cut down to what was sent before) rides along to tell receivers what they may
    // serve, and when the batch was appended; `batch` is not empty and at most max_message_bytes of the receivers.
    Sequence add(StreamId stream, Sequence committed, std::int64_t appended_ms, Bytes batch,
                 std::deque<PackedFrame>& out);

    // Closes the frame that is being filled, if any. Call it when nothing more is at hand (once a turn of the event
    // loop), and always between asking the log for a flush and the next add: a message that came later must not share a
    // frame with one that is durable already, for AckTracker counts in frames.
    void flush(std::deque<PackedFrame>& out);

    // Messages wait for a flush.
    bool open() const { return !open_.empty(); }
    // The datagram that a flush would make, in bytes; 0 when there is none.
    std::size_t open_bytes() const { return open_.empty() ? 0 : open_bytes_; }
    // Of the next frame to be closed. All below have been given out.
    Sequence next_sequence() const { return next_; }

private:
    struct Small {
        MessageHead head;
        Bytes batch;
    };
    void close_frame(std::deque<PackedFrame>& out, Bytes referenced);
    void fragment(const MessageHead& head, const Bytes& batch, std::deque<PackedFrame>& out);

    std::size_t frame_bytes_;
    Sequence next_;
    std::vector<Small> open_;   // messages of the frame being filled; keeps its capacity
    std::size_t open_bytes_{};  // datagram size so far, header included
};

}  // namespace logstream::replication
