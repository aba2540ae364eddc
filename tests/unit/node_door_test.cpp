// What producers send, at the door.
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <sstream>

#include "internal/node/door.h"
#include "internal/protocol/big_endian.h"
#include "internal/protocol/checksum.h"

namespace logstream::node {
namespace {

using protocol::BatchView;
using protocol::Bytes;
using protocol::ErrorCode;

constexpr std::int64_t kNow = 1'700'000'000'000;
constexpr std::int64_t kHourMs = 3'600'000;

class DoorTest : public testing::Test {
protected:
    Settings settings_;
    std::ostringstream said_;
    spdlog::logger log_{"door", std::make_shared<spdlog::sinks::ostream_sink_mt>(said_)};
    Door door_{settings_, log_};

    static Bytes batch(std::int64_t timestamp_ms = kNow, protocol::BatchOptions options = {}) {
        protocol::BatchBuilder builder(options);
        for (int i = 0; i < 3; ++i) builder.add(timestamp_ms, "key", "value");
        return builder.finish().value();
    }
    // With other bytes in one place, under a right checksum.
    template <class T>
    static Bytes with(Bytes bytes, std::size_t at, T value) {
        protocol::store_be(bytes.mutable_data() + at, value);
        protocol::store_be(bytes.mutable_data() + protocol::kBatchCrcAt,
                           protocol::crc32c(bytes.span().subspan(protocol::kAttributesAt)));
        return bytes;
    }
    ErrorCode verdict(const Bytes& bytes) {
        const auto error = door_.check(BatchView::parse(bytes).value(), kNow, TimePoint{});
        return error ? error->code : ErrorCode::kNone;
    }
};

TEST_F(DoorTest, RefusesWhatNoReaderCouldDecode) {
    EXPECT_EQ(verdict(batch()), ErrorCode::kNone);
    EXPECT_EQ(verdict(with(batch(), protocol::kBatchHeaderBytes, std::uint8_t{0x7f})), ErrorCode::kInvalid);
    EXPECT_EQ(verdict(with(batch(), protocol::kLastOffsetDeltaAt, std::int32_t{5})), ErrorCode::kInvalid);
    Bytes damaged = batch();
    damaged.mutable_data()[damaged.size() - 2] ^= std::byte{1};
    EXPECT_EQ(verdict(damaged), ErrorCode::kCorrupt);
}

TEST_F(DoorTest, RefusesWhatDecompressesToMoreThanItsShare) {
    settings_.batch_bytes = 64u << 10;
    protocol::BatchBuilder builder({.codec = protocol::Codec::kZstd});
    builder.add(kNow, std::nullopt, std::string(2u << 20, 'b'));
    const Bytes bomb = builder.finish().value();
    ASSERT_LT(bomb.size(), 1u << 10);
    EXPECT_EQ(verdict(bomb), ErrorCode::kTooLarge);
}

TEST_F(DoorTest, RefusesWhatOnlyBrokersSet) {
    for (const std::uint16_t bit : {protocol::kOrphanBit, protocol::kControlBit, protocol::kAppendTimeBit})
        EXPECT_EQ(verdict(with(batch(), protocol::kAttributesAt, bit)), ErrorCode::kInvalid) << bit;
    using protocol::ProducerId;
    EXPECT_EQ(verdict(batch(kNow, {.producer_id = ProducerId{7}, .producer_epoch = 0, .base_sequence = 0})),
              ErrorCode::kNone);
    EXPECT_EQ(verdict(batch(kNow, {.producer_id = ProducerId{7}, .producer_epoch = 0})), ErrorCode::kInvalid);
    EXPECT_EQ(verdict(batch(kNow, {.producer_id = ProducerId{7}, .base_sequence = 0})), ErrorCode::kInvalid);
    EXPECT_EQ(verdict(batch(kNow, {.producer_id = ProducerId{-7}, .producer_epoch = 0, .base_sequence = 0})),
              ErrorCode::kInvalid);
}

TEST_F(DoorTest, TimestampsOutOfRangeAreTreatedAsIsSet) {
    settings_.timestamp_range = std::chrono::hours(1);
    for (const auto& [policy, refuses, says] :
         {std::tuple(TimestampPolicy::kAccept, false, false), std::tuple(TimestampPolicy::kFlag, false, true),
          std::tuple(TimestampPolicy::kRefuse, true, false)}) {
        settings_.timestamp_policy = policy;
        for (const std::int64_t away : {2 * kHourMs, -2 * kHourMs, 10 * 365 * 24 * kHourMs}) {
            said_.str("");
            EXPECT_EQ(verdict(batch(kNow + away)), refuses ? ErrorCode::kInvalid : ErrorCode::kNone) << away;
            if (away >= 0) continue;  // of the others the same would be said twice in a minute
            EXPECT_EQ(said_.str().find("TIMESTAMP") != std::string::npos, says) << said_.str();
        }
        EXPECT_EQ(verdict(batch(kNow + kHourMs / 2)), ErrorCode::kNone);
    }
    EXPECT_EQ(door_.flagged(), 3u);
}

}  // namespace
}  // namespace logstream::node
