#include "internal/protocol/record_check.h"

#include <algorithm>
#include <utility>

#include "internal/protocol/big_endian.h"
#include "internal/protocol/checksum.h"
#include "internal/protocol/record_codec.h"

namespace logstream::protocol {
namespace {

// The checksum is this far ahead of the walk, at most: half of a first-level cache.
constexpr std::size_t kPieceBytes = 16u << 10;

// Reads fields from bytes that nothing is known of. FieldReader does the same for those who want the fields; this one
// is for who only wants to know that they are there, and costs about a quarter of it (tests/bench/parts/protocol.cpp).
class Walker {
public:
    Walker(const std::byte* at, const std::byte* end) : at_(at), end_(end) {}

    const std::byte* at() const { return at_; }
    bool at_end() const { return at_ == end_; }

    bool varlong(std::int64_t& value) {
        if (at_ == end_) return false;
        auto byte = std::to_integer<std::uint64_t>(*at_++);
        std::uint64_t encoded = byte & 0x7f;
        for (unsigned shift = 7; byte >= 0x80; shift += 7) {
            if (at_ == end_ || shift > 63) return false;
            byte = std::to_integer<std::uint64_t>(*at_++);
            if (shift == 63 && byte > 1) return false;  // the tenth byte has room for one bit
            encoded |= (byte & 0x7f) << shift;
        }
        value = static_cast<std::int64_t>(encoded >> 1) ^ -static_cast<std::int64_t>(encoded & 1);
        return true;
    }
    bool varint(std::int64_t& value) { return varlong(value) && std::in_range<std::int32_t>(value); }
    bool skip(std::int64_t bytes) {
        if (bytes < 0 || bytes > end_ - at_) return false;
        at_ += bytes;
        return true;
    }
    // A length and so many bytes; -1, where it is allowed, for null.
    bool skip_field(std::int64_t least) {
        std::int64_t length{};
        return varint(length) && length >= least && (length < 0 || skip(length));
    }
    // The next record's body, by its length.
    bool body(Walker& out) {
        std::int64_t length{};
        if (!varint(length) || length < 0 || length > end_ - at_) return false;
        out = Walker(at_, at_ + length);
        at_ += length;
        return true;
    }

private:
    const std::byte* at_;
    const std::byte* end_;
};

constexpr std::int64_t kNull = -1;

struct Deltas {
    std::int64_t timestamp{};
    std::int64_t offset{};
};

bool walk_body(Walker body, Deltas& deltas) {
    std::int64_t headers{};
    if (!body.skip(1) || !body.varlong(deltas.timestamp) || !body.varint(deltas.offset) || !body.skip_field(kNull) ||
        !body.skip_field(kNull) || !body.varint(headers) || headers < 0)
        return false;
    for (std::int64_t i = 0; i < headers; ++i)
        if (!body.skip_field(0) || !body.skip_field(kNull)) return false;
    return body.at_end();
}

// The checksum of a batch, taken as far as it is asked for.
class RunningChecksum {
public:
    explicit RunningChecksum(const BatchView& batch)
        : rest_(batch.bytes().span().subspan(kAttributesAt)),
          claimed_(load_be<std::uint32_t>(batch.bytes().data() + kBatchCrcAt)) {}

    void reach(const std::byte* to) {
        if (to <= rest_.data()) return;
        const auto missing = static_cast<std::size_t>(to - rest_.data());
        const auto piece = rest_.first(std::min(rest_.size(), std::max(missing, kPieceBytes)));
        sum_ = crc32c(piece, sum_);
        rest_ = rest_.subspan(piece.size());
    }
    bool matches() {
        sum_ = crc32c(rest_, sum_);
        rest_ = {};
        return sum_ == claimed_;
    }

private:
    std::span<const std::byte> rest_;
    std::uint32_t claimed_;
    std::uint32_t sum_{0};
};

// Walks all records; `before` is called with where the walk goes next.
template <class Before>
Result<CheckedBatch> walk(const BatchView& batch, std::span<const std::byte> records, OffsetRule rule, Before before) {
    const std::int64_t count = batch.record_count();
    const std::int64_t last = batch.last_offset() - batch.base_offset();
    if (rule == OffsetRule::kDense && last != count - 1)
        return fail(ErrorCode::kInvalid, "a batch of {} records whose last offset delta is {}", count, last);
    Walker walker(records.data(), records.data() + records.size());
    CheckedBatch out{.min_timestamp_ms = std::numeric_limits<std::int64_t>::max(),
                     .max_timestamp_ms = std::numeric_limits<std::int64_t>::min()};
    std::int64_t previous = -1;
    for (std::int64_t i = 0; i < count; ++i) {
        Walker body(nullptr, nullptr);
        Deltas deltas;
        before(walker.at());
        if (!walker.body(body) || !walk_body(body, deltas))
            return fail(ErrorCode::kInvalid, "record {} of {} of a batch cannot be decoded", i, count);
        const bool in_place = rule == OffsetRule::kDense ? deltas.offset == i : deltas.offset > previous;
        if (!in_place || deltas.offset > last)
            return fail(ErrorCode::kInvalid, "record {} of a batch has offset delta {} after {}, where {} is the last",
                        i, deltas.offset, previous, last);
        previous = deltas.offset;
        const auto timestamp = static_cast<std::int64_t>(static_cast<std::uint64_t>(batch.base_timestamp_ms()) +
                                                         static_cast<std::uint64_t>(deltas.timestamp));
        out.min_timestamp_ms = std::min(out.min_timestamp_ms, timestamp);
        out.max_timestamp_ms = std::max(out.max_timestamp_ms, timestamp);
    }
    if (!walker.at_end()) return fail(ErrorCode::kInvalid, "bytes follow the {} records of a batch", count);
    if (batch.has_append_time()) {
        out.min_timestamp_ms = out.max_timestamp_ms = batch.max_timestamp_ms();
    } else if (rule == OffsetRule::kDense && out.max_timestamp_ms != batch.max_timestamp_ms()) {
        return fail(ErrorCode::kInvalid, "a batch says that its greatest timestamp is {}; that of its records is {}",
                    batch.max_timestamp_ms(), out.max_timestamp_ms);
    }
    return out;
}

}  // namespace

Result<CheckedBatch> check_batch(const BatchView& batch, OffsetRule rule, std::size_t max_records_bytes) {
    RunningChecksum checksum(batch);
    const auto corrupt = [] { return fail(ErrorCode::kCorrupt, "the batch does not match its checksum"); };
    if (batch.codec() != Codec::kNone) {
        if (!checksum.matches()) return corrupt();
        auto records = decompress(batch.codec(), batch.records().span(), max_records_bytes);
        if (!records) return std::unexpected(std::move(records.error()));
        return walk(batch, records->span(), rule, [](const std::byte*) {});
    }
    // Up to the length of the next record; the bytes that it skips are summed when the walk has come to their end.
    const std::byte* const end = batch.bytes().data() + batch.size_bytes();
    auto checked = walk(batch, batch.bytes().span().subspan(kBatchHeaderBytes), rule,
                        [&](const std::byte* at) { checksum.reach(std::min(at + 1, end)); });
    // Whether the bytes lie or were damaged on their way only the whole of them tells.
    if (!checksum.matches()) return corrupt();
    return checked;
}

}  // namespace logstream::protocol
