// Where in a segment an offset or a time is found: one entry for every few KiB, the way LevelDB and Kafka do it. A
// lookup gives a place at or before what is sought; the reader walks the entries from there.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "internal/protocol/bytes.h"
#include "internal/protocol/ids.h"

namespace logstream::storage {

using protocol::Bytes;
using protocol::Offset;

// In place of a time in ms since 1970: there is none, or it is not known. No time is before it.
inline constexpr std::int64_t kNoTimestamp = std::numeric_limits<std::int64_t>::min();

// When the entries of a segment were appended, by their owners' clocks; kNoTimestamp of one that has none.
struct AppendSpan {
    std::int64_t first_ms{kNoTimestamp};  // of its first entry
    std::int64_t last_ms{kNoTimestamp};   // the greatest of all
    friend bool operator==(const AppendSpan&, const AppendSpan&) = default;
};

class SparseIndex {
public:
    SparseIndex() = default;
    SparseIndex(Offset base, std::uint32_t interval_bytes) : base_(base), interval_bytes_(interval_bytes) {}

    // An entry of the segment begins at `position`; calls rise in both. Remembers it if the last one remembered is far
    // enough behind.
    void add(Offset base, std::uint64_t position, std::int64_t max_timestamp_ms, std::int64_t appended_ms);
    // Forgets what begins at or beyond `position`. The greatest times stay: they are bounds.
    void truncate(std::uint64_t position);

    // Position of an entry whose base offset is at or below `offset`; 0 when there is none.
    std::uint64_t position_of(Offset offset) const;
    // Base offset of an entry before which all timestamps are below `timestamp_ms`.
    Offset offset_of_time(std::int64_t timestamp_ms) const;
    // No record of the segment is newer.
    std::int64_t max_timestamp_ms() const { return max_timestamp_ms_; }
    const AppendSpan& appended() const { return appended_; }
    // The entries say that they were appended later than that, and cannot have been.
    void bound_append_times(std::int64_t latest_ms);
    std::size_t size() const { return entries_.size(); }

    // The file of a closed segment of `segment_bytes` bytes: complete, with checksum.
    Bytes encode(std::uint64_t segment_bytes) const;
    // None when the bytes are damaged or belong to another segment or another length of it.
    static std::optional<SparseIndex> decode(std::span<const std::byte> bytes, Offset base,
                                             std::uint64_t segment_bytes);

private:
    struct Place {
        std::uint32_t offset{};  // from base_
        std::uint32_t position{};
        std::int64_t older_ms{};  // the greatest timestamp before it
    };
    Offset base_;
    std::uint32_t interval_bytes_{};
    std::int64_t max_timestamp_ms_{kNoTimestamp};
    AppendSpan appended_;
    std::vector<Place> entries_;
};

}  // namespace logstream::storage
