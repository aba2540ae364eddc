// The store as its user sees it: appending, flushing, reading, recovering, the node state.
#include <gmock/gmock.h>

#include "tests/unit/storage_testing.h"

namespace logstream::storage {
namespace {

class StoreTest : public StoreFixture {};

TEST_F(StoreTest, NewDirectoryIsEmpty) {
    open();
    EXPECT_EQ(store_->last_stop(), LastStop::kNone);
    EXPECT_TRUE(store_->streams().empty());
    EXPECT_FALSE(store_->state());
    EXPECT_FALSE(store_->state_damaged());
    EXPECT_EQ(store_->find(kStream), nullptr);
}

TEST_F(StoreTest, AppendedBatchesAreReadBackAtOnce) {
    open();
    StreamLog& l = log();
    const Bytes first = make_batch({Offset(0), ViewNumber(1), 3});
    const Bytes second = make_batch({Offset(3), ViewNumber(2), 2});
    ASSERT_TRUE(l.append(concat({first, second}), kAppended));
    EXPECT_EQ(l.log_end(), Offset(5));
    EXPECT_EQ(l.durable_end(), Offset(0));
    auto all = read_all(l);
    ASSERT_TRUE(all);
    ASSERT_EQ(all->size(), 2u);
    EXPECT_TRUE(same_bytes((*all)[0], first));
    EXPECT_TRUE(same_bytes((*all)[1], second));
    EXPECT_EQ(l.epochs().view_at(Offset(2)), ViewNumber(1));
    EXPECT_EQ(l.epochs().view_at(Offset(3)), ViewNumber(2));
    ASSERT_TRUE(flush());
    EXPECT_EQ(l.durable_end(), Offset(5));
}

TEST_F(StoreTest, TheSumOfTheLogEndsFollowsEachOfThem) {
    constexpr StreamId kOther{protocol::TopicId{0x5678}, 2};
    open();
    append(log(), 10);
    append(log(kOther), 4);
    EXPECT_EQ(store_->log_end_total(), 14);
    ASSERT_TRUE(flush());
    ASSERT_TRUE(truncate(log(), 7));
    EXPECT_EQ(store_->log_end_total(), 11);
    reopen_after(FakeDisk::Crash::kProcess);
    EXPECT_EQ(store_->log_end_total(), 11);
    ASSERT_TRUE(await([this](FlushCallback done) { store_->remove(kStream, std::move(done)); }));
    EXPECT_EQ(store_->log_end_total(), 4);
}

TEST_F(StoreTest, FlushedRecordsSurviveAPowerCut) {
    open();
    append(log(), 10);
    ASSERT_TRUE(flush());
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_EQ(store_->last_stop(), LastStop::kMachine);
    ASSERT_NE(store_->find(kStream), nullptr);
    EXPECT_EQ(log().log_end(), Offset(10));
    EXPECT_EQ(log().durable_end(), Offset(10));
    EXPECT_EQ(read_all(log())->size(), 10u);
    EXPECT_FALSE(store_->damaged());
}

// A kill between the start and the node's word that it may have lost something must not make it forget that.
TEST_F(StoreTest, ThatTheMachineWentDownIsKnownUntilAStateIsSaved) {
    open();
    append(log(), 10);
    ASSERT_TRUE(flush());
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_EQ(store_->last_stop(), LastStop::kMachine);
    reopen_after(FakeDisk::Crash::kProcess);
    EXPECT_EQ(store_->last_stop(), LastStop::kMachine);
    ASSERT_TRUE(save_state("heeded"));
    reopen_after(FakeDisk::Crash::kProcess);
    EXPECT_EQ(store_->last_stop(), LastStop::kProcess);
}

// Whoever turns to the safe policy after a power cut has lost what the unsafe one left unflushed all the same.
TEST_F(StoreTest, WhatTheLastRunLeftUnflushedCountsUnderAnyPolicy) {
    options_.fsync = FsyncPolicy::kNever;
    open();
    append(log(), 10);
    ASSERT_TRUE(flush());
    options_.fsync = FsyncPolicy::kGroup;
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_TRUE(store_->may_lack_acknowledged());
    ASSERT_TRUE(save_state("heeded"));
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_EQ(store_->last_stop(), LastStop::kMachine);
    EXPECT_FALSE(store_->may_lack_acknowledged());
}

TEST_F(StoreTest, StateIsReplacedAsAWhole) {
    open();
    ASSERT_TRUE(save_state("one"));
    ASSERT_TRUE(save_state("two"));
    reopen_after(FakeDisk::Crash::kMachine);
    ASSERT_TRUE(store_->state());
    EXPECT_EQ(store_->state()->view(), "two");
}

TEST_F(StoreTest, StateSavesThatWaitTogetherShareOneWrite) {
    open();
    std::vector<int> done;
    const auto groups = disk_.groups();
    for (int i = 0; i < 10; ++i) {
        store_->save_state(Bytes::copy_of(std::to_string(i)), [&done, i](Result<void> result) {
            ASSERT_TRUE(result);
            done.push_back(i);
        });
    }
    disk_.run();
    EXPECT_EQ(done, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
    EXPECT_EQ(disk_.groups() - groups, 2u);
    EXPECT_EQ(store_->state()->view(), "9");
}

TEST_F(StoreTest, AppendRefusesWhatDoesNotFollow) {
    open();
    StreamLog& l = log();
    append(l, 2, ViewNumber(5));
    EXPECT_EQ(l.append(make_batch({Offset(3), ViewNumber(5)}), kAppended).error().code, ErrorCode::kInvalid);
    EXPECT_EQ(l.append(make_batch({Offset(1), ViewNumber(5)}), kAppended).error().code, ErrorCode::kInvalid);
    EXPECT_EQ(l.append(make_batch({Offset(2), ViewNumber(4)}), kAppended).error().code, ErrorCode::kInvalid);
    EXPECT_EQ(
        l.append(concat({make_batch({Offset(2), ViewNumber(5)}), make_batch({Offset(4), ViewNumber(5)})}), kAppended)
            .error()
            .code,
        ErrorCode::kInvalid);
    const Bytes good = make_batch({Offset(2), ViewNumber(5)});
    EXPECT_EQ(l.append(good.slice(0, good.size() - 1), kAppended).error().code, ErrorCode::kInvalid);
    EXPECT_EQ(l.log_end(), Offset(2));
    EXPECT_TRUE(l.append(good, kAppended));
}

TEST_F(StoreTest, EveryOffsetIsFoundAcrossSegmentsFromDiskAndFromMemory) {
    for (const std::uint64_t cache : {std::uint64_t{0}, std::uint64_t{5000}, std::uint64_t{1} << 20}) {
        SCOPED_TRACE(cache);
        options_.dir = "/data" + std::to_string(cache);
        options_.segment_bytes = 3000;
        options_.index_interval_bytes = 400;
        options_.cache_bytes = cache;
        open();
        StreamLog& l = log();
        for (int i = 0; i < 100; ++i) {
            ASSERT_TRUE(l.append(make_batch({l.log_end(), ViewNumber(1), 1 + i % 3, "v", {}, 1000 + i}), kAppended));
        }
        ASSERT_TRUE(flush());
        for (int round = 0; round < 2; ++round) {
            StreamLog& held = log();  // the store is opened anew after each round
            for (Offset at; at < held.log_end(); at += 1) {
                const auto batches = read(held, at.value, {}, 500);
                ASSERT_TRUE(batches) << batches.error().message;
                ASSERT_FALSE(batches->empty()) << at.value;
                Offset next = protocol::BatchView::parse(batches->front())->base_offset();
                ASSERT_LE(next, at);
                ASSERT_GT(protocol::BatchView::parse(batches->front())->next_offset(), at);
                for (const Bytes& batch : *batches) {
                    ASSERT_EQ(protocol::BatchView::parse(batch)->base_offset(), next);
                    next = protocol::BatchView::parse(batch)->next_offset();
                }
            }
            close();
            open();  // with indexes from their files
            ASSERT_EQ(log().log_end(), Offset(199));
        }
        StreamLog& again = log();
        EXPECT_EQ(read(again, 200).error().code, ErrorCode::kOffsetOutOfRange);
        EXPECT_TRUE(read(again, 199)->empty());
        EXPECT_TRUE(read(again, 10, 10)->empty());
        EXPECT_TRUE(read(again, 4, 5)->empty()) << "a batch above the limit is not given in part";
        crash(FakeDisk::Crash::kProcess);
    }
}

TEST_F(StoreTest, ALostOrDamagedIndexIsMadeAgain) {
    options_.segment_bytes = 3000;
    options_.cache_bytes = 0;
    open();
    append(log(), 100);
    ASSERT_TRUE(flush());
    close();
    int indexes = 0;
    for (const std::string& file : disk_.files()) {
        if (!file.ends_with(".index")) continue;
        if (indexes++ % 2 == 0) {
            disk_.remove(file);
        } else {
            disk_.flip(file, 100);
        }
    }
    ASSERT_GT(indexes, 2);
    open();
    EXPECT_EQ(read_all(log())->size(), 100u);
    EXPECT_FALSE(store_->damaged());
}

TEST_F(StoreTest, ACleanStopLeavesNothingToScan) {
    open();
    append(log(), 100);
    ASSERT_TRUE(flush());
    close();
    int reads_of_logs = 0;
    disk_.set_read_fault([&](const std::string& path) -> Result<void> {
        if (path.ends_with(".log")) ++reads_of_logs;
        return {};
    });
    const auto flushes = disk_.flushes();
    open();
    EXPECT_EQ(store_->last_stop(), LastStop::kClean);
    EXPECT_EQ(log().log_end(), Offset(100));
    EXPECT_EQ(reads_of_logs, 1) << "of no bytes";
    EXPECT_LE(disk_.flushes() - flushes, 8u);
}

TEST_F(StoreTest, RetentionDropsWholeSegmentsBelowTheHighWatermark) {
    options_.segment_bytes = 1000;
    open();
    StreamLog& l = log();
    append(l, 100);
    ASSERT_TRUE(flush());
    store_->tick(TimePoint{});  // writes the tables of the new segments
    disk_.run();
    const EpochTable epochs = l.epochs();
    l.retain(Offset(50), {.max_bytes = 0});
    disk_.run();
    EXPECT_GT(l.log_start(), Offset(0));
    EXPECT_LE(l.log_start(), Offset(50));
    EXPECT_EQ(l.epochs(), epochs) << "epochs outlive segments";
    EXPECT_EQ(read(l, 0).error().code, ErrorCode::kOffsetOutOfRange);
    const Offset start = l.log_start();
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_EQ(log().log_start(), start);
    EXPECT_EQ(log().epochs(), epochs);
}

TEST_F(StoreTest, RecentBatchesYieldToPendingOnesDownToAQuarter) {
    options_.cache_bytes = 8000;
    open();
    const auto cached_after_many = [this] {
        append(log(), 200);
        EXPECT_TRUE(flush());
        std::int64_t count = 0;
        const std::int64_t end = log().log_end().value;
        while (count < end && log().read_cached(Offset(end - count - 1), log().log_end(), 1)) ++count;
        return count;
    };
    const std::int64_t all = cached_after_many();
    ASSERT_GT(all, 40);
    ASSERT_LT(all, 200);
    store_->set_pending_bytes(4000);
    EXPECT_NEAR(cached_after_many(), all / 2, 2);
    store_->set_pending_bytes(1u << 20);
    EXPECT_NEAR(cached_after_many(), all / 4, 2);
    store_->set_pending_bytes(0);
    EXPECT_NEAR(cached_after_many(), all, 2);
}

TEST_F(StoreTest, AnOffsetIsFoundByTime) {
    options_.segment_bytes = 1000;
    options_.index_interval_bytes = 300;
    options_.cache_bytes = 500;
    open();
    append(log(), 60);
    ASSERT_TRUE(flush());
    close();
    open();
    const auto find = [this](std::int64_t time) {
        std::optional<Result<Offset>> result;
        log().offset_for_timestamp(time, [&](Result<Offset> r) { result = std::move(r); });
        disk_.run();
        return **result;
    };
    EXPECT_EQ(find(0), Offset(0));
    for (int i = 0; i < 60; ++i) EXPECT_EQ(find(1000 + i), Offset(i));
    EXPECT_EQ(find(5000), Offset(60));
}

TEST_F(StoreTest, ChecksumsAreEqualHoweverSegmentsAreCut) {
    const auto sum = [this](std::int64_t from, std::int64_t to) {
        std::optional<Result<std::uint64_t>> result;
        log().checksum(Offset(from), Offset(to), [&](Result<std::uint64_t> r) { result = std::move(r); });
        disk_.run();
        return *result;
    };
    options_.segment_bytes = 700;
    open();
    append(log(), 50);
    ASSERT_TRUE(flush());
    const auto whole = sum(0, 50);
    const auto part = sum(10, 40);
    ASSERT_TRUE(whole && part);
    EXPECT_NE(*whole, *part);
    EXPECT_FALSE(sum(0, 51));
    crash(FakeDisk::Crash::kProcess);
    options_.dir = "/other";
    options_.segment_bytes = 1u << 20;
    options_.cache_bytes = 0;
    open();
    append(log(), 50);
    ASSERT_TRUE(flush());
    EXPECT_EQ(*sum(0, 50), *whole);
    EXPECT_EQ(*sum(10, 40), *part);
}

TEST_F(StoreTest, ALearnerStartsWhereItsPeerDoes) {
    options_.segment_bytes = 1000;
    open();
    StreamLog& peer = log();
    for (int i = 0; i < 60; ++i) {
        ASSERT_TRUE(peer.append(make_batch({peer.log_end(), ViewNumber(1 + i / 10), 1, "v", {ProducerId(5), 0, i, i}}),
                                kAppended));
    }
    ASSERT_TRUE(flush());
    store_->tick(TimePoint{});
    disk_.run();
    peer.retain(Offset(40), {0, {}});
    disk_.run();
    const auto tables = start_tables(peer);
    ASSERT_TRUE(tables);
    EXPECT_EQ(tables->start, peer.log_start());
    StreamLog& learner = log({protocol::TopicId{9}, 0});
    append(learner, 3);
    ASSERT_TRUE(await([&](FlushCallback done) { learner.reset(tables->start, tables->tables, std::move(done)); }));
    EXPECT_EQ(learner.log_start(), peer.log_start());
    EXPECT_EQ(learner.log_end(), peer.log_start());
    const auto peer_batches = read_all(peer);
    for (const Bytes& batch : *peer_batches) ASSERT_TRUE(learner.append(batch, kAppended));
    EXPECT_EQ(learner.epochs(), peer.epochs());
    EXPECT_EQ(learner.producers(), peer.producers());
    ASSERT_TRUE(flush());
    const Offset start = learner.log_start();
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_EQ(log({protocol::TopicId{9}, 0}).log_start(), start);
    EXPECT_EQ(log({protocol::TopicId{9}, 0}).epochs(), log().epochs());
}

TEST_F(StoreTest, StartTablesSayWhatTheyAreAsOfWhenRetentionMovesTheStart) {
    options_.segment_bytes = 1000;
    open();
    StreamLog& l = log();
    for (int i = 0; i < 60; ++i) ASSERT_TRUE(l.append(make_batch({l.log_end(), ViewNumber(1 + i)}), kAppended));
    ASSERT_TRUE(flush());
    store_->tick(TimePoint{});
    disk_.run();
    l.retain(Offset(20), {0, {}});
    disk_.run();
    const Offset start = l.log_start();
    std::optional<Result<StreamLog::StartTables>> found;
    l.start_tables([&](Result<StreamLog::StartTables> tables) { found = std::move(tables); });
    while (!disk_.pending(FakeDisk::Lane::kRead)) ASSERT_TRUE(disk_.step_any());
    l.retain(Offset(50), {.max_bytes = 0});
    EXPECT_GT(l.log_start(), start);
    ASSERT_TRUE(disk_.step(FakeDisk::Lane::kRead));
    disk_.run();
    ASSERT_TRUE(found && *found);
    EXPECT_EQ((*found)->start, start);
    LogTables tables(TableLimits{options_.max_producers, options_.max_orphan_keys});
    ByteReader in((*found)->tables.span());
    ASSERT_TRUE(tables.decode(in));
    EXPECT_EQ(tables.epochs.last_view(), ViewNumber(static_cast<std::uint64_t>((*found)->start.value)));
}

TEST_F(StoreTest, TruncateWithinABatchIsRefused) {
    options_.cache_bytes = 0;
    open();
    StreamLog& l = log();
    ASSERT_TRUE(l.append(make_batch({Offset(0), ViewNumber(1), 5}), kAppended));
    ASSERT_TRUE(flush());
    EXPECT_EQ(truncate(l, 3).error().code, ErrorCode::kInvalid);
    EXPECT_EQ(truncate(l, 6).error().code, ErrorCode::kInvalid);
    EXPECT_EQ(l.log_end(), Offset(5));
    EXPECT_TRUE(truncate(l, 5));
    EXPECT_TRUE(truncate(l, 0));
    EXPECT_EQ(l.log_end(), Offset(0));
    append(l, 1);
}

TEST_F(StoreTest, ARemovedStreamStaysAway) {
    options_.segment_bytes = 500;
    open();
    append(log(), 20);
    ASSERT_TRUE(flush());
    append(log(), 20);
    bool flushed = false;
    store_->flush([&](const Result<void>& result) { flushed = result.has_value(); });
    ASSERT_TRUE(await([this](FlushCallback done) { store_->remove(kStream, std::move(done)); }));
    EXPECT_TRUE(flushed);
    EXPECT_EQ(store_->find(kStream), nullptr);
    for (const std::string& file : disk_.files()) EXPECT_FALSE(file.starts_with("/data/streams/")) << file;
    append(log(), 1);
    ASSERT_TRUE(flush());
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_EQ(log().log_end(), Offset(1));
}

TEST_F(StoreTest, ADirectoryInUseIsRefused) {
    open();
    const auto second = Store::open(disk_, options_, quiet());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kExists);
}

}  // namespace
}  // namespace logstream::storage
