#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>

#include "internal/protocol/big_endian.h"
#include "internal/protocol/record_batch.h"
#include "internal/protocol/record_codec.h"
#include "tests/unit/protocol_samples.h"

namespace logstream::protocol {
namespace {

TEST(RecordBatch, ReadsWhatAnotherClientWrote) {
    const std::vector<std::tuple<std::string, Codec, int>> files{
        {"plain", Codec::kNone, 12}, {"single", Codec::kNone, 1},     {"idempotent", Codec::kNone, 12},
        {"gzip", Codec::kGzip, 300}, {"snappy", Codec::kSnappy, 300}, {"snappy_raw", Codec::kSnappy, 300},
        {"lz4", Codec::kLz4, 300},   {"zstd", Codec::kZstd, 300},
    };
    for (const auto& [name, codec, count] : files) {
        const auto batch = BatchView::parse(data_file(name + ".batch"));
        ASSERT_TRUE(batch) << name << ": " << batch.error().message;
        EXPECT_TRUE(batch->crc_ok()) << name;
        EXPECT_EQ(batch->codec(), codec) << name;
        EXPECT_EQ(batch->record_count(), count) << name;
        EXPECT_EQ(batch->next_offset(), Offset{count}) << name;
        EXPECT_FALSE(batch->is_orphan()) << name;
        const auto records = read_all(*batch);
        ASSERT_TRUE(records) << name << ": " << records.error().message;
        EXPECT_EQ(*records, samples(count)) << name;
    }
}

TEST(RecordBatch, WritesTheBytesThatAnotherClientWrites) {
    const BatchOptions idempotent{Codec::kNone, ProducerId{0x1234567890abcdef}, 7, 0x7ffffffa};
    const std::vector<std::tuple<std::string, int, BatchOptions>> files{
        {"plain", 12, {}}, {"single", 1, {}}, {"idempotent", 12, idempotent}};
    for (const auto& [name, count, options] : files) {
        Bytes ours = sample_batch(count, options);
        EXPECT_EQ(load_be<std::int32_t>(ours.data() + kLeaderEpochAt), -1);
        assign(ours, Offset{0}, ViewNumber{0});  // kafka-python fills in 0
        EXPECT_TRUE(ours.view() == data_file(name + ".batch").view()) << name;
    }
}

TEST(RecordBatch, AnotherClientReadsWhatWeWrite) {
    if (std::system("/usr/bin/python3 -c 'import kafka, lz4, snappy, zstandard' 2>/dev/null") != 0)
        GTEST_SKIP() << "needs python3-kafka, python3-lz4, python3-snappy, python3-zstandard";
    const auto folder = std::filesystem::path(::testing::TempDir()) / fmt::format("logstream_batches_{}", ::getpid());
    std::filesystem::create_directories(folder);
    std::string command = "/usr/bin/python3 -B " LOGSTREAM_TEST_DATA "/make_batches.py --check";
    for (const Codec codec : {Codec::kNone, Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd}) {
        Bytes batch = sample_batch(300, {codec, ProducerId{5}, 0, 0});
        ASSERT_EQ(BatchView::parse(batch)->codec(), codec);
        assign(batch, Offset{77}, ViewNumber{3});
        const std::string path = folder / to_string(codec);
        std::ofstream(path, std::ios::binary) << batch.view();
        command += " " + path;
    }
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    std::filesystem::remove_all(folder);
}

TEST(RecordBatch, FieldsAreReadAsBuilt) {
    Bytes bytes = sample_batch(12, {Codec::kNone, ProducerId{42}, 7, 0x7ffffffa});
    assign(bytes, Offset{1000}, ViewNumber{9});
    const BatchView batch = BatchView::parse(bytes).value();
    EXPECT_TRUE(batch.crc_ok());
    EXPECT_EQ(batch.base_offset(), Offset{1000});
    EXPECT_EQ(batch.last_offset(), Offset{1011});
    EXPECT_EQ(batch.next_offset(), Offset{1012});
    EXPECT_EQ(batch.leader_epoch(), ViewNumber{9});
    EXPECT_EQ(batch.producer_id(), ProducerId{42});
    EXPECT_EQ(batch.producer_epoch(), 7);
    EXPECT_EQ(batch.base_sequence(), 0x7ffffffa);
    EXPECT_EQ(batch.last_sequence(), 5);  // 2^31 - 1 is followed by 0
    EXPECT_EQ(batch.base_timestamp_ms(), sample_record(0).timestamp_ms);
    std::int64_t latest = 0;
    for (const SampleRecord& record : samples(12)) latest = std::max(latest, record.timestamp_ms);
    EXPECT_EQ(batch.max_timestamp_ms(), latest);
    Offset expected{1000};
    ASSERT_TRUE(batch.for_each(0, [&](const Record& record) {
        EXPECT_EQ(record.offset, expected);
        ++expected;
        return true;
    }));
    EXPECT_EQ(expected, batch.next_offset());
}

TEST(RecordBatch, WithoutProducerOrOwnerSaysSo) {
    const BatchView batch = BatchView::parse(sample_batch(3)).value();
    EXPECT_EQ(batch.base_offset(), Offset{0});
    EXPECT_EQ(batch.leader_epoch(), ViewNumber{0});
    EXPECT_EQ(batch.producer_id(), kNoProducer);
    EXPECT_EQ(batch.last_sequence(), -1);
}

TEST(RecordBatch, BuilderIsReusable) {
    BatchBuilder builder({.codec = Codec::kLz4});
    EXPECT_EQ(builder.estimated_bytes(), kBatchHeaderBytes);
    EXPECT_EQ(builder.finish().error().code, ErrorCode::kInvalid);
    for (int round = 0; round < 2; ++round) {
        for (int i = 0; i < 300; ++i) add_sample(builder, sample_record(i));
        EXPECT_EQ(builder.count(), 300);
        const std::size_t estimate = builder.estimated_bytes();
        builder.set_producer(ProducerId{4}, 1, round * 300);
        const BatchView batch = BatchView::parse(builder.finish().value()).value();
        EXPECT_LE(batch.size_bytes(), estimate);
        EXPECT_EQ(batch.base_sequence(), round * 300);
        EXPECT_EQ(read_all(batch).value(), samples(300));
        EXPECT_EQ(builder.count(), 0);
    }
}

TEST(RecordBatch, WhatDoesNotCompressIsStoredAsItIs) {
    const BatchView batch = BatchView::parse(sample_batch(1, {.codec = Codec::kGzip})).value();
    EXPECT_EQ(batch.codec(), Codec::kNone);
    EXPECT_EQ(read_all(batch).value(), samples(1));
}

TEST(RecordBatch, AnyTimestampSurvives) {
    constexpr auto kLeast = std::numeric_limits<std::int64_t>::min();
    constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
    const std::vector<std::int64_t> timestamps{kMost, kLeast, 0, -1, kMost - 1};
    BatchBuilder builder({});
    for (const auto t : timestamps) builder.add(t, std::nullopt, "v");
    std::vector<std::int64_t> read;
    const BatchView batch = BatchView::parse(builder.finish().value()).value();
    ASSERT_TRUE(batch.for_each(0, [&](const Record& record) { return read.push_back(record.timestamp_ms), true; }));
    EXPECT_EQ(read, timestamps);
    EXPECT_EQ(batch.max_timestamp_ms(), kMost);
}

TEST(RecordBatch, AppendTimeIsEveryRecordsTime) {
    Bytes bytes = patched(sample_batch(3), kAttributesAt, kAppendTimeBit);
    bytes = patched(bytes, kMaxTimestampAt, std::int64_t{12345});
    ASSERT_TRUE(BatchView::parse(bytes)->for_each(0, [](const Record& record) {
        EXPECT_EQ(record.timestamp_ms, 12345);
        return true;
    }));
}

TEST(RecordBatch, VisitorMayStop) {
    int seen = 0;
    ASSERT_TRUE(BatchView::parse(sample_batch(12))->for_each(0, [&](const Record&) { return ++seen < 5; }));
    EXPECT_EQ(seen, 5);
}

TEST(RecordBatch, DecompressionIsBounded) {
    const BatchView batch = BatchView::parse(sample_batch(300, {.codec = Codec::kZstd})).value();
    const auto result = batch.for_each(1000, [](const Record&) { return true; });
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kTooLarge);
}

TEST(RecordBatch, OwnersFieldsLeaveTheChecksumRight) {
    Bytes bytes = sample_batch(5);
    const BatchView before = BatchView::parse(bytes).value();
    assign(bytes, Offset{std::int64_t{1} << 40}, kMaxViewNumber);
    EXPECT_TRUE(before.crc_ok());  // and the view sees what was written
    EXPECT_EQ(before.base_offset(), Offset{std::int64_t{1} << 40});
    EXPECT_EQ(before.leader_epoch(), kMaxViewNumber);
}

TEST(RecordBatch, RestampEqualsBuildingAnew) {
    Bytes bytes = sample_batch(20, {Codec::kSnappy, ProducerId{1}, 0, 0});
    restamp_producer(bytes, ProducerId{9}, 3, 100);
    EXPECT_TRUE(bytes.view() == sample_batch(20, {Codec::kSnappy, ProducerId{9}, 3, 100}).view());
}

TEST(RecordBatch, SequencesWrapAsKafkasDo) {
    constexpr std::int32_t kLast = std::numeric_limits<std::int32_t>::max();
    EXPECT_EQ(advance_sequence(0, 0), 0);
    EXPECT_EQ(advance_sequence(kLast - 1, 1), kLast);
    EXPECT_EQ(advance_sequence(kLast, 1), 0);
    EXPECT_EQ(advance_sequence(kLast, kLast), kLast - 1);
}

TEST(RecordBatch, ABuilderLetsGoOfWhatItGave) {
    for (const Codec codec : {Codec::kNone, Codec::kLz4}) {
        BatchBuilder builder({.codec = codec});
        std::vector<std::pair<BatchView, std::vector<std::string>>> given;
        for (const int count : {1, 3000, 2, 0, 2900, 1, 3100, 700}) {
            std::vector<std::string> values;
            for (int i = 0; i < count; ++i) {
                values.push_back(std::to_string(given.size()) + std::string(static_cast<std::size_t>(i % 97), 'v'));
                builder.add(1000, std::nullopt, values.back());
            }
            const std::size_t estimated = builder.estimated_bytes();
            const Result<Bytes> bytes = builder.finish();
            ASSERT_EQ(bytes.has_value(), count > 0);
            if (!bytes) continue;
            EXPECT_LE(bytes->size(), estimated);
            given.emplace_back(BatchView::parse(*bytes).value(), std::move(values));
        }
        for (const auto& [batch, values] : given) {
            EXPECT_TRUE(batch.crc_ok());
            std::vector<std::string> read;
            const auto whole = batch.for_each(1u << 20, [&](const Record& record) {
                read.emplace_back(*record.value);
                return true;
            });
            EXPECT_TRUE(whole);
            EXPECT_EQ(read, values);
        }
    }
}

TEST(RecordBatch, VarintsOfEveryLengthReturn) {
    for (int shift = 0; shift < 64; ++shift) {
        for (const int around : {-1, 0, 1}) {
            const auto value =
                static_cast<std::int64_t>((std::uint64_t{1} << shift) + static_cast<std::uint64_t>(around));
            for (const std::int64_t v : {value, static_cast<std::int64_t>(~static_cast<std::uint64_t>(value))}) {
                std::array<std::byte, 10> bytes{};
                const std::span<const std::byte> encoded(bytes.begin(), put_varint(bytes.data(), v));
                EXPECT_EQ(encoded.size(), varint_bytes(v));
                FieldReader reader(encoded);
                EXPECT_EQ(reader.varlong(), v);
                EXPECT_FALSE(reader.failed());
                FieldReader cut(encoded.first(encoded.size() - 1));
                cut.varlong();
                EXPECT_TRUE(cut.failed());
            }
        }
    }
}

TEST(RecordBatch, ControlBatchSaysSo) {
    EXPECT_FALSE(BatchView::parse(sample_batch(1))->is_control());
    const BatchView batch = BatchView::parse(sample_batch(1, {.control = true})).value();
    EXPECT_TRUE(batch.is_control());
    EXPECT_FALSE(batch.is_transactional());
    EXPECT_TRUE(batch.crc_ok());
}

TEST(RecordBatch, ConcatenatedBatchesAreSplit) {
    std::string all;
    for (const int count : {1, 5, 300}) all += sample_batch(count, {.codec = Codec::kZstd}).view();
    const auto batches = split_batches(Bytes::copy_of(all));
    ASSERT_TRUE(batches);
    ASSERT_EQ(batches->size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE((*batches)[i].crc_ok());
    EXPECT_EQ(read_all((*batches)[2]).value(), samples(300));
    EXPECT_TRUE(split_batches({})->empty());
    for (const std::size_t cut : {1u, 12u, 61u, 200u})
        EXPECT_FALSE(split_batches(Bytes::copy_of(all.substr(cut)))) << cut;
    for (const std::size_t cut : {1u, 40u})
        EXPECT_FALSE(split_batches(Bytes::copy_of(all.substr(0, all.size() - cut))));
}

TEST(RecordBatch, PeekNeedsTwelveBytesAndAPossibleLength) {
    const Bytes bytes = sample_batch(2);
    EXPECT_EQ(peek_batch_bytes(bytes.span().first(11)), std::nullopt);
    EXPECT_EQ(peek_batch_bytes(bytes.span().first(12)), bytes.size());
    for (const std::int32_t length : {-1, 0, 48, std::numeric_limits<std::int32_t>::min()})
        EXPECT_EQ(peek_batch_bytes(patched(bytes, kBatchLengthAt, length).span()), std::nullopt) << length;
    EXPECT_EQ(peek_batch_bytes(patched(bytes, kBatchLengthAt, std::numeric_limits<std::int32_t>::max()).span()),
              std::size_t{std::numeric_limits<std::int32_t>::max()} + 12);
}

TEST(RecordBatch, ImpossibleHeadersAreRefused) {
    const Bytes good = sample_batch(5);
    ASSERT_TRUE(BatchView::parse(good));
    const auto refused = [](const Bytes& bytes) {
        const auto batch = BatchView::parse(bytes);
        return !batch && batch.error().code == ErrorCode::kInvalid;
    };
    EXPECT_TRUE(refused({}));
    EXPECT_TRUE(refused(patched(good, kMagicAt, std::int8_t{1})));
    EXPECT_TRUE(refused(patched(good, kAttributesAt, std::uint16_t{5})));
    EXPECT_TRUE(refused(patched(good, kRecordCountAt, std::int32_t{0})));
    EXPECT_TRUE(refused(patched(good, kRecordCountAt, std::int32_t{6})));
    EXPECT_TRUE(refused(patched(good, kRecordCountAt, std::numeric_limits<std::int32_t>::min())));
    EXPECT_TRUE(refused(patched(good, kLastOffsetDeltaAt, std::int32_t{-1})));
    EXPECT_TRUE(refused(patched(good, kBaseOffsetAt, std::int64_t{-1})));
    EXPECT_TRUE(refused(patched(good, kBaseOffsetAt, std::numeric_limits<std::int64_t>::max() - 4)));
    EXPECT_TRUE(refused(patched(good, kBatchLengthAt, static_cast<std::int32_t>(good.size() - 13))));
    EXPECT_FALSE(refused(patched(good, kBaseOffsetAt, std::numeric_limits<std::int64_t>::max() - 5)));
    EXPECT_FALSE(refused(patched(good, kLastOffsetDeltaAt, std::int32_t{50})));  // compacted
}

TEST(RecordBatch, CountsThatDoNotFitTheRecordsAreFound) {
    const Bytes good = sample_batch(5);
    EXPECT_FALSE(read_all(*BatchView::parse(patched(good, kRecordCountAt, std::int32_t{4}))));
    Bytes more = patched(good, kRecordCountAt, std::int32_t{6});
    more = patched(more, kLastOffsetDeltaAt, std::int32_t{5});
    EXPECT_FALSE(read_all(*BatchView::parse(more)));
    more = patched(good, kRecordCountAt, std::numeric_limits<std::int32_t>::max());
    more = patched(more, kLastOffsetDeltaAt, std::numeric_limits<std::int32_t>::max());
    EXPECT_FALSE(read_all(*BatchView::parse(more)));
}

TEST(RecordBatch, EveryTruncationIsRefused) {
    for (const char* name : {"idempotent", "gzip", "snappy", "snappy_raw", "lz4", "zstd"}) {
        const Bytes whole = data_file(std::string(name) + ".batch");
        for (std::size_t size = 0; size < whole.size(); ++size) {
            Bytes cut = Bytes::copy_of(whole.span().first(size));
            ASSERT_FALSE(BatchView::parse(cut)) << name << " " << size;
            if (size < kBatchHeaderBytes || (size % 7 != 0 && size + 100 < whole.size())) continue;
            // And with a length field that covers it up.
            cut = patched(cut, kBatchLengthAt, static_cast<std::int32_t>(size - kBatchLengthEnd));
            const auto batch = BatchView::parse(cut);
            ASSERT_TRUE(batch);
            EXPECT_FALSE(batch->crc_ok()) << name << " " << size;
            EXPECT_FALSE(read_all(*batch)) << name << " " << size;
        }
    }
}

TEST(RecordBatch, EveryFlippedBitIsSurvivedAndTheCoveredOnesFound) {
    for (const char* name : {"idempotent", "gzip", "snappy", "snappy_raw", "lz4", "zstd"}) {
        const Bytes whole = data_file(std::string(name) + ".batch");
        // All bits of a small batch; of the large ones those of the header and a sample of the rest.
        const std::size_t step = whole.size() < 1000 ? 1 : 61;
        for (std::size_t bit = 0; bit < whole.size() * 8; bit += bit < kBatchHeaderBytes * 8 ? 1 : step) {
            Bytes damaged = Bytes::copy_of(whole.span());
            damaged.mutable_data()[bit / 8] ^= std::byte{1} << (bit % 8);
            const auto batch = BatchView::parse(damaged);
            if (!batch) continue;
            const bool covered = bit / 8 >= kBatchCrcAt;
            EXPECT_EQ(batch->crc_ok(), !covered) << name << " " << bit;
            (void)batch->for_each(kLimit, [](const Record&) { return true; });
            (void)orphan_key(*batch, kLimit);
            (void)as_orphan(*batch, kLineage, kLimit);
        }
    }
}

}  // namespace
}  // namespace logstream::protocol
