#include "internal/protocol/record_codec.h"

#include <cstring>
#include <limits>

#include "internal/protocol/big_endian.h"
#include "internal/protocol/checksum.h"

namespace logstream::protocol {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string_view text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A nullable's size on the wire.
std::size_t nullable_bytes(const std::optional<std::string_view>& field) {
    return field ? varint_bytes(static_cast<std::int64_t>(field->size())) + field->size() : varint_bytes(-1);
}

// Writes fields one behind the other into room that was measured before.
struct FieldWriter {
    std::byte* at;

    void bytes(std::span<const std::byte> source) {
        if (!source.empty()) std::memcpy(at, source.data(), source.size());
        at += source.size();
    }
    void varint(std::int64_t value) { at = put_varint(at, value); }
    void nullable(const std::optional<std::string_view>& field) {
        varint(field ? static_cast<std::int64_t>(field->size()) : -1);
        if (field) bytes(bytes_of(*field));
    }
    void header(const Header& header) {
        nullable(header.key);
        nullable(header.value);
    }
};

// Makes room for a record of so many bytes at the end of `out` and writes the length before it.
FieldWriter begin_record(RecordBuffer& out, std::size_t body_bytes) {
    const auto length = static_cast<std::int64_t>(body_bytes);
    FieldWriter writer{out.extend(varint_bytes(length) + body_bytes)};
    writer.varint(length);
    return writer;
}

std::size_t header_bytes(const Header& header) { return nullable_bytes(header.key) + nullable_bytes(header.value); }

}  // namespace

void FieldReader::fail() {
    failed_ = true;
    rest_ = {};
}

std::int64_t FieldReader::varlong() {
    std::uint64_t encoded{};
    for (unsigned shift = 0, at = 0; at < rest_.size() && shift < 64; shift += 7, ++at) {
        const auto byte = std::to_integer<std::uint64_t>(rest_[at]);
        if (shift == 63 && byte > 1) break;  // the tenth byte has room for one bit
        encoded |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            rest_ = rest_.subspan(at + 1);
            return static_cast<std::int64_t>(encoded >> 1) ^ -static_cast<std::int64_t>(encoded & 1);
        }
    }
    fail();
    return 0;
}

std::int32_t FieldReader::varint() {
    const std::int64_t value = varlong();
    if (value < std::numeric_limits<std::int32_t>::min() || value > std::numeric_limits<std::int32_t>::max()) {
        fail();
        return 0;
    }
    return static_cast<std::int32_t>(value);
}

std::span<const std::byte> FieldReader::bytes(std::int64_t size) {
    if (size < 0 || static_cast<std::uint64_t>(size) > rest_.size()) {
        fail();
        return {};
    }
    const auto taken = rest_.first(static_cast<std::size_t>(size));
    rest_ = rest_.subspan(taken.size());
    return taken;
}

std::optional<std::string_view> FieldReader::nullable() {
    const std::int32_t size = varint();
    if (size == -1 || failed_) return std::nullopt;
    return text_of(bytes(size));
}

Result<RawRecord> read_record(FieldReader& from) {
    const std::int32_t size = from.varint();
    const auto body = from.bytes(size);
    if (from.failed()) return fail(ErrorCode::kInvalid, "a record is longer than what is left of its batch");
    FieldReader fields(body);
    RawRecord record;
    fields.bytes(1);  // the record's attributes; none are defined
    record.timestamp_delta = fields.varlong();
    record.offset_delta = fields.varint();
    record.key = fields.nullable();
    record.value = fields.nullable();
    if (fields.failed()) return fail(ErrorCode::kInvalid, "a record's fields are longer than the record");
    record.before_headers = body.first(body.size() - fields.rest().size());
    record.header_count = fields.varint();
    if (fields.failed() || record.header_count < 0) return fail(ErrorCode::kInvalid, "a record has no header count");
    record.headers = fields.rest();
    return record;
}

Result<void> decode_headers(const RawRecord& record, std::vector<Header>& out) {
    out.clear();  // and nothing is reserved: the count is only a claim
    FieldReader fields(record.headers);
    for (std::int32_t i = 0; i < record.header_count; ++i) {
        const auto key = fields.nullable();
        const auto value = fields.nullable();
        if (fields.failed() || !key) return fail(ErrorCode::kInvalid, "header {} of a record is incomplete", i);
        out.push_back({*key, value});
    }
    if (!fields.rest().empty()) return fail(ErrorCode::kInvalid, "a record is longer than its fields");
    return {};
}

std::size_t record_body_bytes(const RawRecord& record, std::span<const Header> headers) {
    std::size_t size = 1 + varint_bytes(record.timestamp_delta) + varint_bytes(record.offset_delta);
    size += nullable_bytes(record.key) + nullable_bytes(record.value);
    size += varint_bytes(static_cast<std::int64_t>(headers.size()));
    for (const Header& header : headers) size += header_bytes(header);
    return size;
}

void append_record(RecordBuffer& out, const RawRecord& record, std::span<const Header> headers,
                   std::size_t body_bytes) {
    FieldWriter writer = begin_record(out, body_bytes);
    *writer.at++ = std::byte{0};  // attributes
    writer.varint(record.timestamp_delta);
    writer.varint(record.offset_delta);
    writer.nullable(record.key);
    writer.nullable(record.value);
    writer.varint(static_cast<std::int64_t>(headers.size()));
    for (const Header& header : headers) writer.header(header);
    LS_ASSERT(writer.at == out.end());
}

void append_with_header(RecordBuffer& out, const RawRecord& record, const Header& header) {
    const std::int64_t count = std::int64_t{record.header_count} + 1;
    FieldWriter writer = begin_record(
        out, record.before_headers.size() + varint_bytes(count) + record.headers.size() + header_bytes(header));
    writer.bytes(record.before_headers);
    writer.varint(count);
    writer.bytes(record.headers);
    writer.header(header);
    LS_ASSERT(writer.at == out.end());
}

Result<Bytes> encode_batch(const BatchFields& fields, Codec codec, RecordBuffer& records) {
    std::optional<Bytes> compressed;
    if (codec != Codec::kNone) {
        auto result = compress(codec, records.span());
        if (!result) return result;
        if (result->size() < records.size())
            compressed = *std::move(result);
        else
            codec = Codec::kNone;
    }
    const std::size_t size = compressed ? compressed->size() : records.size();
    if (size > kMaxBatchBytes - kBatchHeaderBytes)
        return fail(ErrorCode::kTooLarge, "a batch of {} bytes exceeds what its length field can hold", size);

    Bytes batch = compressed ? Bytes::allocate(kBatchHeaderBytes + size) : records.take();
    std::byte* at = batch.mutable_data();
    store_be(at + kBaseOffsetAt, fields.base_offset.value);
    store_be(at + kBatchLengthAt, static_cast<std::int32_t>(batch.size() - kBatchLengthEnd));
    store_be(at + kLeaderEpochAt, fields.leader_epoch.value);
    store_be(at + kMagicAt, kBatchMagic);
    const auto codec_bits = static_cast<std::uint16_t>(codec);
    store_be(at + kAttributesAt, static_cast<std::uint16_t>((fields.attributes & ~kCodecMask) | codec_bits));
    store_be(at + kLastOffsetDeltaAt, fields.last_offset_delta);
    store_be(at + kBaseTimestampAt, fields.base_timestamp_ms);
    store_be(at + kMaxTimestampAt, fields.max_timestamp_ms);
    store_be(at + kProducerIdAt, fields.producer_id.value);
    store_be(at + kProducerEpochAt, fields.producer_epoch);
    store_be(at + kBaseSequenceAt, fields.base_sequence);
    store_be(at + kRecordCountAt, fields.record_count);
    if (compressed) std::memcpy(at + kBatchHeaderBytes, compressed->data(), size);
    store_be(at + kBatchCrcAt, crc32c(batch.span().subspan(kAttributesAt)));
    return batch;
}

}  // namespace logstream::protocol
