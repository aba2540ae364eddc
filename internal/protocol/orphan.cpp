// The last part of record_batch.h: records that lost their place, and the key that names them for good.
#include <algorithm>
#include <charconv>
#include <deque>
#include <limits>

#include "internal/protocol/record_batch.h"
#include "internal/protocol/record_codec.h"

namespace logstream::protocol {
namespace {

constexpr std::size_t kLineageDigits = 16;

// Takes an unsigned decimal or hexadecimal number that is the whole of `text`.
std::optional<std::uint64_t> parse_number(std::string_view text, int base) {
    std::uint64_t value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

BatchFields fields_of(const BatchView& batch) {
    BatchFields fields;
    fields.base_offset = batch.base_offset();
    fields.leader_epoch = leader_epoch_of(batch.leader_epoch());
    fields.attributes = batch.attributes();
    fields.last_offset_delta = static_cast<std::int32_t>(batch.last_offset() - batch.base_offset());
    fields.base_timestamp_ms = batch.base_timestamp_ms();
    fields.max_timestamp_ms = batch.max_timestamp_ms();
    fields.producer_id = batch.producer_id();
    fields.producer_epoch = batch.producer_epoch();
    fields.base_sequence = batch.base_sequence();
    fields.record_count = batch.record_count();
    return fields;
}

}  // namespace

std::string to_string(const OrphanKey& key) {
    return fmt::format("{}/{}/{}", to_string(key.lineage), key.view, key.offset);
}

std::optional<OrphanKey> parse_orphan_key(std::string_view text) {
    const std::size_t first = text.find('/');
    const std::size_t second = text.find('/', first == text.npos ? first : first + 1);
    if (first != kLineageDigits || second == text.npos) return std::nullopt;
    const auto lineage = parse_number(text.substr(0, first), 16);
    const auto view = parse_number(text.substr(first + 1, second - first - 1), 10);
    const auto offset = parse_number(text.substr(second + 1), 10);
    if (!lineage || !view || !offset || *offset > std::numeric_limits<std::int64_t>::max()) return std::nullopt;
    const OrphanKey key{ClusterId{*lineage}, ViewNumber{*view}, Offset{static_cast<std::int64_t>(*offset)}};
    if (key.view > kMaxViewNumber || to_string(key) != text) return std::nullopt;  // one text for one key
    return key;
}

Result<std::vector<Bytes>> orphan_pieces(const BatchView& batch, std::size_t piece_bytes, std::size_t max_bytes) {
    // Of the header: count, key's length and name, value's length and text.
    constexpr std::size_t kMaxKeyBytes = 80;
    struct Piece {
        BatchFields fields;
        RecordBuffer records;
        std::size_t grown_bytes{};  // with keys
    };
    std::deque<Piece> pieces;
    std::vector<Header> headers;
    const auto begin = [&](std::int32_t delta) {
        if (!pieces.empty()) {
            BatchFields& before = pieces.back().fields;
            before.last_offset_delta = static_cast<std::int32_t>(batch.base_offset() + delta - 1 - before.base_offset);
        }
        BatchFields& fields = pieces.emplace_back().fields;
        fields = fields_of(batch);
        fields.base_offset = batch.base_offset() + delta;
        fields.last_offset_delta -= delta;
        fields.record_count = 0;
        fields.max_timestamp_ms = std::numeric_limits<std::int64_t>::min();
        if (fields.base_sequence >= 0) fields.base_sequence = advance_sequence(fields.base_sequence, delta);
    };
    const auto add = [&](const RawRecord& raw) -> Result<bool> {
        if (auto whole = decode_headers(raw, headers); !whole) return std::unexpected(whole.error());
        RawRecord record = raw;
        const std::size_t bytes = record_body_bytes(raw, headers) + kMaxKeyBytes;
        if (pieces.empty()) begin(0);
        if (pieces.back().fields.record_count > 0 && pieces.back().grown_bytes + bytes > piece_bytes)
            begin(raw.offset_delta);
        Piece& piece = pieces.back();
        record.offset_delta -= static_cast<std::int32_t>(piece.fields.base_offset - batch.base_offset());
        append_record(piece.records, record, headers, record_body_bytes(record, headers));
        piece.grown_bytes += bytes;
        ++piece.fields.record_count;
        const auto timestamp = static_cast<std::int64_t>(static_cast<std::uint64_t>(batch.base_timestamp_ms()) +
                                                         static_cast<std::uint64_t>(raw.timestamp_delta));
        piece.fields.max_timestamp_ms = std::max(piece.fields.max_timestamp_ms, timestamp);
        return true;
    };
    if (batch.is_orphan()) return std::vector{batch.bytes()};
    if (auto read = for_each_raw(batch, max_bytes, add); !read) return std::unexpected(read.error());
    if (pieces.size() == 1) return std::vector{batch.bytes()};
    std::vector<Bytes> out;
    for (Piece& piece : pieces) {
        auto bytes = encode_batch(piece.fields, batch.codec(), piece.records);
        if (!bytes) return std::unexpected(bytes.error());
        out.push_back(*std::move(bytes));
    }
    return out;
}

Result<Bytes> as_orphan(const BatchView& batch, ClusterId lineage, std::size_t max_bytes) {
    if (batch.is_orphan()) return batch.bytes();
    const ViewNumber view = batch.leader_epoch();
    if (view.value == 0) return fail(ErrorCode::kInvalid, "a batch that no owner appended cannot be an orphan");
    RecordBuffer records;
    std::vector<Header> headers;
    auto read = for_each_raw(batch, max_bytes, [&](const RawRecord& record) -> Result<bool> {
        if (auto whole = decode_headers(record, headers); !whole) return std::unexpected(whole.error());
        const std::string key = to_string(OrphanKey{lineage, view, batch.base_offset() + record.offset_delta});
        append_with_header(records, record, {kOrphanHeader, key});
        if (records.size() > kMaxBatchBytes) return fail(ErrorCode::kTooLarge, "the batch outgrows its length field");
        return true;
    });
    if (!read) return std::unexpected(read.error());
    BatchFields fields = fields_of(batch);
    fields.attributes |= kOrphanBit;
    return encode_batch(fields, batch.codec(), records);
}

Result<std::optional<OrphanKey>> orphan_key(const BatchView& batch, std::size_t max_bytes) {
    std::optional<OrphanKey> key;
    if (!batch.is_orphan()) return key;
    auto read = batch.for_each(max_bytes, [&](const Record& record) {
        // The last one is as_orphan's; one before it that has its name came from the producer.
        if (!record.headers.empty() && record.headers.back().key == kOrphanHeader && record.headers.back().value)
            key = parse_orphan_key(*record.headers.back().value);
        return false;
    });
    if (!read) return std::unexpected(read.error());
    if (!key) return fail(ErrorCode::kInvalid, "a batch marked as orphan has no '{}' header", kOrphanHeader);
    return key;
}

}  // namespace logstream::protocol
