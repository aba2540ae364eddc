// The tables of a stream, and enough of the past to take the newest batches back exactly.
//
// It keeps an older copy of the tables and what was appended since: going back is the copy with less applied to it,
// which is the same code as going forward and so cannot differ from a log that never had the rest.
#pragma once

#include <cstddef>
#include <deque>

#include "internal/storage/log_tables.h"

namespace logstream::storage {

class TableHistory {
public:
    // Batches that can be taken back without reading the log, at most: far more than are ever in flight.
    static constexpr std::size_t kMaxRecent = 512;

    explicit TableHistory(TableLimits limits = {}) : older_(limits), current_(limits), limits_(limits) {}

    // Starts at `at` with tables that are right there.
    void start(LogTables tables, Offset at);
    void append(const BatchInfo& batch);
    // What ends at or below `below` is hardly ever taken back: it is remembered no longer.
    void settle(Offset below);
    // Whether truncate can go back so far.
    bool reaches(Offset to) const { return to >= older_at_; }
    // Goes back to `to`, a batch boundary. False when that is further back than is remembered; nothing has changed
    // then.
    bool truncate(Offset to);

    const LogTables& current() const { return current_; }
    TableLimits limits() const { return limits_; }

private:
    void forget_oldest();

    LogTables older_;
    Offset older_at_;
    std::deque<BatchInfo> recent_;  // since older_at_, rising
    LogTables current_;
    TableLimits limits_;
};

}  // namespace logstream::storage
