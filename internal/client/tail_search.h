// Where the last N records of a log begin. Offsets do not tell: some are of control batches, and compaction leaves
// gaps.
#pragma once

#include <algorithm>
#include <cstdint>

#include "internal/protocol/record_batch.h"

namespace logstream::client {

using protocol::Offset;

// Counts the records of the N offsets before the end, and as long as these are too few, of twice as many before those.
// The caller reads the log at `next` until this is done.
class TailSearch {
public:
    TailSearch(Offset log_start, Offset end, std::int64_t wanted)
        : log_start_(log_start), begin_(end), limit_(end), wanted_(wanted), step_(std::min(wanted, end - log_start)) {
        widen();
    }

    // Up to N offsets hold no more than N records: all of the log is wanted, and need not be counted.
    bool done() const {
        return next_ >= limit_ ? counted_ >= wanted_ || begin_ <= log_start_
                               : counted_ == 0 && limit_ - log_start_ <= wanted_;
    }
    Offset next() const { return next_; }
    // Where to begin, when done, and how many records to leave out from there on.
    Offset begin() const { return begin_; }
    std::int64_t surplus() const { return std::max<std::int64_t>(0, counted_ - wanted_); }

    // The next batch of the log. False when it can't be decoded.
    bool take(const protocol::BatchView& batch, std::size_t max_bytes) {
        if (!batch.is_control()) {
            const auto decoded = batch.for_each(max_bytes, [&](const protocol::Record& record) {
                counted_ += record.offset >= next_ && record.offset < limit_ ? 1 : 0;
                return true;
            });
            if (!decoded) return false;
        }
        skip_to(batch.next_offset());
        return true;
    }
    // What stood below `offset` is counted, or gone.
    void skip_to(Offset offset) {
        next_ = std::max(next_, offset);
        if (next_ < limit_ || done()) return;
        limit_ = begin_;
        step_ *= 2;
        widen();
    }

private:
    void widen() {
        step_ = std::min(step_, limit_ - log_start_);
        begin_ = next_ = limit_ - step_;
    }

    Offset log_start_;
    Offset begin_;  // of the range that is counted now
    Offset limit_;  // its end
    Offset next_;
    std::int64_t wanted_;
    std::int64_t counted_{};
    std::int64_t step_;
};

}  // namespace logstream::client
