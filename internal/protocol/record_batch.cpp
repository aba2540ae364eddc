#include "internal/protocol/record_batch.h"

#include <algorithm>

#include "internal/protocol/big_endian.h"
#include "internal/protocol/checksum.h"
#include "internal/protocol/record_codec.h"

namespace logstream::protocol {
namespace {

constexpr std::int64_t kMaxOffset = std::numeric_limits<std::int64_t>::max();

// A record of no key, no value and no headers: length, attributes, two deltas, two lengths, header count.
constexpr std::size_t kSmallestRecordBytes = 7;

// Timestamps come from producers' clocks and may be anything: their sums wrap rather than overflow.
std::int64_t wrapping_add(std::int64_t a, std::int64_t b) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}
std::int64_t wrapping_subtract(std::int64_t a, std::int64_t b) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b));
}

}  // namespace

void BatchBuilder::add(std::int64_t timestamp_ms, std::optional<std::string_view> key,
                       std::optional<std::string_view> value, std::span<const Header> headers) {
    RawRecord record;
    record.timestamp_delta = count_ == 0 ? 0 : wrapping_subtract(timestamp_ms, base_timestamp_ms_);
    record.offset_delta = count_;
    record.key = key;
    record.value = value;
    const std::size_t body_bytes = record_body_bytes(record, headers);
    const std::size_t bytes = varint_bytes(static_cast<std::int64_t>(body_bytes)) + body_bytes;
    if (overflow_ || bytes > kMaxBatchBytes - estimated_bytes()) {
        overflow_ = true;
        return;
    }
    append_record(records_, record, headers, body_bytes);
    if (count_ == 0) base_timestamp_ms_ = max_timestamp_ms_ = timestamp_ms;
    max_timestamp_ms_ = std::max(max_timestamp_ms_, timestamp_ms);
    ++count_;
}

void BatchBuilder::set_producer(ProducerId id, std::int16_t epoch, std::int32_t base_sequence) {
    options_.producer_id = id;
    options_.producer_epoch = epoch;
    options_.base_sequence = base_sequence;
}

Result<Bytes> BatchBuilder::finish() {
    BatchFields fields;
    fields.last_offset_delta = count_ - 1;
    fields.base_timestamp_ms = base_timestamp_ms_;
    fields.max_timestamp_ms = max_timestamp_ms_;
    fields.producer_id = options_.producer_id;
    fields.producer_epoch = options_.producer_epoch;
    fields.base_sequence = options_.base_sequence;
    fields.record_count = count_;
    if (options_.control) fields.attributes |= kControlBit;
    if (options_.named) fields.attributes |= kNamedBit;
    Result<Bytes> batch = overflow_
                              ? fail(ErrorCode::kTooLarge, "the records exceed the {} bytes of a batch", kMaxBatchBytes)
                          : count_ == 0 ? fail(ErrorCode::kInvalid, "a batch without records")
                                        : encode_batch(fields, options_.codec, records_);
    records_.clear();
    count_ = 0;
    overflow_ = false;
    return batch;
}

Result<BatchView> BatchView::parse(Bytes bytes) {
    const auto size = peek_batch_bytes(bytes.span());
    if (bytes.size() < kBatchHeaderBytes || size != bytes.size())
        return fail(ErrorCode::kInvalid, "{} bytes that are not one whole record batch", bytes.size());
    const std::byte* at = bytes.data();
    if (const auto magic = load_be<std::int8_t>(at + kMagicAt); magic != kBatchMagic)
        return fail(ErrorCode::kInvalid, "a record batch of format {}; only format {} is read", magic, kBatchMagic);
    if (const unsigned codec = load_be<std::uint16_t>(at + kAttributesAt) & kCodecMask; codec >= kCodecCount)
        return fail(ErrorCode::kInvalid, "a record batch with the unknown codec {}", codec);
    const auto count = load_be<std::int32_t>(at + kRecordCountAt);
    const auto last_delta = load_be<std::int32_t>(at + kLastOffsetDeltaAt);
    if (count < 1 || last_delta < count - 1)
        return fail(ErrorCode::kInvalid, "a record batch that says {} records and last offset delta {}", count,
                    last_delta);
    const auto base = load_be<std::int64_t>(at + kBaseOffsetAt);
    if (base < 0 || base >= kMaxOffset - last_delta)
        return fail(ErrorCode::kInvalid, "a record batch at offset {}", base);
    return BatchView(std::move(bytes));
}

bool BatchView::crc_ok() const {
    return load_be<std::uint32_t>(bytes_.data() + kBatchCrcAt) == crc32c(bytes_.span().subspan(kAttributesAt));
}

Offset BatchView::base_offset() const { return Offset{load_be<std::int64_t>(bytes_.data() + kBaseOffsetAt)}; }

Offset BatchView::last_offset() const {
    return base_offset() + load_be<std::int32_t>(bytes_.data() + kLastOffsetDeltaAt);
}

Offset BatchView::next_offset() const { return last_offset() + 1; }

std::int32_t BatchView::record_count() const { return load_be<std::int32_t>(bytes_.data() + kRecordCountAt); }

ViewNumber BatchView::leader_epoch() const {
    return view_of(LeaderEpoch{load_be<std::int32_t>(bytes_.data() + kLeaderEpochAt)});
}

std::uint16_t BatchView::attributes() const { return load_be<std::uint16_t>(bytes_.data() + kAttributesAt); }

Codec BatchView::codec() const { return static_cast<Codec>(attributes() & kCodecMask); }

ProducerId BatchView::producer_id() const { return ProducerId{load_be<std::int64_t>(bytes_.data() + kProducerIdAt)}; }

std::int16_t BatchView::producer_epoch() const { return load_be<std::int16_t>(bytes_.data() + kProducerEpochAt); }

std::int32_t BatchView::base_sequence() const { return load_be<std::int32_t>(bytes_.data() + kBaseSequenceAt); }

std::int32_t BatchView::last_sequence() const {
    if (base_sequence() < 0) return -1;
    return advance_sequence(base_sequence(), load_be<std::int32_t>(bytes_.data() + kLastOffsetDeltaAt));
}

std::int64_t BatchView::base_timestamp_ms() const { return load_be<std::int64_t>(bytes_.data() + kBaseTimestampAt); }

std::int64_t BatchView::max_timestamp_ms() const { return load_be<std::int64_t>(bytes_.data() + kMaxTimestampAt); }

Result<void> BatchView::for_each(std::size_t max_decompressed_bytes,
                                 const std::function<bool(const Record&)>& visit) const {
    Record record;
    return for_each_raw(*this, max_decompressed_bytes, [&](const RawRecord& raw) -> Result<bool> {
        if (auto decoded = decode_headers(raw, record.headers); !decoded) return std::unexpected(decoded.error());
        record.offset = base_offset() + raw.offset_delta;
        record.timestamp_ms =
            has_append_time() ? max_timestamp_ms() : wrapping_add(base_timestamp_ms(), raw.timestamp_delta);
        record.key = raw.key;
        record.value = raw.value;
        return visit(record);
    });
}

Result<void> for_each_raw(const BatchView& batch, std::size_t max_decompressed_bytes,
                          const std::function<Result<bool>(const RawRecord&)>& visit) {
    Bytes records = batch.records();
    if (batch.codec() != Codec::kNone) {
        auto decompressed = decompress(batch.codec(), records.span(), max_decompressed_bytes);
        if (!decompressed) return std::unexpected(decompressed.error());
        records = *std::move(decompressed);
    }
    const auto count = static_cast<std::size_t>(batch.record_count());
    if (records.size() / kSmallestRecordBytes < count)
        return fail(ErrorCode::kInvalid, "{} bytes cannot hold the {} records that the batch says", records.size(),
                    count);
    const std::int64_t last_delta = batch.last_offset() - batch.base_offset();
    std::int64_t previous_delta = -1;
    FieldReader reader(records.span());
    for (std::size_t i = 0; i < count; ++i) {
        const auto raw = read_record(reader);
        if (!raw) return std::unexpected(raw.error());
        if (raw->offset_delta <= previous_delta || raw->offset_delta > last_delta)
            return fail(ErrorCode::kInvalid, "record {} of a batch has offset delta {} after {}, where {} is the last",
                        i, raw->offset_delta, previous_delta, last_delta);
        previous_delta = raw->offset_delta;
        const auto more = visit(*raw);
        if (!more) return std::unexpected(more.error());
        if (!*more) return {};
    }
    if (!reader.rest().empty())
        return fail(ErrorCode::kInvalid, "{} bytes follow a batch's records", reader.rest().size());
    return {};
}

std::int32_t advance_sequence(std::int32_t sequence, std::int32_t distance) {
    LS_ASSERT(sequence >= 0 && distance >= 0);
    constexpr std::uint32_t kLast = std::numeric_limits<std::int32_t>::max();
    return static_cast<std::int32_t>((static_cast<std::uint32_t>(sequence) + static_cast<std::uint32_t>(distance)) &
                                     kLast);
}

void assign(Bytes& batch, Offset base_offset, ViewNumber view) {
    LS_ASSERT(batch.size() >= kBatchHeaderBytes && base_offset.value >= 0);
    store_be(batch.mutable_data() + kBaseOffsetAt, base_offset.value);
    store_be(batch.mutable_data() + kLeaderEpochAt, leader_epoch_of(view).value);
}

void restamp_producer(Bytes& batch, ProducerId id, std::int16_t epoch, std::int32_t base_sequence) {
    LS_ASSERT(batch.size() >= kBatchHeaderBytes);
    std::byte* at = batch.mutable_data();
    store_be(at + kProducerIdAt, id.value);
    store_be(at + kProducerEpochAt, epoch);
    store_be(at + kBaseSequenceAt, base_sequence);
    store_be(at + kBatchCrcAt, crc32c(batch.span().subspan(kAttributesAt)));
}

std::optional<std::size_t> peek_batch_bytes(std::span<const std::byte> bytes) {
    if (bytes.size() < kBatchLengthEnd) return std::nullopt;
    const auto length = load_be<std::int32_t>(bytes.data() + kBatchLengthAt);
    if (length < static_cast<std::int32_t>(kBatchHeaderBytes - kBatchLengthEnd)) return std::nullopt;
    return kBatchLengthEnd + static_cast<std::size_t>(length);
}

Result<std::vector<BatchView>> split_batches(const Bytes& bytes) {
    std::vector<BatchView> batches;
    for (std::size_t at = 0; at < bytes.size();) {
        const auto size = peek_batch_bytes(bytes.span().subspan(at));
        if (!size || *size > bytes.size() - at)
            return fail(ErrorCode::kInvalid, "no whole record batch at byte {} of {}", at, bytes.size());
        auto batch = BatchView::parse(bytes.slice(at, *size));
        if (!batch) return fail(ErrorCode::kInvalid, "at byte {}: {}", at, batch.error().message);
        batches.push_back(*std::move(batch));
        at += *size;
    }
    return batches;
}

}  // namespace logstream::protocol
