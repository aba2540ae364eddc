#include "internal/storage/snapshot.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

#include "internal/protocol/checksum.h"
#include "internal/storage/byte_codec.h"

namespace logstream::storage {
namespace {

constexpr std::uint32_t kSnapshotMagic = 0x3353534c;  // "LSS3"
constexpr std::uint32_t kOlderMagic = 0x3253534c;     // "LSS2": knows of no holes in what a producer sent
constexpr std::size_t kSnapshotChecksumAt = 4;
// The index is inside the snapshot's own checksum; the length it is tied to is that of a segment that may still grow.
constexpr std::uint64_t kOpenSegment = std::numeric_limits<std::uint64_t>::max();

}  // namespace

Bytes encode_snapshot(const Snapshot& snapshot) {
    ByteWriter out;
    out.put(kSnapshotMagic);
    out.put(std::uint32_t{0});  // checksum
    out.put(snapshot.stream.topic.value);
    out.put(snapshot.stream.partition);
    out.put(snapshot.offset.value);
    out.put(snapshot.segment_base.value);
    out.put(snapshot.segment_generation);
    out.put(snapshot.position);
    out.put(snapshot.known_end.value);
    out.put(snapshot.serial);
    out.put(static_cast<std::uint8_t>(snapshot.tables_incomplete));
    out.put(static_cast<std::uint32_t>(snapshot.damage.size()));
    for (const Snapshot::Damage& damage : snapshot.damage) {
        out.put(damage.segment_base.value);
        out.put(damage.range.from.value);
        out.put(damage.range.to.value);
        out.put(damage.range.from_position);
        out.put(damage.range.to_position);
    }
    const Bytes index = snapshot.index.encode(kOpenSegment);
    out.put(static_cast<std::uint32_t>(index.size()));
    out.put_bytes(index.span());
    snapshot.tables.encode(out);
    Bytes bytes = out.take();
    protocol::store(bytes.mutable_data() + kSnapshotChecksumAt,
                    protocol::crc32c(bytes.span().subspan(kSnapshotChecksumAt + 4)));
    return bytes;
}

std::optional<Snapshot> decode_snapshot(std::span<const std::byte> bytes, protocol::StreamId stream,
                                        TableLimits limits) {
    ByteReader in(bytes);
    const auto magic = in.get<std::uint32_t>();
    const auto checksum = in.get<std::uint32_t>();
    if (!in.ok() || (magic != kSnapshotMagic && magic != kOlderMagic) || checksum != protocol::crc32c(in.rest()))
        return std::nullopt;
    Snapshot snapshot;
    snapshot.tables = LogTables(limits);
    snapshot.stream.topic = protocol::TopicId(in.get<std::uint64_t>());
    snapshot.stream.partition = in.get<std::uint32_t>();
    snapshot.offset = Offset(in.get<std::int64_t>());
    snapshot.segment_base = Offset(in.get<std::int64_t>());
    snapshot.segment_generation = in.get<std::uint32_t>();
    snapshot.position = in.get<std::uint64_t>();
    snapshot.known_end = Offset(in.get<std::int64_t>());
    snapshot.serial = in.get<std::uint64_t>();
    snapshot.tables_incomplete = in.get<std::uint8_t>() != 0;
    snapshot.damage.resize(in.get_count(40));
    for (Snapshot::Damage& damage : snapshot.damage) {
        damage.segment_base = Offset(in.get<std::int64_t>());
        damage.range.from = Offset(in.get<std::int64_t>());
        damage.range.to = Offset(in.get<std::int64_t>());
        damage.range.from_position = in.get<std::uint64_t>();
        damage.range.to_position = in.get<std::uint64_t>();
    }
    const std::size_t index_bytes = in.get_count(1);
    const bool in_order = Offset(0) <= snapshot.segment_base && snapshot.segment_base <= snapshot.offset &&
                          snapshot.offset <= snapshot.known_end;
    if (!in.ok() || !in_order) return std::nullopt;
    auto index = SparseIndex::decode(in.rest().first(index_bytes), snapshot.segment_base, kOpenSegment);
    if (!index) return std::nullopt;
    snapshot.index = std::move(*index);
    ByteReader tables(in.rest().subspan(index_bytes));
    const auto format =
        magic == kSnapshotMagic ? ProducerTable::Format::kPresent : ProducerTable::Format::kWithoutHoles;
    if (!snapshot.tables.decode(tables, format) || !tables.at_end() || snapshot.stream != stream) return std::nullopt;
    const auto epochs = snapshot.tables.epochs.entries();
    if (!epochs.empty() && epochs.back().first >= snapshot.offset) return std::nullopt;
    return snapshot;
}

std::string snapshot_slot_path(const std::string& dir, unsigned slot) { return fmt::format("{}/tail.{}", dir, slot); }

}  // namespace logstream::storage
