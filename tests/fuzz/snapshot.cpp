// The tables of a stream, as a file and as a peer sends them to a learner, and a segment's index.
#include "internal/storage/snapshot.h"

#include <limits>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/store_files.h"

namespace logstream::fuzz {

using namespace storage;

namespace {

// Small, so that tables forget.
constexpr TableLimits kLimits{.producers = 8, .orphan_keys = 8};

Bytes encode(const LogTables& tables) {
    ByteWriter out;
    tables.encode(out);
    return out.take();
}

void decode_tables(Input bytes) {
    LogTables tables(kLimits);
    ByteReader in(bytes);
    if (!tables.decode(in)) return;
    LogTables again(kLimits);
    const Bytes encoded = encode(tables);
    ByteReader in_again(encoded.span());
    LS_ASSERT(again.decode(in_again) && in_again.at_end() && again == tables);
    LS_ASSERT(equal(encode(again).span(), encoded.span()));

    // The log goes on from here.
    const auto epochs = tables.epochs.entries();
    const Offset next = epochs.empty() ? Offset(0) : epochs.back().first;
    if (next.value < 0 || next.value > std::numeric_limits<std::int64_t>::max() - 100) return;
    for (std::int32_t i = 1; i <= 20; ++i) {
        const ProducerBatch batch{ProducerId{i % 11}, static_cast<std::int16_t>(i % 3), i * 7, i * 7 + 2};
        (void)tables.producers.check(batch);
        tables.apply({next + i, next + i + 1, tables.epochs.last_view(), batch,
                      protocol::OrphanKey{protocol::ClusterId{1}, ViewNumber{1}, Offset(i)}});
    }
}

void decode_snapshot_file(Input bytes) {
    const auto snapshot = decode_snapshot(bytes, kStream, kLimits);
    if (!snapshot) return;
    const Bytes encoded = encode_snapshot(*snapshot);
    const auto again = decode_snapshot(encoded.span(), kStream, kLimits);
    LS_ASSERT(again && again->tables == snapshot->tables);
    LS_ASSERT(equal(encode_snapshot(*again).span(), encoded.span()));
}

void decode_index(Input bytes) {
    // Whose it is stands in the file.
    if (bytes.size() < 24) return;
    const Offset base(protocol::load<std::int64_t>(bytes.data() + 8));
    const auto segment_bytes = protocol::load<std::uint64_t>(bytes.data() + 16);
    const auto index = SparseIndex::decode(bytes, base, segment_bytes);
    if (!index) return;
    const Bytes again = index->encode(segment_bytes);
    // One of an older version is written in the format of now.
    const bool older = protocol::load<std::uint32_t>(bytes.data()) != protocol::load<std::uint32_t>(again.data());
    LS_ASSERT(older || equal(again.span(), bytes));
    LS_ASSERT(
        equal(SparseIndex::decode(again.span(), base, segment_bytes)->encode(segment_bytes).span(), again.span()));
    if (base < Offset(0)) return;  // no file has such a name
    for (const std::int64_t offset : {std::int64_t{0}, base.value, std::numeric_limits<std::int64_t>::max()}) {
        (void)index->position_of(Offset(offset));
        (void)index->offset_of_time(offset);
    }
}

}  // namespace

void try_input(Input input) {
    decode_tables(input);
    for (const Bytes& file : {Bytes::copy_of(input), with_checksums(FileKind::kTables, input)})
        decode_snapshot_file(file.span());
    for (const Bytes& file : {Bytes::copy_of(input), with_checksums(FileKind::kIndex, input)})
        decode_index(file.span());
}

}  // namespace logstream::fuzz
