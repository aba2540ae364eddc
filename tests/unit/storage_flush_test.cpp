// Group commit as a user of the store sees it: what is acknowledged when, failed flushes, a full disk, a slow one.
#include <gmock/gmock.h>
#include <spdlog/sinks/ostream_sink.h>

#include <sstream>

#include "tests/unit/storage_testing.h"

namespace logstream::storage {
namespace {

class FlushTest : public StoreFixture {};

TEST_F(FlushTest, NothingIsAcknowledgedBeforeItsFlush) {
    open();
    StreamLog& l = log();
    ASSERT_TRUE(flush());
    append(l, 3);
    bool first = false;
    bool second = false;
    store_->flush([&](const Result<void>&) { first = true; });
    append(l, 3);
    store_->flush([&](const Result<void>&) { second = true; });
    EXPECT_FALSE(first);
    EXPECT_EQ(l.durable_end(), Offset(0));
    EXPECT_TRUE(disk_.step(FakeDisk::Lane::kWrite));
    EXPECT_TRUE(first);
    EXPECT_FALSE(second) << "its records were not in the group in flight";
    EXPECT_EQ(l.durable_end(), Offset(3));
    disk_.run();
    EXPECT_TRUE(second);
}

TEST_F(FlushTest, AGroupHasSoManyWritesAndNoMore) {
    options_.group_writes = 8;
    open();
    ASSERT_TRUE(flush());
    std::vector<StreamLog*> logs;
    for (std::uint32_t i = 0; i < 40; ++i) logs.push_back(*store_->create({kStream.topic, i + 1}));
    ASSERT_TRUE(flush());
    for (StreamLog* log : logs) ASSERT_TRUE(log->append(make_batch({Offset(0)}), kAppended));
    bool done = false;
    store_->flush([&](const Result<void>&) { done = true; });
    std::int64_t before = 0;
    int groups = 0;
    for (; !done; ++groups) {
        ASSERT_TRUE(disk_.step(FakeDisk::Lane::kWrite));
        std::int64_t durable = 0;
        for (const StreamLog* log : logs) durable += log->durable_end().value;
        EXPECT_LE(durable - before, 8) << "in group " << groups;
        before = durable;
    }
    EXPECT_EQ(before, 40);
    EXPECT_GE(groups, 5);
}

TEST_F(FlushTest, ASlowDiskIsNamed) {
    std::ostringstream said;
    spdlog::logger log("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(said));
    auto store = Store::open(disk_, options_, log);
    ASSERT_TRUE(store);
    StreamLog& stream = **(*store)->create(kStream);
    ASSERT_TRUE(stream.append(make_batch({Offset(0)}), kAppended));
    (*store)->flush([](const Result<void>&) {});
    const TimePoint start{};
    for (int ms = 0; ms < 200; ms += 50) (*store)->tick(start + std::chrono::milliseconds(ms));
    EXPECT_EQ(said.str(), "");
    for (int ms = 200; ms < 1000; ms += 50) (*store)->tick(start + std::chrono::milliseconds(ms));
    EXPECT_THAT(said.str(), ::testing::HasSubstr("DISK slow"));
    EXPECT_EQ(std::ranges::count(said.str(), '\n'), 1);
    disk_.run();
}

TEST_F(FlushTest, CallsThatWaitTogetherShareOneFlush) {
    open();
    StreamLog& l = log();
    ASSERT_TRUE(flush());
    int done = 0;
    const auto flushes = disk_.flushes();
    for (int i = 0; i < 100; ++i) {
        append(l, 1);
        store_->flush([&](const Result<void>&) { ++done; });
    }
    disk_.run();
    EXPECT_EQ(done, 100);
    EXPECT_EQ(disk_.flushes() - flushes, 2u);
}

TEST_F(FlushTest, AGroupCostsABoundedNumberOfFlushes) {
    open();
    for (std::uint64_t i = 0; i < 100; ++i) append(log({protocol::TopicId{100 + i}, 0}), 1);
    ASSERT_TRUE(flush());
    auto flushes = disk_.flushes();
    for (std::uint64_t i = 0; i < 100; ++i) append(log({protocol::TopicId{100 + i}, 0}), 1);
    ASSERT_TRUE(flush());
    EXPECT_LE(disk_.flushes() - flushes, 2u);
    flushes = disk_.flushes();
    for (std::uint64_t i = 0; i < 5; ++i) append(log({protocol::TopicId{100 + i}, 0}), 1);
    ASSERT_TRUE(flush());
    EXPECT_LE(disk_.flushes() - flushes, 2 * kMaxSeparateFlushes);
}

TEST_F(FlushTest, AFailedFlushIsFinal) {
    open();
    StreamLog& l = log();
    append(l, 3);
    ASSERT_TRUE(flush());
    append(l, 3);
    bool fail_once = true;
    disk_.set_fault([&](const DiskOp& op) -> Result<void> {
        if (!std::holds_alternative<SyncOp>(op) || !std::exchange(fail_once, false)) return {};
        return protocol::fail(ErrorCode::kDisk, "cannot flush: input/output error");
    });
    int errors = 0;
    for (int i = 0; i < 3; ++i) {
        store_->flush([&](const Result<void>& result) { errors += result ? 0 : 1; });
    }
    disk_.run();
    EXPECT_EQ(errors, 3);
    EXPECT_TRUE(store_->failed());
    EXPECT_EQ(l.durable_end(), Offset(3));
    EXPECT_EQ(flush().error().code, ErrorCode::kDisk) << "the next flush would succeed, and mean nothing";
    EXPECT_EQ(l.append(make_batch({Offset(6)}), kAppended).error().code, ErrorCode::kDisk);
    EXPECT_EQ(save_state("x").error().code, ErrorCode::kDisk);
    EXPECT_EQ(truncate(l, 3).error().code, ErrorCode::kDisk);
    disk_.set_fault({});
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_GE(log().log_end(), Offset(3));
}

TEST_F(FlushTest, WhatAFailedFlushLeftInTheCacheIsWrittenAgainAfterARestart) {
    open();
    append(log(), 3);
    ASSERT_TRUE(flush());
    append(log(), 3);
    disk_.set_fault([](const DiskOp& op) -> Result<void> {
        if (!std::holds_alternative<SyncOp>(op)) return {};
        return protocol::fail(ErrorCode::kDisk, "cannot flush");
    });
    EXPECT_FALSE(flush());
    disk_.set_fault({});
    reopen_after(FakeDisk::Crash::kProcess);
    EXPECT_EQ(log().durable_end(), Offset(6));
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_EQ(log().log_end(), Offset(6)) << "it was said to be durable";
}

TEST_F(FlushTest, AFullDiskRefusesAndLosesNothing) {
    open();
    StreamLog& l = log();
    append(l, 10);
    ASSERT_TRUE(flush());
    append(l, 10);  // taken, and then the disk turns out full
    disk_.set_capacity(disk_.content("/data/streams/0000000000001234-0/00000000000000000000.log").size() + 300);
    std::optional<Result<void>> flushed;
    store_->flush([&](Result<void> result) { flushed = std::move(result); });
    disk_.run();
    EXPECT_FALSE(flushed) << "neither done nor failed";
    EXPECT_TRUE(store_->disk_full());
    EXPECT_FALSE(store_->failed());
    EXPECT_EQ(l.append(make_batch({Offset(20)}), kAppended).error().code, ErrorCode::kDiskFull);
    EXPECT_EQ(l.log_end(), Offset(20));
    EXPECT_EQ(read_all(l)->size(), 20u);
    store_->tick(TimePoint{});
    disk_.run();
    EXPECT_FALSE(flushed);
    disk_.set_capacity(1u << 30);
    store_->tick(TimePoint{});
    disk_.run();
    ASSERT_TRUE(flushed);
    EXPECT_TRUE(*flushed);
    EXPECT_FALSE(store_->disk_full());
    append(l, 1);
    ASSERT_TRUE(flush());
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_EQ(log().log_end(), Offset(21));
    EXPECT_FALSE(store_->damaged());
}

TEST_F(FlushTest, RemovingAStreamMakesRoomOnAFullDisk) {
    open();
    StreamLog& l = log();
    StreamLog& other = log({protocol::TopicId{7}, 0});
    append(l, 10);
    append(other, 10);
    ASSERT_TRUE(flush());
    append(l, 10);
    append(other, 10);
    disk_.set_capacity(3000);
    bool flushed = false;
    store_->flush([&](const Result<void>& result) { flushed = result.has_value(); });
    disk_.run();
    EXPECT_TRUE(store_->disk_full());
    ASSERT_TRUE(await([this](FlushCallback done) { store_->remove({protocol::TopicId{7}, 0}, std::move(done)); }));
    store_->tick(TimePoint{});
    disk_.run();
    EXPECT_TRUE(flushed);
    EXPECT_EQ(store_->streams(), std::vector<StreamId>{kStream});
}

TEST_F(FlushTest, AFullDiskIsSeenBeforeItIsHit) {
    open();
    disk_.set_capacity(100'000);
    StreamLog& l = log();
    Result<void> result;
    int appended = 0;
    while ((result = l.append(make_batch({l.log_end(), ViewNumber(1), 1, std::string(1000, 'x')}), kAppended))) {
        ++appended;
        ASSERT_LT(appended, 200);
    }
    EXPECT_EQ(result.error().code, ErrorCode::kDiskFull);
    EXPECT_TRUE(flush()) << "what was taken has room";
    EXPECT_GT(appended, 30);
    // A state save still works: that is what the reserve is for.
    EXPECT_TRUE(save_state("x"));
}

// Users' records leave room for groups, these for topics, and these for the node's state.
TEST_F(FlushTest, AFullDiskKeepsAReserveForTheWayOut) {
    options_.reserve_bytes = 400'000;
    open();
    disk_.set_capacity(10'000'000);
    const auto fill = [this](StreamId stream) {
        StreamLog& l = log(stream);
        for (int appended = 0; appended < 1000; ++appended) {
            const auto result =
                l.append(make_batch({l.log_end(), ViewNumber(1), 1, std::string(20'000, 'x')}), kAppended);
            if (!result) {
                EXPECT_EQ(result.error().code, ErrorCode::kDiskFull);
                return appended;
            }
            EXPECT_TRUE(flush());
        }
        return 1000;
    };
    log(protocol::kGroupsStream);
    EXPECT_GT(fill(kStream), 300);
    EXPECT_EQ(fill({protocol::TopicId{0x1235}, 0}), 0) << "it can be made, and takes nothing";
    EXPECT_TRUE(store_->disk_full());
    EXPECT_GT(disk_.free_bytes(), 200'000u);
    EXPECT_GT(fill(protocol::kGroupsStream), 5);
    EXPECT_GT(disk_.free_bytes(), 100'000u);
    EXPECT_GT(fill(protocol::kMetadataStream), 1);
    EXPECT_GT(disk_.free_bytes(), 50'000u);
    EXPECT_TRUE(save_state(std::string(20'000, 's')));
    ASSERT_TRUE(await([this](FlushCallback done) { store_->remove(kStream, std::move(done)); }));
    store_->tick(TimePoint{});
    EXPECT_FALSE(store_->disk_full());
}

TEST_F(FlushTest, AppendIsBounded) {
    options_.unwritten_bytes = 10'000;
    open();
    StreamLog& l = log();
    Result<void> result;
    while ((result = l.append(make_batch({l.log_end(), ViewNumber(1), 1, std::string(1000, 'x')}), kAppended))) {
    }
    EXPECT_EQ(result.error().code, ErrorCode::kBusy);
    EXPECT_LE(store_->unwritten_bytes(), 11'000u);
    ASSERT_TRUE(flush());
    EXPECT_TRUE(l.append(make_batch({l.log_end()}), kAppended));
}

}  // namespace
}  // namespace logstream::storage
