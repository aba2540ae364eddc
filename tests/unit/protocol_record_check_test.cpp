// Batches at the door: what every reader can decode is taken, and nothing else.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "internal/protocol/big_endian.h"
#include "internal/protocol/checksum.h"
#include "internal/protocol/record_batch.h"
#include "internal/protocol/record_check.h"
#include "internal/protocol/record_codec.h"
#include "tests/unit/protocol_samples.h"

namespace logstream::protocol {
namespace {

Bytes with_right_checksum(Bytes bytes) {
    store_be(bytes.mutable_data() + kBatchCrcAt, crc32c(bytes.span().subspan(kAttributesAt)));
    return bytes;
}

// A batch with such a body, of records that nobody encoded.
Bytes batch_of(std::string_view body, std::int32_t count, Codec codec = Codec::kNone) {
    Bytes records = Bytes::copy_of(body);
    if (codec != Codec::kNone) records = compress(codec, records.span()).value();
    Bytes bytes = Bytes::allocate(kBatchHeaderBytes + records.size());
    std::memset(bytes.mutable_data(), 0, kBatchHeaderBytes);
    std::ranges::copy(records.span(), bytes.mutable_data() + kBatchHeaderBytes);
    store_be(bytes.mutable_data() + kBatchLengthAt, static_cast<std::int32_t>(bytes.size() - kBatchLengthEnd));
    store_be(bytes.mutable_data() + kMagicAt, kBatchMagic);
    store_be(bytes.mutable_data() + kAttributesAt, static_cast<std::uint16_t>(codec));
    store_be(bytes.mutable_data() + kLastOffsetDeltaAt, count - 1);
    store_be(bytes.mutable_data() + kRecordCountAt, count);
    return with_right_checksum(std::move(bytes));
}

RawRecord record_with(std::int64_t timestamp_delta, std::int32_t offset_delta) {
    RawRecord record;
    record.timestamp_delta = timestamp_delta;
    record.offset_delta = offset_delta;
    return record;
}

ErrorCode verdict(const Bytes& bytes, OffsetRule rule = OffsetRule::kDense, std::size_t limit = kLimit) {
    const auto batch = BatchView::parse(bytes);
    if (!batch) return batch.error().code;
    const auto checked = check_batch(*batch, rule, limit);
    return checked ? ErrorCode::kNone : checked.error().code;
}

TEST(RecordCheck, WhatProducersSendIsTaken) {
    for (const Codec codec : kCodecs) {
        const BatchView batch = BatchView::parse(sample_batch(300, {.codec = codec})).value();
        const auto checked = check_batch(batch, OffsetRule::kDense, kLimit);
        ASSERT_TRUE(checked) << to_string(codec) << ": " << checked.error().message;
        const auto all = samples(300);
        const auto [least, most] = std::ranges::minmax_element(all, {}, &SampleRecord::timestamp_ms);
        EXPECT_EQ(checked->min_timestamp_ms, least->timestamp_ms);
        EXPECT_EQ(checked->max_timestamp_ms, most->timestamp_ms);
    }
    for (const char* name : {"plain", "single", "idempotent", "gzip", "snappy", "snappy_raw", "lz4", "zstd"})
        EXPECT_EQ(verdict(data_file(std::string(name) + ".batch")), ErrorCode::kNone) << name;
    // Larger than the piece by which the checksum is ahead.
    BatchBuilder builder({});
    for (int i = 0; i < 20; ++i) builder.add(i, std::nullopt, std::string(static_cast<std::size_t>(i) * 5000, 'v'));
    EXPECT_EQ(verdict(builder.finish().value()), ErrorCode::kNone);
}

TEST(RecordCheck, BodiesThatAreNoRecordsAreRefusedWhateverTheCodec) {
    for (const Codec codec : kCodecs) {
        EXPECT_EQ(verdict(batch_of(std::string(500, 'x'), 3, codec)), ErrorCode::kInvalid) << to_string(codec);
        EXPECT_EQ(verdict(batch_of(std::string(500, '\0'), 3, codec)), ErrorCode::kInvalid) << to_string(codec);
    }
    // Compressed bytes that are not what the codec writes.
    for (const Codec codec : kCodecs) {
        if (codec == Codec::kNone) continue;
        Bytes bytes = batch_of(std::string(500, 'x'), 3);
        store_be(bytes.mutable_data() + kAttributesAt, static_cast<std::uint16_t>(codec));
        EXPECT_EQ(verdict(with_right_checksum(bytes)), ErrorCode::kInvalid) << to_string(codec);
    }
}

TEST(RecordCheck, LiesInTheHeaderAreRefused) {
    const Bytes right = sample_batch(12);
    const auto with = [&](std::size_t at, auto value) { return with_right_checksum(patched(right, at, value)); };
    const auto both = [&](std::int32_t count) {
        return with_right_checksum(patched(with(kRecordCountAt, count), kLastOffsetDeltaAt, count - 1));
    };
    ASSERT_EQ(verdict(right), ErrorCode::kNone);
    for (const std::int32_t count : {-1, 0, 1, 11, 13, 1'000'000, 0x7fffffff})
        EXPECT_EQ(verdict(both(count)), ErrorCode::kInvalid) << count << " records";
    EXPECT_EQ(verdict(with(kLastOffsetDeltaAt, std::int32_t{12})), ErrorCode::kInvalid) << "offsets without a record";
    EXPECT_EQ(verdict(with(kLastOffsetDeltaAt, std::int32_t{12}), OffsetRule::kRising), ErrorCode::kNone);
    const std::int64_t greatest = BatchView::parse(right)->max_timestamp_ms();
    EXPECT_EQ(verdict(with(kMaxTimestampAt, greatest + 1)), ErrorCode::kInvalid);
    EXPECT_EQ(verdict(with(kMaxTimestampAt, std::int64_t{0})), ErrorCode::kInvalid);
}

TEST(RecordCheck, LiesInARecordAreRefused) {
    const auto batch_with = [](RawRecord record, std::span<const Header> headers, std::string_view behind = "") {
        RecordBuffer records;
        append_record(records, record, headers, record_body_bytes(record, headers));
        std::string body(reinterpret_cast<const char*>(records.span().data()), records.size());
        return batch_of(body + std::string(behind), 1);
    };
    const std::vector<Header> headers{{"h", "v"}, {"n", std::nullopt}};
    EXPECT_EQ(verdict(batch_with({}, headers)), ErrorCode::kNone);
    EXPECT_EQ(verdict(batch_with({}, headers, "x")), ErrorCode::kInvalid) << "bytes behind the last record";
    EXPECT_EQ(verdict(batch_with(record_with(0, 1), headers)), ErrorCode::kInvalid);
    EXPECT_EQ(verdict(batch_with(record_with(0, -1), headers)), ErrorCode::kInvalid);
    EXPECT_EQ(verdict(batch_with(record_with(5, 0), headers)), ErrorCode::kInvalid) << "the greatest is 0";
    // By hand: length, attributes, timestamp, offset, key, value, header count; lengths are zigzag.
    using std::string_literals::operator""s;
    EXPECT_EQ(verdict(batch_of("\x0c\0\0\0\1\1\0"s, 1)), ErrorCode::kNone) << "no key, no value, no headers";
    EXPECT_EQ(verdict(batch_of("\x0c\0\0\0\3\1\0"s, 1)), ErrorCode::kInvalid) << "a key of -2 bytes";
    EXPECT_EQ(verdict(batch_of("\x0c\0\0\0\1\3\0"s, 1)), ErrorCode::kInvalid) << "a value of -2 bytes";
    EXPECT_EQ(verdict(batch_of("\x0c\0\0\0\1\x20\0"s, 1)), ErrorCode::kInvalid) << "a value beyond the record";
    EXPECT_EQ(verdict(batch_of("\x0c\0\0\0\1\1\2"s, 1)), ErrorCode::kInvalid) << "a header that is not there";
    EXPECT_EQ(verdict(batch_of("\x0c\0\0\0\1\1\1"s, 1)), ErrorCode::kInvalid) << "-1 headers";
    EXPECT_EQ(verdict(batch_of("\x10\0\0\0\1\1\2\1\1"s, 1)), ErrorCode::kInvalid) << "a header without a name";
    EXPECT_EQ(verdict(batch_of("\x0e\0\0\0\1\1\0\0"s, 1)), ErrorCode::kInvalid) << "a record longer than its fields";
    EXPECT_EQ(verdict(batch_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"s, 1)), ErrorCode::kInvalid) << "no varint";
}

// A single flipped bit under a right checksum: who passes the check is read to the end, and nobody else is.
TEST(RecordCheck, WhatPassesIsWhatReadersCanDecode) {
    int passed = 0;
    for (const Codec codec : kCodecs) {
        const Bytes right = sample_batch(20, {.codec = codec});
        for (std::size_t bit = kAttributesAt * 8; bit < right.size() * 8; ++bit) {
            Bytes flipped = Bytes::copy_of(right.span());
            flipped.mutable_data()[bit / 8] ^= std::byte(1u << (bit % 8));
            flipped = with_right_checksum(std::move(flipped));
            const auto batch = BatchView::parse(flipped);
            if (!batch) continue;
            const auto read = batch->for_each(kLimit, [](const Record&) { return true; });
            const auto checked = check_batch(*batch, OffsetRule::kRising, kLimit);
            ASSERT_EQ(checked.has_value(), read.has_value()) << to_string(codec) << " bit " << bit;
            if (!checked) continue;
            ++passed;
            std::vector<SampleRecord> records = read_all(*batch).value();
            const auto [least, most] = std::ranges::minmax_element(records, {}, &SampleRecord::timestamp_ms);
            ASSERT_EQ(checked->min_timestamp_ms, least->timestamp_ms) << "bit " << bit;
            ASSERT_EQ(checked->max_timestamp_ms, most->timestamp_ms) << "bit " << bit;
        }
    }
    EXPECT_GT(passed, 1000);
}

TEST(RecordCheck, DamageIsToldFromLies) {
    for (const Codec codec : kCodecs) {
        const Bytes right = sample_batch(300, {.codec = codec});
        for (std::size_t at = kAttributesAt; at < right.size(); at += 7) {
            Bytes damaged = Bytes::copy_of(right.span());
            damaged.mutable_data()[at] ^= std::byte{0x40};
            const auto batch = BatchView::parse(damaged);
            if (!batch) continue;
            EXPECT_EQ(verdict(damaged), ErrorCode::kCorrupt) << to_string(codec) << " byte " << at;
        }
    }
}

TEST(RecordCheck, ABombIsNotUnpacked) {
    for (const Codec codec : kCodecs) {
        if (codec == Codec::kNone) continue;
        BatchBuilder builder({.codec = codec});
        builder.add(0, std::nullopt, std::string(4u << 20, 'b'));
        const Bytes bomb = builder.finish().value();
        EXPECT_EQ(verdict(bomb, OffsetRule::kDense, 1u << 20), ErrorCode::kTooLarge) << to_string(codec);
        EXPECT_EQ(verdict(bomb, OffsetRule::kDense, 5u << 20), ErrorCode::kNone) << to_string(codec);
    }
}

}  // namespace
}  // namespace logstream::protocol
