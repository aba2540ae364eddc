// What a batch from outside is held to before it is appended: it matches its checksum, and every reader will be able to
// decode its records. A batch that did not would be acknowledged and then stand in every reader's way.
#pragma once

#include <cstddef>
#include <cstdint>

#include "internal/protocol/record_batch.h"

namespace logstream::protocol {

// The most that a batch's records may decompress to: what every reader in the broker takes. Clients take more.
inline constexpr std::size_t kMaxRecordsBytes = 64u << 20;

// Which offsets the records of a batch may have.
enum class OffsetRule : std::uint8_t {
    kDense,   // base, base + 1, … to the last: as producers send them
    kRising,  // rising, from base to last: compaction may have taken some out
};

struct CheckedBatch {
    // Over all records, as readers will see them.
    std::int64_t min_timestamp_ms{};
    std::int64_t max_timestamp_ms{};
};

// One pass over the bytes: the checksum runs a piece ahead of the walk through the records, so that both find the bytes
// in the processor's cache. A batch passes if and only if for_each would hand out all of its records, the offsets are
// as `rule` says, and the header's greatest timestamp is that of the records. Compressed records are decompressed into
// at most `max_records_bytes`.
//
// kCorrupt: the bytes are not as the producer wrote them. kInvalid: they are, and make no sense; says which record.
// kTooLarge: the records decompress to more than `max_records_bytes`.
Result<CheckedBatch> check_batch(const BatchView& batch, OffsetRule rule, std::size_t max_records_bytes);

}  // namespace logstream::protocol
