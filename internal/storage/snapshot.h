// A stream's tables at one offset, as a file: beside each segment (as of its base, "<base>.tables") and for the newest
// segment in two slots that are written in turn ("tail.0", "tail.1"), so that one of them is whole at any time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "internal/protocol/bytes.h"
#include "internal/protocol/ids.h"
#include "internal/storage/log_tables.h"
#include "internal/storage/segment.h"
#include "internal/storage/sparse_index.h"

namespace logstream::storage {

struct Snapshot {
    protocol::StreamId stream;
    Offset offset;        // the tables are as of here: a batch boundary, flushed when the snapshot was written
    Offset segment_base;  // where that is: the segment, its generation and the position in it
    std::uint32_t segment_generation{};
    std::uint64_t position{};
    Offset known_end;               // >= offset: everything below it was flushed, so what is missing of it is damage
    std::uint64_t serial{};         // rises with every snapshot of the stream: of two slots the later one knows better
    bool tables_incomplete{false};  // damage was passed over when the tables were made
    LogTables tables;
    SparseIndex index;  // of the segment's part before `position`
    struct Damage {
        Offset segment_base;
        SegmentDamage range;
    };
    std::vector<Damage> damage;  // known, of all segments
};

Bytes encode_snapshot(const Snapshot& snapshot);
// None when the bytes are damaged, of another stream or an unknown version.
std::optional<Snapshot> decode_snapshot(std::span<const std::byte> bytes, protocol::StreamId stream,
                                        TableLimits limits);

std::string snapshot_slot_path(const std::string& dir, unsigned slot);

}  // namespace logstream::storage
