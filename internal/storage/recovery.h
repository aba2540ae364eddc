// Brings one stream back from its files at start-up: finds the last snapshot, walks what was written after it, cuts a
// torn tail and tells it from damage. The rules, and why, are in FORMAT.md.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "internal/storage/log_tables.h"
#include "internal/storage/segment.h"
#include "internal/storage/store_context.h"
#include "internal/storage/store_options.h"
#include "internal/storage/stream_log.h"

namespace logstream::storage {

struct RecoveredStream {
    std::deque<Segment> segments;  // never empty
    LogTables tables;              // as of log_end
    Offset log_end;
    // The log went on to `to`, but from log_end (= from) on nothing can be read.
    std::optional<DamageRange> tail_damage;
    // Tables were made although batches could not be read.
    bool tables_incomplete{false};
    std::array<Offset, 2> snapshot_slots{};  // what lies in them; -1: nothing of use
    std::uint64_t snapshot_serial{};         // of the newest one
    unsigned oldest_slot{};                  // which may be written over
    // The newest snapshot does not cover everything.
    bool snapshot_due{false};
    std::uint64_t cut_bytes{};  // of the torn tail
};

// Blocks; only for Store::open. What it returns is flushed. Errors: kDisk.
Result<RecoveredStream> recover_stream(StoreContext& context, StreamId stream, const std::string& dir, LastStop stop);

}  // namespace logstream::storage
