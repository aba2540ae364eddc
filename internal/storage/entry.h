// A log entry: 32 bytes of header with a checksum of its own, then one record batch. The header repeats what the
// batch's CRC does not cover (base offset, length, view; see FORMAT.md), so every bit of an entry is protected.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "internal/protocol/bytes.h"
#include "internal/protocol/ids.h"
#include "internal/storage/log_tables.h"
#include "internal/storage/sparse_index.h"

namespace logstream::storage {

using protocol::Bytes;
using protocol::Result;
using protocol::StreamId;
using protocol::ViewNumber;

inline constexpr std::size_t kEntryHeaderBytes = 32;

struct EntryHeader {
    Offset base;
    std::uint32_t batch_bytes{};
    ViewNumber view;
    // Where the stream's flushed part ended when this was written: what lies below it was on the disk, so if it cannot
    // be read any more it is damage and no torn tail.
    Offset synced_end;
    // When the stream's owner appended it, by its clock: ms since 1970, on the disk in whole seconds, rounded up.
    // kNoTimestamp: it is not known.
    std::int64_t appended_ms{kNoTimestamp};
    friend bool operator==(const EntryHeader&, const EntryHeader&) = default;
};

// What is kept of a time of append: whole seconds, rounded up; kNoTimestamp of one that cannot be.
std::int64_t kept_append_time(std::int64_t appended_ms);

// Mixed into every header's checksum, so that an entry of another stream is never taken for one of this.
std::uint32_t stream_seed(StreamId stream);
void encode_entry_header(std::byte* out, const EntryHeader& header, std::uint32_t seed);
// None when magic or checksum do not match, or the span is too short.
std::optional<EntryHeader> decode_entry_header(std::span<const std::byte> bytes, std::uint32_t seed);

// What the store reads from one batch.
struct ParsedBatch {
    BatchInfo info;
    std::int64_t max_timestamp_ms{};
    std::size_t bytes{};
};
// Takes concatenated batches apart, without looking at their CRCs; kInvalid when they are not whole and well-formed.
Result<std::vector<ParsedBatch>> parse_batches(const Bytes& bytes);

// One whole, valid entry: header and batch agree, both checksums match.
struct Entry {
    std::uint64_t position{};  // of the header, in its segment
    EntryHeader header;
    ParsedBatch batch;
    Bytes bytes;  // the batch; shares the buffer it was found in
    // When it was appended; of one that an older version wrote, which did not keep that, the records' greatest
    // timestamp.
    std::int64_t appended_ms() const {
        return header.appended_ms == kNoTimestamp ? batch.max_timestamp_ms : header.appended_ms;
    }
    std::uint64_t end() const { return position + kEntryHeaderBytes + bytes.size(); }
};

enum class EntryStatus : std::uint8_t {
    kOk,
    kEnd,    // no bytes left
    kShort,  // what is there may be the beginning of an entry: `bytes_needed` tells how much it takes
    kBad,    // not a valid entry
};
struct EntryResult {
    EntryStatus status{};
    Entry entry;                 // kOk
    std::size_t bytes_needed{};  // kShort: of the header plus, if the header is whole, the batch
};

// Reads the entry at `at` of `data`, which holds a segment's bytes from `data_position` on.
EntryResult read_entry(const Bytes& data, std::size_t at, std::uint64_t data_position, std::uint32_t seed);
// What an entry of a log must fit besides its checksums. One that does not is an old block that the disk brought back,
// or one of another file.
struct EntryBounds {
    ViewNumber least_view{};                                 // of the entry before: views never fall
    Offset limit{std::numeric_limits<std::int64_t>::max()};  // where the next segment begins: its records lie below
    bool hold(const Entry& entry) const { return entry.header.view >= least_view && entry.batch.info.next <= limit; }
};
// The first valid entry at or after `at` whose base offset is `least` or more and that fits; none when there is none.
std::optional<Entry> find_entry(const Bytes& data, std::size_t at, std::uint64_t data_position, std::uint32_t seed,
                                Offset least, const EntryBounds& bounds);

}  // namespace logstream::storage
