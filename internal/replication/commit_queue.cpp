#include "internal/replication/commit_queue.h"

namespace logstream::replication {

bool CommitQueue::push(Sequence last_frame, StreamId stream, Offset end) {
    if (!entries_.empty()) {
        Entry& last = entries_.back();
        LS_ASSERT(last_frame >= last.last_frame);
        // Small batches of one stream share frames: one entry says all.
        if (last.last_frame == last_frame && last.stream == stream) {
            LS_ASSERT(end >= last.end);
            last.end = end;
            return true;
        }
    }
    if (full()) return false;
    entries_.push_back(Entry{last_frame, stream, end});
    return true;
}

}  // namespace logstream::replication
