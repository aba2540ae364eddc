// Walks a segment's bytes: which entries are whole and valid, and where there are gaps between them. Recovery, repair
// and every rebuild of an index or a table rest on this one walk.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "internal/protocol/bytes.h"
#include "internal/protocol/ids.h"
#include "internal/storage/entry.h"
#include "internal/storage/sparse_index.h"

namespace logstream::storage {

struct ScannedEntry {
    std::uint64_t position{};
    std::uint64_t end_position{};
    BatchInfo info;
    std::int64_t max_timestamp_ms{};
    std::int64_t appended_ms{};
    Offset synced_end;  // see EntryHeader
};

// A place where the entry that begins with offset `from` should be and is not.
struct ScanGap {
    Offset from;
    std::uint64_t position{};
    EntryStatus why{};  // kShort: the bytes, room aside, end within what may be an entry; kBad: they are none
    std::size_t entries_before{};
    std::optional<Offset> to;     // base of the next valid entry; none: nothing valid follows in this segment
    std::uint64_t to_position{};  // of that entry, or the end of the bytes
};

struct SegmentScan {
    std::vector<ScannedEntry> entries;
    std::vector<ScanGap> gaps;
    Offset end;                     // the next offset after the last valid entry
    std::uint64_t end_position{};   // and where its bytes end
    std::uint64_t room_position{};  // where there is nothing but room from here on; else the end of the bytes

    // What follows the last valid entry is neither room nor the end of the bytes.
    bool ends_in_gap() const { return !gaps.empty() && !gaps.back().to; }
    // All entries up to `limit` are there. Between them, and behind those of a closed segment, may be junk.
    bool whole_until(Offset limit, bool closed) const {
        return end == limit && std::ranges::all_of(gaps, [&](const ScanGap& gap) {
                   return gap.to ? *gap.to == gap.from : closed && gap.from == limit;
               });
    }
};

// `data` holds the segment's bytes from `position` on, where the entry with base offset `expected` begins.
SegmentScan scan_segment(const Bytes& data, std::uint64_t position, Offset expected, std::uint32_t seed,
                         EntryBounds bounds = {});

// The index that the entries make.
SparseIndex index_of(const SegmentScan& scan, Offset base, std::uint32_t interval_bytes);

}  // namespace logstream::storage
