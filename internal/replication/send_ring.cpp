#include "internal/replication/send_ring.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace logstream::replication {

SendRing::SendRing(const Session& session, Window window)
    : session_(session), window_(window), first_(session.first_sequence), next_(session.first_sequence) {
    LS_ASSERT(session.first_sequence.value >= 1);
    LS_ASSERT(window.frames >= 1);
}

bool SendRing::can_send(std::size_t datagram_bytes) const {
    if (first_ == next_) return true;
    return frames_in_flight() < window_.frames && bytes_ + datagram_bytes <= window_.bytes;
}

const OutFrame& SendRing::append(PackedFrame frame) {
    LS_ASSERT(frame.sequence == next_);
    LS_ASSERT(can_send(frame.frame.size()));
    LS_ASSERT(frame.frame.head.size() >= protocol::kFrameHeaderBytes);
    const auto header = protocol::encode_frame_header({.type = protocol::MessageType::kReplicate,
                                                       .flags = frame.flags,
                                                       .cluster = session_.cluster,
                                                       .view = session_.view,
                                                       .sender = session_.sender,
                                                       .sequence = next_,
                                                       .view_id = session_.view_id},
                                                      frame.frame.head.span().subspan(protocol::kFrameHeaderBytes),
                                                      frame.frame.tail.span());
    std::memcpy(frame.frame.head.mutable_data(), header.data(), header.size());

    bytes_ += frame.frame.size();
    ring_.reserve(first_, next_, next_ + 1);
    OutFrame& slot = ring_[next_];
    slot = std::move(frame.frame);
    ++next_;
    return slot;
}

void SendRing::release(Sequence stable) {
    const Sequence end = std::min(stable, last_sent()) + 1;
    for (; first_ < end; ++first_) {
        OutFrame& slot = ring_[first_];
        bytes_ -= slot.size();
        slot = OutFrame{};
    }
}

const OutFrame* SendRing::find(Sequence sequence) const {
    return sequence >= first_ && sequence < next_ ? &ring_[sequence] : nullptr;
}

}  // namespace logstream::replication
