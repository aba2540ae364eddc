// Messages of a session that stand in the log and are not yet known to be committed.
#pragma once

#include <concepts>
#include <deque>

#include "internal/replication/session.h"

namespace logstream::replication {

// One per session, at the owner (fed from AckTracker::committed) and at each receiver (fed from the committed sequence
// that rides on messages and heartbeats). It turns "committed up to frame s" into high watermarks.
class CommitQueue {
public:
    // At most `max_entries` wait: window and send queue bound the frames, and a frame holds at most one entry for each
    // stream in it.
    explicit CommitQueue(std::size_t max_entries) : max_entries_(max_entries) {}

    // The message that ends in `last_frame` ends at offset `end` (next offset to write) of `stream`. Frames never fall.
    // False: the queue is full, nothing was taken. At a receiver that means a sender beyond its window: leave the view.
    [[nodiscard]] bool push(Sequence last_frame, StreamId stream, Offset end);

    // Everything up to `committed` is committed: calls on_committed(StreamId, Offset end) for the messages concerned,
    // in order; at `end` and above nothing is said. Old values do nothing. on_committed must not touch this queue.
    template <std::invocable<StreamId, Offset> F>
    void advance(Sequence committed, F&& on_committed) {
        while (!entries_.empty() && entries_.front().last_frame <= committed) {
            on_committed(entries_.front().stream, entries_.front().end);
            entries_.pop_front();
        }
    }

    bool full() const { return entries_.size() >= max_entries_; }
    std::size_t size() const { return entries_.size(); }
    bool empty() const { return entries_.empty(); }

private:
    struct Entry {
        Sequence last_frame;
        StreamId stream;
        Offset end;
    };
    std::size_t max_entries_;
    std::deque<Entry> entries_;
};

}  // namespace logstream::replication
