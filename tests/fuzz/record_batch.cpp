// Record batches, as a producer, a peer or a segment may hold them.
#include "internal/protocol/record_batch.h"

#include <optional>
#include <string>

#include "internal/protocol/big_endian.h"
#include "internal/protocol/checksum.h"
#include "internal/protocol/record_check.h"
#include "tests/fuzz/fuzz.h"

namespace logstream::fuzz {

using namespace protocol;

namespace {

constexpr std::size_t kMaxBytes = 256u << 10;
constexpr ClusterId kLineage{0x11ea9e};

// A record that owns its fields; without the offset, which a builder does not keep.
struct Owned {
    std::int64_t timestamp_ms{};
    std::optional<std::string> key;
    std::optional<std::string> value;
    std::vector<std::pair<std::string, std::optional<std::string>>> headers;
    friend bool operator==(const Owned&, const Owned&) = default;
};

std::optional<std::string> owned(std::optional<std::string_view> text) {
    return text ? std::optional<std::string>(*text) : std::nullopt;
}

// None when the batch is not sound.
std::optional<std::vector<Owned>> records_of(const BatchView& batch) {
    std::vector<Owned> records;
    Offset least = batch.base_offset();
    const auto read = batch.for_each(kMaxBytes, [&](const Record& record) {
        LS_ASSERT(record.offset >= least && record.offset <= batch.last_offset());
        least = record.offset + 1;
        Owned& copy = records.emplace_back(record.timestamp_ms, owned(record.key), owned(record.value));
        for (const Header& header : record.headers) copy.headers.emplace_back(header.key, owned(header.value));
        return true;
    });
    if (!read) return std::nullopt;
    LS_ASSERT(std::cmp_equal(records.size(), batch.record_count()));
    return records;
}

// The same records by our own encoder are the same records.
void encode_again(const BatchView& batch, const std::vector<Owned>& records) {
    BatchBuilder builder({.codec = batch.codec(), .producer_id = batch.producer_id()});
    for (const Owned& record : records) {
        std::vector<Header> headers;
        for (const auto& [key, value] : record.headers) headers.push_back({key, value});
        builder.add(record.timestamp_ms, record.key, record.value, headers);
    }
    const auto again = BatchView::parse(builder.finish().value());
    LS_ASSERT(again && again->crc_ok() && records_of(*again) == records);
}

// As an orphan each record has one header more, which names it.
void make_orphan(const BatchView& batch, std::vector<Owned> records) {
    const auto bytes = as_orphan(batch, kLineage, kMaxBytes);
    LS_ASSERT(bytes || batch.leader_epoch().value == 0);
    if (!bytes) return;
    if (batch.is_orphan()) {
        LS_ASSERT(equal(bytes->span(), batch.bytes().span()));
        return;
    }
    const auto orphan = BatchView::parse(*bytes);
    LS_ASSERT(orphan && orphan->crc_ok() && orphan->is_orphan());
    const auto key = orphan_key(*orphan, kMaxBytes * 2);
    LS_ASSERT(key && *key && (*key)->lineage == kLineage && (*key)->view == batch.leader_epoch());
    LS_ASSERT(parse_orphan_key(to_string(**key)) == **key);
    auto named = records_of(*orphan);
    if (!named) return;  // the headers made it larger than we read
    for (Owned& record : *named) {
        LS_ASSERT(!record.headers.empty() && record.headers.back().first == kOrphanHeader);
        record.headers.pop_back();
    }
    LS_ASSERT(*named == records);
}

// The pieces follow one another and hold the same records.
void cut_into_pieces(const BatchView& batch) {
    const auto pieces = orphan_pieces(batch, 256, kMaxBytes);
    LS_ASSERT(pieces && !pieces->empty());
    Offset next = batch.base_offset();
    std::int64_t count = 0;
    for (const Bytes& bytes : *pieces) {
        const auto piece = BatchView::parse(bytes);
        LS_ASSERT(piece && piece->base_offset() == next);
        next = piece->next_offset();
        count += piece->record_count();
    }
    LS_ASSERT(next == batch.next_offset() && count == batch.record_count());
}

void decode(const Bytes& bytes) {
    const auto batches = split_batches(bytes);
    if (!batches) return;
    std::size_t at = 0;
    for (const BatchView& batch : *batches) {
        LS_ASSERT(peek_batch_bytes(bytes.from(at).span()) == batch.size_bytes());
        LS_ASSERT(equal(batch.bytes().span(), bytes.slice(at, batch.size_bytes()).span()));
        at += batch.size_bytes();
        if (const auto key = orphan_key(batch, kMaxBytes); key && *key)
            LS_ASSERT(parse_orphan_key(to_string(**key)) == **key);

        Bytes own = Bytes::copy_of(batch.bytes().span());
        const bool sound = batch.crc_ok();
        assign(own, Offset{42}, kMaxViewNumber);
        const auto assigned = BatchView::parse(own);
        LS_ASSERT(assigned && assigned->crc_ok() == sound && assigned->base_offset() == Offset{42});
        restamp_producer(own, ProducerId{7}, 3, 9);
        LS_ASSERT(assigned->crc_ok() && assigned->producer_id() == ProducerId{7});

        const auto records = records_of(batch);
        // Who comes in is read to the end, and nobody else comes in.
        if (sound) LS_ASSERT(check_batch(batch, OffsetRule::kRising, kMaxBytes).has_value() == records.has_value());
        if (!records) continue;
        cut_into_pieces(batch);
        encode_again(batch, *records);
        make_orphan(batch, *records);
    }
    LS_ASSERT(at == bytes.size());
}

// As one batch: its length and checksum say so.
Bytes repaired(Input input) {
    Bytes out = Bytes::copy_of(input);
    if (out.size() < kBatchHeaderBytes) return out;
    store_be(out.mutable_data() + kBatchLengthAt, static_cast<std::int32_t>(out.size() - kBatchLengthEnd));
    store_be(out.mutable_data() + kMagicAt, kBatchMagic);
    store_be(out.mutable_data() + kBatchCrcAt, crc32c(out.span().subspan(kAttributesAt)));
    return out;
}

}  // namespace

void try_input(Input input) {
    decode(Bytes::copy_of(input));
    decode(repaired(input));
}

}  // namespace logstream::fuzz
