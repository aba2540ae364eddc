// Room `replication`: one sender's frames to the members of one view, and back its acknowledgements.
//
// A session is (sender, view): frames numbered from the view's first sequence on, in one FIFO whatever the stream.
// The sending side is FramePacker -> SendRing (+ RetransmitHandler), AckTracker -> CommitQueue and PendingAcks; the
// receiving side is ReceiveWindow (+ LossDetector) -> CommitQueue, AckCoalescer. Each part is one algorithm that can be
// tested alone, and lives as long as its session: a new view makes new ones.
//
// The room knows no socket, clock, disk or view: times and chance are arguments, and it is the node that checks that a
// frame, NACK or acknowledgement is of this cluster, view and incarnation before it comes here.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "internal/protocol/bytes.h"
#include "internal/protocol/frame.h"
#include "internal/protocol/ids.h"
#include "internal/protocol/time.h"

namespace logstream::replication {

using protocol::Bytes;
using protocol::Duration;
using protocol::NodeId;
using protocol::Offset;
using protocol::OutFrame;
using protocol::Sequence;
using protocol::StreamId;
using protocol::TimePoint;

// Frames first..last, both included; first <= last.
struct SequenceRange {
    Sequence first;
    Sequence last;
    friend constexpr auto operator<=>(const SequenceRange&, const SequenceRange&) = default;
};

// Where a cumulative position stands before anything was sent: positions count frames up to and including themselves.
constexpr Sequence before(Sequence first_sequence) { return first_sequence - 1; }

// The frames that a window of so many bytes may hold, for sender and receivers alike. What Linux charges a datagram in
// the receiver's socket buffer on top of its bytes makes small ones count more.
constexpr std::size_t frames_of_window(std::size_t window_bytes) {
    return std::max<std::size_t>(16, window_bytes / 1200);
}

}  // namespace logstream::replication
