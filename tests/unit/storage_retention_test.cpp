// What goes by age and size: by the time of the append, whatever the records say; and logs of before that was kept.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/unit/storage_testing.h"

namespace logstream::storage {
namespace {

constexpr std::int64_t kHour = 3'600'000;
constexpr std::int64_t kStart = 1'700'000'000'000;  // of a test, by the wall clock

class StorageRetentionTest : public StoreFixture {
protected:
    std::int64_t wall_ms_{kStart};
    TimePoint steady_{std::chrono::hours(1)};

    void SetUp() override {
        options_.segment_bytes = 1500;
        options_.cache_bytes = 0;
    }
    // Time passes, for both clocks.
    void pass(std::int64_t ms) {
        wall_ms_ += ms;
        steady_ += std::chrono::milliseconds(ms);
    }
    // Ten batches of one record with such a timestamp, appended now.
    void append_now(std::int64_t timestamp_ms, int count = 10) {
        StreamLog& l = log();
        for (int i = 0; i < count; ++i)
            ASSERT_TRUE(l.append(make_batch({l.log_end(), ViewNumber(1), 1, std::string(200, 'v'), {}, timestamp_ms}),
                                 wall_ms_));
        ASSERT_TRUE(flush());
    }
    RetainLimits limits(std::int64_t keep_ms) const {
        return {.clock = WallClock{wall_ms_, steady_}, .keep_ms = keep_ms, .roll_after_ms = keep_ms / 4};
    }
    void retain(const RetainLimits& limits) {
        for (int i = 0; i < 5; ++i) {  // eight segments at a time, and what is closed goes the next time
            log().retain(log().log_end(), limits);
            store_->tick(steady_);
            disk_.run();
        }
    }
};

TEST_F(StorageRetentionTest, AgeCountsFromTheAppendWhateverTheRecordsSay) {
    for (const std::int64_t timestamp : {kStart + 10 * 365 * 24 * kHour, kStart - 10 * 365 * 24 * kHour}) {
        options_.dir = "/data" + std::to_string(timestamp);
        open();
        append_now(timestamp);
        retain(limits(kHour));
        EXPECT_EQ(log().log_start(), Offset(0)) << "seconds old, timestamp " << timestamp;
        pass(kHour / 2);
        append_now(wall_ms_);
        pass(kHour / 2 + 2000);
        retain(limits(kHour));
        EXPECT_EQ(log().log_start(), Offset(10)) << "timestamp " << timestamp;
        EXPECT_EQ(log().log_end(), Offset(20));
        crash(FakeDisk::Crash::kProcess);
    }
}

TEST_F(StorageRetentionTest, WhatIsSmallerThanASegmentGoesToo) {
    options_.segment_bytes = 64u << 20;
    open();
    append_now(kStart, 3);
    retain(limits(kHour));
    EXPECT_EQ(log().log_start(), Offset(0));
    pass(kHour + 2000);
    retain(limits(kHour));
    EXPECT_EQ(log().log_start(), Offset(3));
    EXPECT_EQ(log().size_bytes(), 0u);
    append_now(wall_ms_, 2);
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_EQ(log().log_start(), Offset(3));
    EXPECT_EQ(log().log_end(), Offset(5));
    EXPECT_FALSE(store_->damaged());
}

TEST_F(StorageRetentionTest, ARestartForgetsNoAge) {
    options_.segment_bytes = 64u << 20;
    for (const bool clean : {true, false}) {
        options_.dir = clean ? "/clean" : "/crashed";
        open();
        append_now(kStart, 3);
        clean ? close() : crash(FakeDisk::Crash::kMachine);
        open();
        retain(limits(kHour));
        EXPECT_EQ(log().log_start(), Offset(0)) << "clean " << clean;
        pass(kHour + 2000);
        retain(limits(kHour));
        EXPECT_EQ(log().log_start(), Offset(3)) << "clean " << clean;
        crash(FakeDisk::Crash::kProcess);
    }
}

// Written to all the time, the newest segment would never be too old as a whole.
TEST_F(StorageRetentionTest, ATrickleExpiresPieceByPiece) {
    options_.segment_bytes = 64u << 20;
    open();
    for (int minute = 0; minute < 240; ++minute) {
        append_now(wall_ms_, 1);
        pass(kHour / 60);
        retain(limits(kHour));
    }
    EXPECT_GE(log().log_start(), Offset(240 - 60 - 20));
    EXPECT_LE(log().log_start(), Offset(240 - 60));
}

TEST_F(StorageRetentionTest, NothingAboveTheHighWatermarkGoes) {
    open();
    append_now(kStart, 20);
    pass(2 * kHour);
    for (int i = 0; i < 5; ++i) {
        log().retain(Offset(9), limits(kHour));
        store_->tick(steady_);
        disk_.run();
    }
    EXPECT_GT(log().log_start(), Offset(0));
    EXPECT_LE(log().log_start(), Offset(9));
}

TEST_F(StorageRetentionTest, AClockThatIsSetForwardTakesNothingThatHasJustCome) {
    open();
    append_now(kStart, 30);
    retain(limits(kHour));
    wall_ms_ += 24 * kHour;
    retain(limits(kHour));
    EXPECT_EQ(log().log_start(), Offset(0));
    steady_ += std::chrono::hours(2);  // and by any clock it is old now
    retain(limits(kHour));
    EXPECT_EQ(log().log_start(), Offset(30));
}

TEST_F(StorageRetentionTest, AppendsOfTheFutureAreTakenToBeOfNow) {
    open();
    wall_ms_ = kStart + 10 * 365 * 24 * kHour;  // the owner's clock is ten years ahead, for a while
    append_now(kStart, 20);
    wall_ms_ = kStart;
    retain(limits(kHour));
    EXPECT_EQ(log().log_start(), Offset(0));
    pass(kHour / 2);
    close();  // which of them the index tells
    open();
    pass(kHour / 2 + 2000);
    retain(limits(kHour));
    EXPECT_GT(log().log_start(), Offset(0)) << "closed segments remember when they were first seen";
    pass(kHour + 2000);
    retain(limits(kHour));
    EXPECT_EQ(log().log_start(), Offset(20));
}

TEST_F(StorageRetentionTest, WithoutAClockOnlySizeTakes) {
    open();
    append_now(kStart, 50);
    pass(10 * kHour);
    RetainLimits by_size = limits(kHour);
    by_size.clock.reset();
    retain(by_size);
    EXPECT_EQ(log().log_start(), Offset(0));
    by_size.max_bytes = 5000;
    retain(by_size);
    EXPECT_GT(log().log_start(), Offset(0));
    EXPECT_LE(log().size_bytes(), 5000u);
}

// A learner gets old records late; they are as old as they are.
TEST_F(StorageRetentionTest, ReplicasAreToldTheAge) {
    open();
    append_now(kStart, 20);
    const std::int64_t told = log().appended_ms(Offset(3));
    EXPECT_EQ(told, kStart);
    pass(kHour + 2000);
    constexpr StreamId kCopy{protocol::TopicId{77}, 0};
    StreamLog& copy = log(kCopy);
    const auto batches = read_all(log());
    ASSERT_TRUE(batches);
    for (const Bytes& batch : *batches) ASSERT_TRUE(copy.append(batch, told));
    ASSERT_TRUE(flush());
    for (int i = 0; i < 5; ++i) {
        copy.retain(copy.log_end(), limits(kHour));
        store_->tick(steady_);
        disk_.run();
    }
    EXPECT_EQ(copy.log_start(), Offset(20));
}

TEST_F(StorageRetentionTest, CompactionKeepsTheAge) {
    open();
    for (int i = 0; i < 40; ++i) {
        protocol::BatchBuilder builder({});
        builder.add(1, "key", std::string(200, 'v'));
        Bytes batch = *builder.finish();
        protocol::assign(batch, log().log_end(), ViewNumber(1));
        ASSERT_TRUE(log().append(batch, wall_ms_));
    }
    ASSERT_TRUE(flush());
    ASSERT_TRUE(await([&](FlushCallback done) { log().compact(log().log_end(), std::move(done)); }));
    reopen_after(FakeDisk::Crash::kProcess);
    pass(kHour / 2);
    retain(limits(kHour));
    EXPECT_EQ(log().log_start(), Offset(0));
    pass(kHour / 2 + 2000);
    retain(limits(kHour));
    EXPECT_EQ(log().log_start(), Offset(40));
}

// data/old_log was written by a broker that did not keep the times of append: 90 records in two segments, the first
// with its index, and the second's tables; the producer's timestamps are of one second.
class StorageOldFormatTest : public StorageRetentionTest {
protected:
    static constexpr StreamId kOld{protocol::TopicId{0xdfa43ae80bc8beb7}, 0};
    void SetUp() override {
        open();
        log(kOld);
        ASSERT_TRUE(flush());
        crash(FakeDisk::Crash::kProcess);
        const std::string dir = "/data/streams/dfa43ae80bc8beb7-0/";
        for (const char* name : {"00000000000000000000.log", "00000000000000000000.index", "00000000000000000068.log",
                                 "00000000000000000068.tables"}) {
            std::ifstream file(std::string(LOGSTREAM_TEST_DATA "/old_log/") + name, std::ios::binary);
            const std::string content(std::istreambuf_iterator<char>(file), {});
            ASSERT_FALSE(content.empty()) << name;
            const auto bytes = std::as_bytes(std::span(content));
            disk_.put(dir + name, std::vector<std::byte>(bytes.begin(), bytes.end()));
        }
        open();
    }
};

TEST_F(StorageOldFormatTest, ItsRecordsAreRead) {
    StreamLog& l = log(kOld);
    EXPECT_FALSE(store_->damaged());
    EXPECT_EQ(l.log_start(), Offset(0));
    ASSERT_EQ(l.log_end(), Offset(90));
    const auto batches = read_all(l);
    ASSERT_TRUE(batches) << batches.error().message;
    int records = 0;
    for (const Bytes& bytes : *batches)
        ASSERT_TRUE(protocol::BatchView::parse(bytes)->for_each(1u << 20, [&](const protocol::Record& record) {
            EXPECT_TRUE(record.value->starts_with("record " + std::to_string(++records) + " of a log of old"));
            return true;
        }));
    EXPECT_EQ(records, 90);
    // And it is written on, in the format of now.
    ASSERT_TRUE(l.append(make_batch({Offset(90), l.epochs().last_view()}), kStart));
    ASSERT_TRUE(flush());
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_EQ(log(kOld).log_end(), Offset(91));
    EXPECT_FALSE(store_->damaged());
}

TEST_F(StorageOldFormatTest, ItsRecordsAgeByTheirTimestampsAsTheyDid) {
    std::int64_t newest = 0;
    const auto batches = read_all(log(kOld));
    ASSERT_TRUE(batches);
    for (const Bytes& bytes : *batches)
        newest = std::max(newest, protocol::BatchView::parse(bytes)->max_timestamp_ms());
    const auto retain_old = [&] {
        for (int i = 0; i < 5; ++i) {
            log(kOld).retain(log(kOld).log_end(), limits(kHour));
            store_->tick(steady_);
            disk_.run();
        }
    };
    wall_ms_ = newest + kHour / 2;
    retain_old();
    EXPECT_EQ(log(kOld).log_start(), Offset(0));
    pass(kHour);
    retain_old();
    EXPECT_EQ(log(kOld).log_start(), Offset(90));
}

}  // namespace
}  // namespace logstream::storage
