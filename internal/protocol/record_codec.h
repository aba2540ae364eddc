// One record of a batch: its bytes to fields and back. Part of the record batch; others use record_batch.h.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "internal/protocol/record_batch.h"

namespace logstream::protocol {

// What a value takes as a zigzag varint: 5 bytes at most for 32 bits, 10 for 64.
constexpr std::uint64_t zigzag(std::int64_t value) {
    return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}
constexpr std::size_t varint_bytes(std::int64_t value) {
    return (static_cast<std::size_t>(std::bit_width(zigzag(value) | 1)) + 6) / 7;
}
// Writes it at `at`; returns where it ends.
inline std::byte* put_varint(std::byte* at, std::int64_t value) {
    std::uint64_t rest = zigzag(value);
    for (; rest >= 0x80; rest >>= 7) *at++ = static_cast<std::byte>(rest | 0x80);
    *at++ = static_cast<std::byte>(rest);
    return at;
}

// Takes fields off the front of bytes from outside. After a read that failed it has nothing left and fails for ever, so
// a caller may check once after several reads.
class FieldReader {
public:
    explicit FieldReader(std::span<const std::byte> bytes) : rest_(bytes) {}

    bool failed() const { return failed_; }
    std::span<const std::byte> rest() const { return rest_; }

    std::int64_t varlong();
    std::int32_t varint();                                // fails on what does not fit 32 bits
    std::span<const std::byte> bytes(std::int64_t size);  // fails on a negative size
    std::optional<std::string_view> nullable();           // a varint length, -1 for null, and so many bytes
    void fail();

private:
    std::span<const std::byte> rest_;
    bool failed_{};
};

// A record with its headers not yet decoded. The views point into the bytes it was read from.
struct RawRecord {
    std::int64_t timestamp_delta{};
    std::int32_t offset_delta{};
    std::optional<std::string_view> key;
    std::optional<std::string_view> value;
    std::int32_t header_count{};
    std::span<const std::byte> before_headers;  // from the record's attributes to its header count, without that
    std::span<const std::byte> headers;         // behind the header count to the record's end; not checked yet
};

// Reads the record at the front of `from` and moves behind it. kInvalid: no record is there.
Result<RawRecord> read_record(FieldReader& from);
// Replaces `out` by the record's headers. kInvalid: they are not `header_count` headers and nothing else.
Result<void> decode_headers(const RawRecord& record, std::vector<Header>& out);

// Decodes the batch's records in order, headers apart, and hands each over; `visit` returns false to stop, an error to
// fail. Checks and errors as BatchView::for_each.
Result<void> for_each_raw(const BatchView& batch, std::size_t max_decompressed_bytes,
                          const std::function<Result<bool>(const RawRecord&)>& visit);

// The encoded size, without the length field before it.
std::size_t record_body_bytes(const RawRecord& record, std::span<const Header> headers);
// Appends the record (its deltas, key and value) with `headers` to `out`; `body_bytes` is from record_body_bytes.
void append_record(RecordBuffer& out, const RawRecord& record, std::span<const Header> headers, std::size_t body_bytes);
// Appends the record as it was read with one header more, the last.
void append_with_header(RecordBuffer& out, const RawRecord& record, const Header& header);

// The header fields of a batch but for those that follow from its bytes.
struct BatchFields {
    Offset base_offset;
    LeaderEpoch leader_epoch{kNoLeaderEpoch};
    std::uint16_t attributes{};  // but for the codec
    std::int32_t last_offset_delta{};
    std::int64_t base_timestamp_ms{};
    std::int64_t max_timestamp_ms{};
    ProducerId producer_id;
    std::int16_t producer_epoch{};
    std::int32_t base_sequence{};
    std::int32_t record_count{};
};

// A batch of the encoded records: compresses them (unless that makes them larger), writes the header and the CRC. May
// take the buffer of `records`: clear them before they are used again. kTooLarge: it would be larger than
// kMaxBatchBytes.
Result<Bytes> encode_batch(const BatchFields& fields, Codec codec, RecordBuffer& records);

}  // namespace logstream::protocol
