#include "internal/storage/entry.h"

#include <array>
#include <cstring>
#include <utility>

#include "internal/protocol/checksum.h"
#include "internal/protocol/planted.h"
#include "internal/protocol/record_batch.h"
#include "internal/protocol/wire.h"

namespace logstream::storage {
namespace {

constexpr std::size_t kMagicAt = 0;
constexpr std::size_t kChecksumAt = 4;
constexpr std::size_t kBaseAt = 8;
constexpr std::size_t kBatchBytesAt = 16;
constexpr std::size_t kViewAt = 20;
constexpr std::size_t kSyncedEndAt = 24;
static_assert(kSyncedEndAt + sizeof(std::int64_t) == kEntryHeaderBytes);
// Decompressed records of one batch that is an orphan, read for its key, or of a named producer, read for what it
// contains; larger ones go without.
constexpr std::size_t kMaxDecompressedBytes = 256u << 20;

std::uint32_t header_checksum(std::span<const std::byte> header, std::uint32_t seed) {
    return protocol::crc32c(header.subspan(kBaseAt, kEntryHeaderBytes - kBaseAt), seed);
}

ParsedBatch describe(const protocol::BatchView& view) {
    ParsedBatch batch;
    batch.info.base = view.base_offset();
    batch.info.next = view.next_offset();
    batch.info.view = view.leader_epoch();
    batch.info.producer = {view.producer_id(), view.producer_epoch(), view.base_sequence(), view.last_sequence()};
    if (view.is_named()) {
        batch.info.producer.named = true;
        batch.info.producer.content = protocol::content_of(view, kMaxDecompressedBytes);
    }
    if (view.is_orphan()) {
        // A key that cannot be read names nothing; the batch is no worse for it.
        if (auto key = protocol::orphan_key(view, kMaxDecompressedBytes)) batch.info.orphan = *key;
    }
    batch.max_timestamp_ms = view.max_timestamp_ms();
    batch.bytes = view.size_bytes();
    return batch;
}

}  // namespace

std::uint32_t stream_seed(StreamId stream) {
    std::array<std::byte, 12> id{};
    protocol::store(id.data(), stream.topic.value);
    protocol::store(id.data() + 8, stream.partition);
    return protocol::crc32c(id);
}

void encode_entry_header(std::byte* out, const EntryHeader& header, std::uint32_t seed) {
    protocol::store(out + kMagicAt, kEntryMagic);
    protocol::store(out + kBaseAt, header.base.value);
    protocol::store(out + kBatchBytesAt, header.batch_bytes);
    protocol::store(out + kViewAt, static_cast<std::uint32_t>(header.view.value));
    protocol::store(out + kSyncedEndAt, header.synced_end.value);
    protocol::store(out + kChecksumAt, header_checksum({out, kEntryHeaderBytes}, seed));
}

std::optional<EntryHeader> decode_entry_header(std::span<const std::byte> bytes, std::uint32_t seed) {
    if (bytes.size() < kEntryHeaderBytes) return std::nullopt;
    if (protocol::load<std::uint32_t>(bytes.data() + kMagicAt) != kEntryMagic) return std::nullopt;
    if (protocol::load<std::uint32_t>(bytes.data() + kChecksumAt) != header_checksum(bytes, seed)) return std::nullopt;
    EntryHeader header;
    header.base = Offset(protocol::load<std::int64_t>(bytes.data() + kBaseAt));
    header.batch_bytes = protocol::load<std::uint32_t>(bytes.data() + kBatchBytesAt);
    header.view = ViewNumber(protocol::load<std::uint32_t>(bytes.data() + kViewAt));
    header.synced_end = Offset(protocol::load<std::int64_t>(bytes.data() + kSyncedEndAt));
    return header;
}

Result<std::vector<ParsedBatch>> parse_batches(const Bytes& bytes) {
    auto views = protocol::split_batches(bytes);
    if (!views) return std::unexpected(std::move(views.error()));
    std::vector<ParsedBatch> batches;
    batches.reserve(views->size());
    for (const protocol::BatchView& view : *views) batches.push_back(describe(view));
    return batches;
}

EntryResult read_entry(const Bytes& data, std::size_t at, std::uint64_t data_position, std::uint32_t seed) {
    EntryResult result;
    if (at >= data.size()) {
        result.status = EntryStatus::kEnd;
        return result;
    }
    if (data.size() - at < kEntryHeaderBytes) {
        result.status = EntryStatus::kShort;
        result.bytes_needed = kEntryHeaderBytes;
        return result;
    }
    result.status = EntryStatus::kBad;
    const auto header = decode_entry_header(data.span().subspan(at), seed);
    if (!header || header->batch_bytes < protocol::kBatchHeaderBytes) return result;
    result.entry.header = *header;
    if (data.size() - at - kEntryHeaderBytes < header->batch_bytes) {
        result.status = EntryStatus::kShort;
        result.bytes_needed = kEntryHeaderBytes + header->batch_bytes;
        return result;
    }
    auto view = protocol::BatchView::parse(data.slice(at + kEntryHeaderBytes, header->batch_bytes));
    if (!view || view->base_offset() != header->base || view->leader_epoch() != header->view ||
        (!view->crc_ok() && !protocol::planted(protocol::Bug::kCrcNotChecked)))
        return result;
    result.status = EntryStatus::kOk;
    result.entry = {data_position + at, *header, describe(*view), view->bytes()};
    return result;
}

std::optional<Entry> find_entry(const Bytes& data, std::size_t at, std::uint64_t data_position, std::uint32_t seed,
                                Offset least, const EntryBounds& bounds) {
    std::array<std::byte, sizeof kEntryMagic> magic{};
    protocol::store(magic.data(), kEntryMagic);
    while (at < data.size()) {
        const void* hit = memmem(data.data() + at, data.size() - at, magic.data(), magic.size());
        if (hit == nullptr) return std::nullopt;
        at = static_cast<std::size_t>(static_cast<const std::byte*>(hit) - data.data());
        EntryResult result = read_entry(data, at, data_position, seed);
        const Entry& entry = result.entry;
        if (result.status == EntryStatus::kOk && entry.header.base >= least && bounds.hold(entry))
            return std::move(result.entry);
        ++at;
    }
    return std::nullopt;
}

}  // namespace logstream::storage
