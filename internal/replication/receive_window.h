// The receiving end of a session: puts frames in order and makes messages of them.
#pragma once

#include <optional>
#include <vector>

#include "internal/protocol/error.h"
#include "internal/protocol/record_batch.h"
#include "internal/replication/sequence_ring.h"
#include "internal/replication/session_message.h"

namespace logstream::replication {

struct DeliveredMessage {
    StreamId stream;
    Sequence committed;          // what the sender knew to be committed, of its session
    std::int64_t appended_ms{};  // when the sender appended it, by its clock; 0: it does not say
    Bytes batch;                 // contiguous, in a buffer of its own
    Sequence last_frame;         // the frame it ends in; never falls from one message to the next
};

// One per (sender, view). Delivers in order, each frame once; keeps early frames within a bound of frames and bytes;
// drops and counts duplicates and what is beyond the bound (the sender sends it again when asked).
class ReceiveWindow {
public:
    struct Options {
        Sequence first_sequence{1};  // of the session; >= 1
        // How far ahead of the next expected frame one is kept, >= 1: at least the sender's window, or the tail of a
        // full window is dropped whenever its first frame is late.
        std::size_t max_frames = 16384;
        // Payload bytes of frames that wait for an earlier one. They pin whole receive buffers if the buffers are
        // larger.
        std::size_t max_buffered_bytes = 16u << 20;
        // The largest batch.
        std::size_t max_message_bytes = protocol::kMaxStoredBatchBytes;
    };
    explicit ReceiveWindow(const Options& options);

    // A frame of the session arrived (checksum, cluster, view, sender checked). Appends to `out` the messages that are
    // now whole, in order. An error (kCorrupt) means that the sender's frames make no sense: nothing of this session
    // can be trusted any more, the node leaves the view; every later call returns the error again. What was delivered
    // stands.
    protocol::Result<void> insert(Sequence sequence, std::uint8_t flags, Bytes payload,
                                  std::vector<DeliveredMessage>& out);

    // The sender says (heartbeat) that its last frame so far is `last`: a lost tail shows as a gap. Monotone; more than
    // a window ahead is cut down to the window.
    void raise_highest(Sequence last);

    // All frames up to this one were received and delivered in order; before(first_sequence) at first. Never falls.
    Sequence received() const { return before(next_); }
    // The frame in which the last delivered message ends, <= received(). Less than received() exactly while a
    // fragmented message is incomplete.
    Sequence last_message_end() const { return last_message_end_; }
    // The greatest sequence that is known to be sent; >= received(). Never falls.
    Sequence highest_seen() const { return highest_; }
    // Some frame up to highest_seen() is missing.
    bool has_gap() const { return received() < highest_; }
    // The frame did not arrive yet.
    bool is_missing(Sequence sequence) const;
    // Whether NACK_GONE with this first available sequence is fatal: frames that we lack cannot be had any more.
    // Otherwise it answers an old NACK, and the frames have arrived since.
    bool is_cut_off(Sequence first_available) const { return first_available > next_; }

    struct Counters {
        std::uint64_t frames{};  // delivered in order
        std::uint64_t messages{};
        std::uint64_t batch_bytes{};
        std::uint64_t duplicates{};
        std::uint64_t early{};   // kept until an earlier one came
        std::uint64_t beyond{};  // dropped: too far ahead, or no room for early frames
    };
    const Counters& counters() const { return counters_; }
    std::size_t buffered_bytes() const { return buffered_bytes_; }
    std::size_t buffered_frames() const { return buffered_frames_; }

private:
    struct Early {
        bool present{};
        std::uint8_t flags{};
        Bytes payload;
    };
    void keep_early(Sequence sequence, std::uint8_t flags, Bytes payload);
    protocol::Result<void> deliver(std::uint8_t flags, Bytes payload, std::vector<DeliveredMessage>& out);
    protocol::Result<void> deliver_whole(const Bytes& payload, std::vector<DeliveredMessage>& out);
    protocol::Result<void> begin_fragmented(const Bytes& payload);
    protocol::Result<void> append_fragment(const Bytes& payload, bool last, std::vector<DeliveredMessage>& out);
    protocol::Result<DecodedMessageHead> decode_head(std::span<const std::byte> payload) const;
    void hand_out(DeliveredMessage message, std::vector<DeliveredMessage>& out);

    Options options_;
    Sequence next_;  // to be delivered
    Sequence highest_;
    Sequence last_message_end_;
    SequenceRing<Early> early_;
    Sequence early_end_;  // early_ has slots for [next_, early_end_) once early_end_ > next_
    std::size_t buffered_bytes_{};
    std::size_t buffered_frames_{};
    DeliveredMessage partial_;      // the fragmented message being put together; its batch is empty when there is none
    std::size_t partial_filled_{};  // bytes of its batch that have arrived
    std::optional<protocol::Error> broken_;
    Counters counters_;
};

}  // namespace logstream::replication
