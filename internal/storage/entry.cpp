#include "internal/storage/entry.h"

#include <algorithm>
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
constexpr std::size_t kHeaderChecksumAt = 4;
constexpr std::size_t kBaseAt = 8;
constexpr std::size_t kBatchBytesAt = 16;
constexpr std::size_t kViewAt = 20;
constexpr std::size_t kSyncedAt = 24;
constexpr std::size_t kAppendedAt = 28;
static_assert(kAppendedAt + sizeof(std::uint32_t) == kEntryHeaderBytes);
constexpr std::uint32_t kEntryMagic = 0x3245534c;  // "LSE2"
// What brokers wrote before they kept the time of append; bytes 24 to 31 are the synced end.
constexpr std::uint32_t kOldEntryMagic = 0x3145534c;  // "LSE1"
constexpr std::size_t kSameOfBothMagics = 3;
constexpr std::size_t kOldSyncedEndAt = 24;
// The synced end lies further below the base than the field can say: nothing is known to be flushed.
constexpr std::int32_t kNothingSynced = std::numeric_limits<std::int32_t>::min();
constexpr std::int64_t kSecond = 1000;

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
        batch.info.producer.content = protocol::content_of(view, protocol::kMaxStoredRecordsBytes);
    }
    if (view.is_orphan()) {
        // A key that cannot be read names nothing; the batch is no worse for it.
        if (auto key = protocol::orphan_key(view, protocol::kMaxStoredRecordsBytes)) batch.info.orphan = *key;
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

std::int64_t kept_append_time(std::int64_t appended_ms) {
    constexpr std::int64_t kMost = std::numeric_limits<std::uint32_t>::max() * kSecond;
    if (appended_ms <= 0 || appended_ms > kMost) return kNoTimestamp;
    return (appended_ms + kSecond - 1) / kSecond * kSecond;
}

void encode_entry_header(std::byte* out, const EntryHeader& header, std::uint32_t seed) {
    // It may say less than is flushed, never more.
    const std::int64_t synced = std::clamp<std::int64_t>(header.synced_end - header.base, kNothingSynced,
                                                         std::numeric_limits<std::int32_t>::max());
    const std::int64_t appended = kept_append_time(header.appended_ms);
    protocol::store(out + kMagicAt, kEntryMagic);
    protocol::store(out + kBaseAt, header.base.value);
    protocol::store(out + kBatchBytesAt, header.batch_bytes);
    protocol::store(out + kViewAt, static_cast<std::uint32_t>(header.view.value));
    protocol::store(out + kSyncedAt, static_cast<std::int32_t>(synced));
    protocol::store(out + kAppendedAt, static_cast<std::uint32_t>(appended == kNoTimestamp ? 0 : appended / kSecond));
    protocol::store(out + kHeaderChecksumAt, header_checksum({out, kEntryHeaderBytes}, seed));
}

std::optional<EntryHeader> decode_entry_header(std::span<const std::byte> bytes, std::uint32_t seed) {
    if (bytes.size() < kEntryHeaderBytes) return std::nullopt;
    const auto magic = protocol::load<std::uint32_t>(bytes.data() + kMagicAt);
    if (magic != kEntryMagic && magic != kOldEntryMagic) return std::nullopt;
    if (protocol::load<std::uint32_t>(bytes.data() + kHeaderChecksumAt) != header_checksum(bytes, seed))
        return std::nullopt;
    EntryHeader header;
    header.base = Offset(protocol::load<std::int64_t>(bytes.data() + kBaseAt));
    header.batch_bytes = protocol::load<std::uint32_t>(bytes.data() + kBatchBytesAt);
    header.view = ViewNumber(protocol::load<std::uint32_t>(bytes.data() + kViewAt));
    if (magic == kOldEntryMagic) {
        header.synced_end = Offset(protocol::load<std::int64_t>(bytes.data() + kOldSyncedEndAt));
        return header;
    }
    const auto synced = protocol::load<std::int32_t>(bytes.data() + kSyncedAt);
    // A batch whose offsets leave no room for that is none, and is refused by its own header.
    const bool in_range = header.base >= Offset(0) && header.base.value < std::numeric_limits<std::int64_t>::max() / 2;
    if (synced != kNothingSynced && in_range) header.synced_end = header.base + synced;
    if (const auto seconds = protocol::load<std::uint32_t>(bytes.data() + kAppendedAt); seconds != 0)
        header.appended_ms = seconds * kSecond;
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
        const void* hit = memmem(data.data() + at, data.size() - at, magic.data(), kSameOfBothMagics);
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
