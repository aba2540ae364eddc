#include "internal/storage/segment_scan.h"

#include <utility>

#include "internal/storage/room.h"

namespace logstream::storage {

SegmentScan scan_segment(const Bytes& data, std::uint64_t position, Offset expected, std::uint32_t seed,
                         EntryBounds bounds) {
    SegmentScan scan;
    scan.end = expected;
    scan.end_position = position;
    const Bytes without_room = data.slice(0, room_begin(data.span(), position));
    scan.room_position = position + without_room.size();
    std::size_t at = 0;
    while (true) {
        EntryResult next = read_entry(data, at, position, seed);
        if (next.status == EntryStatus::kEnd) return scan;
        if (next.status == EntryStatus::kOk && (next.entry.header.base != scan.end || !bounds.hold(next.entry)))
            next.status = EntryStatus::kBad;
        if (next.status != EntryStatus::kOk) {
            ScanGap gap{scan.end, position + at, next.status, scan.entries.size(), {}, position + data.size()};
            // The very entry at `at` may be the next valid one, when those before it are missing.
            auto found = find_entry(data, at, position, seed, scan.end, bounds);
            if (!found && is_room(data.span(), at, position)) return scan;
            if (found) {
                gap.to = found->header.base;
                gap.to_position = found->position;
            } else if (next.status == EntryStatus::kBad && at < without_room.size()) {
                gap.why = read_entry(without_room, at, position, seed).status;
            }
            scan.gaps.push_back(gap);
            if (!found) return scan;
            next.entry = std::move(*found);
        }
        const Entry& entry = next.entry;
        bounds.least_view = entry.header.view;
        scan.entries.push_back({entry.position, entry.end(), entry.batch.info, entry.batch.max_timestamp_ms,
                                entry.appended_ms(), entry.header.synced_end});
        scan.end = entry.batch.info.next;
        scan.end_position = entry.end();
        at = static_cast<std::size_t>(entry.end() - position);
    }
}

SparseIndex index_of(const SegmentScan& scan, Offset base, std::uint32_t interval_bytes) {
    SparseIndex index(base, interval_bytes);
    for (const ScannedEntry& entry : scan.entries)
        index.add(entry.info.base, entry.position, entry.max_timestamp_ms, entry.appended_ms);
    return index;
}

}  // namespace logstream::storage
