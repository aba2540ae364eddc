// The frames that a sender has sent and some member may still ask for; at the same time its send window.
#pragma once

#include "internal/replication/frame_packer.h"
#include "internal/replication/sequence_ring.h"

namespace logstream::replication {

// One per session that we send. A frame is held
// from `append` until `release(stable)`, so what is held is what is in flight, and the bound on it is window, flow
// control and memory bound in one.
class SendRing {
public:
    struct Window {
        // Datagram bytes in flight; the least that the view's receivers advertised.
        std::size_t bytes{};
        // Frames in flight; >= 1. Linux charges a small datagram in a socket buffer with some 1.3 to 2.3 kB of
        // overhead, so a window that the kernel is to hold needs this as well as the bytes.
        std::size_t frames{};
    };
    // What all frames of the session have in common.
    struct Session {
        protocol::ClusterTag cluster;
        protocol::ViewNumber view;
        NodeId sender;
        Sequence first_sequence;  // >= 1
        protocol::ViewId view_id{};
    };
    SendRing(const Session& session, Window window);

    // Whether a frame of `datagram_bytes` is inside the window. With nothing in flight any frame is: a window smaller
    // than a frame is slow, not stuck.
    bool can_send(std::size_t datagram_bytes) const;

    // Numbers the frame (its sequence must be the next one: frames come in the packer's order), writes header and
    // checksum into its head and holds it. Returns the datagram to multicast now; valid until the next call that
    // changes the ring. can_send(frame.frame.size()) must hold.
    const OutFrame& append(PackedFrame frame);

    // All members have everything up to `stable`: drops these frames. Lower values than before are ignored; values
    // beyond the last sent (own positions can be: they count what is packed) release what there is.
    void release(Sequence stable);

    // The very bytes that were sent first (a receiver cannot tell a resend from a late arrival); nullptr when the frame
    // is released or not yet sent. Valid until the next call that changes the ring.
    const OutFrame* find(Sequence sequence) const;

    Sequence first_available() const { return first_; }   // == last_sent() + 1 when the ring is empty
    Sequence last_sent() const { return before(next_); }  // for heartbeats; before(first_sequence) at first
    std::size_t bytes_in_flight() const { return bytes_; }
    std::size_t frames_in_flight() const { return next_ - first_; }

private:
    Session session_;
    Window window_;
    SequenceRing<OutFrame> ring_;
    Sequence first_;  // oldest held
    Sequence next_;
    std::size_t bytes_{};
};

}  // namespace logstream::replication
