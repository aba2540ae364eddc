// Orphans: a key for every record, which stays for good.
#include <gtest/gtest.h>

#include "internal/protocol/record_batch.h"
#include "internal/protocol/record_check.h"
#include "internal/protocol/record_codec.h"
#include "tests/unit/protocol_samples.h"

namespace logstream::protocol {
namespace {

TEST(Orphan, KeyIsReadAsWritten) {
    const OrphanKey key{kLineage, ViewNumber{7}, Offset{123}};
    EXPECT_EQ(to_string(key), "00c0ffee00c0ffee/7/123");
    EXPECT_EQ(parse_orphan_key(to_string(key)), key);
    for (const char* text :
         {"", "/", "//", "c0ffee/7/123", "00c0ffee00c0ffee/7", "00c0ffee00c0ffee/7/", "00c0ffee00c0ffee/7/-1",
          "00c0ffee00c0ffee/07/1", "00C0FFEE00C0FFEE/7/1", "00c0ffee00c0ffee/7/1 ", "00c0ffee00c0ffee/7/1/1",
          "00c0ffee00c0ffee/2147483648/1", "00c0ffee00c0ffee/7/9223372036854775808", "00c0ffee00c0ffeg/7/1"})
        EXPECT_EQ(parse_orphan_key(text), std::nullopt) << text;
}

TEST(Orphan, EveryRecordGetsItsOwnKeyAndKeepsTheRest) {
    for (const Codec codec : {Codec::kNone, Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd}) {
        Bytes bytes = sample_batch(300, {codec, ProducerId{42}, 3, 17});
        assign(bytes, Offset{500}, ViewNumber{6});
        const BatchView before = BatchView::parse(bytes).value();
        ASSERT_EQ(orphan_key(before, kLimit).value(), std::nullopt);
        const BatchView after = BatchView::parse(as_orphan(before, kLineage, kLimit).value()).value();

        EXPECT_TRUE(after.crc_ok());
        EXPECT_TRUE(after.is_orphan());
        EXPECT_EQ(after.attributes(), before.attributes() | kOrphanBit);
        EXPECT_EQ(after.base_offset(), Offset{500});
        EXPECT_EQ(after.last_offset(), before.last_offset());
        EXPECT_EQ(after.leader_epoch(), ViewNumber{6});
        EXPECT_EQ(after.record_count(), 300);
        EXPECT_EQ(after.producer_id(), ProducerId{42});
        EXPECT_EQ(after.producer_epoch(), 3);
        EXPECT_EQ(after.base_sequence(), 17);
        EXPECT_EQ(after.base_timestamp_ms(), before.base_timestamp_ms());
        EXPECT_EQ(after.max_timestamp_ms(), before.max_timestamp_ms());
        EXPECT_EQ(orphan_key(after, kLimit).value(), (OrphanKey{kLineage, ViewNumber{6}, Offset{500}}));

        std::vector<SampleRecord> expected = samples(300);
        for (int i = 0; i < 300; ++i)
            expected[i].headers.emplace_back(kOrphanHeader,
                                             to_string(OrphanKey{kLineage, ViewNumber{6}, Offset{500 + i}}));
        EXPECT_EQ(read_all(after).value(), expected);
    }
}

TEST(Orphan, FirstKeyStaysForGood) {
    Bytes bytes = sample_batch(10);
    assign(bytes, Offset{5}, ViewNumber{2});
    Bytes once = as_orphan(BatchView::parse(bytes).value(), kLineage, kLimit).value();
    assign(once, Offset{90}, ViewNumber{4});
    const BatchView moved = BatchView::parse(once).value();
    const BatchView twice = BatchView::parse(as_orphan(moved, ClusterId{1}, kLimit).value()).value();
    EXPECT_EQ(orphan_key(twice, kLimit).value(), (OrphanKey{kLineage, ViewNumber{2}, Offset{5}}));
    EXPECT_TRUE(twice.bytes().view() == moved.bytes().view());
}

TEST(Orphan, ProducersOwnHeaderOfThatNameMeansNothing) {
    const std::string forged = to_string(OrphanKey{ClusterId{1}, ViewNumber{1}, Offset{1}});
    BatchBuilder builder({});
    const std::vector<Header> headers{{kOrphanHeader, forged}};
    builder.add(0, "k", "v", headers);
    Bytes bytes = builder.finish().value();
    assign(bytes, Offset{8}, ViewNumber{3});
    const BatchView batch = BatchView::parse(bytes).value();
    EXPECT_EQ(orphan_key(batch, kLimit).value(), std::nullopt);
    const BatchView orphan = BatchView::parse(as_orphan(batch, kLineage, kLimit).value()).value();
    EXPECT_EQ(orphan_key(orphan, kLimit).value(), (OrphanKey{kLineage, ViewNumber{3}, Offset{8}}));
}

TEST(Orphan, GapsOfACompactedBatchStay) {
    BatchFields fields;
    fields.leader_epoch = LeaderEpoch{3};
    fields.base_offset = Offset{100};
    fields.last_offset_delta = 9;
    fields.record_count = 2;
    RecordBuffer records;
    for (const int delta : {2, 7}) {
        RawRecord record;
        record.offset_delta = delta;
        append_record(records, record, {}, record_body_bytes(record, {}));
    }
    const BatchView batch = BatchView::parse(encode_batch(fields, Codec::kNone, records).value()).value();
    const BatchView orphan = BatchView::parse(as_orphan(batch, kLineage, kLimit).value()).value();
    EXPECT_EQ(orphan.next_offset(), Offset{110});
    EXPECT_EQ(orphan_key(orphan, kLimit).value(), (OrphanKey{kLineage, ViewNumber{3}, Offset{102}}));
}

// Small records grow many times over by their keys: a batch that would be too large for any log comes back in pieces.
TEST(Orphan, ABatchThatGrowsTooLargeComesInPieces) {
    for (const Codec codec : {Codec::kNone, Codec::kZstd}) {
        BatchBuilder builder({codec, ProducerId{42}, 3, 0x7ffffff0});
        for (int i = 0; i < 1000; ++i) builder.add(1000 + i, std::nullopt, "v" + std::to_string(i));
        Bytes bytes = builder.finish().value();
        assign(bytes, Offset{500}, ViewNumber{6});
        const BatchView whole = BatchView::parse(bytes).value();
        const auto pieces = orphan_pieces(whole, 16u << 10, kLimit);
        ASSERT_TRUE(pieces) << pieces.error().message;
        EXPECT_GT(pieces->size(), 4u);
        EXPECT_EQ(orphan_pieces(whole, 16u << 10, kLimit)->back().view(), pieces->back().view()) << "always the same";
        Offset next{500};
        std::int32_t sequence = 0x7ffffff0;
        int count = 0;
        for (const Bytes& piece : *pieces) {
            const BatchView part = BatchView::parse(piece).value();
            EXPECT_TRUE(check_batch(part, OffsetRule::kDense, kLimit));
            EXPECT_EQ(part.base_offset(), next);
            EXPECT_EQ(part.base_sequence(), sequence);
            EXPECT_EQ(part.leader_epoch(), ViewNumber{6});
            EXPECT_EQ(part.producer_epoch(), 3);
            const BatchView orphan = BatchView::parse(as_orphan(part, kLineage, kLimit).value()).value();
            ASSERT_TRUE(orphan.for_each(kLimit, [&](const Record& record) {
                EXPECT_EQ(record.value, "v" + std::to_string(count));
                EXPECT_EQ(record.timestamp_ms, 1000 + count);
                EXPECT_EQ(record.headers.back().value,
                          to_string(OrphanKey{kLineage, ViewNumber{6}, Offset{500 + count}}));
                ++count;
                return true;
            }));
            if (codec == Codec::kNone) {
                EXPECT_LE(orphan.size_bytes(), (16u << 10) + kBatchHeaderBytes);
            }
            next = part.next_offset();
            sequence = advance_sequence(part.last_sequence(), 1);
        }
        EXPECT_EQ(count, 1000);
        EXPECT_EQ(next, Offset{1500});
        // One that fits comes back as it is, and so does one that has its keys.
        EXPECT_TRUE(orphan_pieces(whole, 1u << 20, kLimit)->front().view() == whole.bytes().view());
        const BatchView keyed = BatchView::parse(as_orphan(whole, kLineage, kLimit).value()).value();
        EXPECT_EQ(orphan_pieces(keyed, 1u << 10, kLimit)->size(), 1u);
    }
}

TEST(Orphan, APieceIsAtLeastOneRecord) {
    BatchBuilder builder({});
    for (int i = 0; i < 3; ++i) builder.add(i, std::nullopt, std::string(5000, 'v'));
    Bytes bytes = builder.finish().value();
    assign(bytes, Offset{0}, ViewNumber{1});
    EXPECT_EQ(orphan_pieces(BatchView::parse(bytes).value(), 100, kLimit)->size(), 3u);
}

TEST(Orphan, WithoutAViewOrAKeyIsRefused) {
    EXPECT_FALSE(as_orphan(BatchView::parse(sample_batch(2)).value(), kLineage, kLimit));
    const Bytes marked = patched(sample_batch(2), kAttributesAt, kOrphanBit);
    EXPECT_FALSE(orphan_key(BatchView::parse(marked).value(), kLimit));
}

}  // namespace
}  // namespace logstream::protocol
