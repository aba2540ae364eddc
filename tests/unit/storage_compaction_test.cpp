// Compaction and the orphan files.
#include <gmock/gmock.h>

#include <map>

#include "internal/protocol/big_endian.h"
#include "internal/protocol/checksum.h"
#include "internal/storage/orphan_file.h"
#include "tests/unit/storage_testing.h"

namespace logstream::storage {
namespace {

struct Kept {
    Offset offset;
    std::optional<std::string> value;
    friend bool operator==(const Kept&, const Kept&) = default;
};

class StorageCompactionTest : public StoreFixture {
protected:
    void SetUp() override {
        options_.segment_bytes = 1500;
        options_.index_interval_bytes = 200;
        options_.cache_bytes = 0;
    }
    Result<void> compact(StreamLog& l, Offset below) {
        return await([&](FlushCallback done) { l.compact(below, std::move(done)); });
    }
    // One batch of records with these keys; an empty value is null.
    void append_keys(StreamLog& l, const std::vector<std::pair<std::string, std::string>>& records,
                     ViewNumber view = ViewNumber(1), ProducerBatch producer = {}) {
        protocol::BatchBuilder builder(
            {protocol::Codec::kNone, producer.producer, producer.epoch, producer.base_sequence});
        for (const auto& [key, value] : records) {
            builder.add(1000 + l.log_end().value, key,
                        value.empty() ? std::nullopt : std::optional<std::string_view>(value));
        }
        Bytes batch = *builder.finish();
        protocol::assign(batch, l.log_end(), view);
        ASSERT_TRUE(l.append(batch, kAppended));
    }
    // What a reader sees: all records by offset; batches must follow one another.
    std::multimap<std::string, Kept> records(StreamLog& l) {
        std::multimap<std::string, Kept> all;
        Offset expected = l.log_start();
        const auto batches = read_all(l);
        EXPECT_TRUE(batches) << batches.error().message;
        if (!batches) return all;
        for (const Bytes& bytes : *batches) {
            const auto batch = protocol::BatchView::parse(bytes);
            EXPECT_EQ(batch->base_offset(), expected);
            expected = batch->next_offset();
            if (batch->is_control()) continue;
            EXPECT_TRUE(batch->for_each(1u << 20, [&](const protocol::Record& record) {
                std::optional<std::string> value;
                if (record.value) value = std::string(*record.value);
                all.emplace(std::string(record.key.value_or("")), Kept{record.offset, value});
                return true;
            }));
        }
        EXPECT_EQ(expected, l.log_end());
        return all;
    }
    // Its tables made of the log alone.
    void reopen_without_tables() {
        crash(FakeDisk::Crash::kProcess);
        for (const std::string& file : disk_.files()) {
            if (file.ends_with(".tables") || file.find("/tail.") != std::string::npos) disk_.remove(file);
        }
        open();
    }
    // Sent again it is not appended again.
    void expect_known(const ProducerBatch& batch) {
        EXPECT_EQ(log().producers().check(batch).verdict, SequenceCheck::kDuplicate) << batch.base_sequence;
        EXPECT_EQ(log().producers().standing(batch), Standing::kPresent) << batch.base_sequence;
    }
    static std::map<std::string, Kept> last_of(const std::multimap<std::string, Kept>& all) {
        std::map<std::string, Kept> last;
        for (const auto& [key, kept] : all) {
            auto& slot = last[key];
            if (kept.offset >= slot.offset) slot = kept;
        }
        return last;
    }
};

TEST_F(StorageCompactionTest, TheLastRecordOfEachKeyStaysAtItsOffset) {
    open();
    StreamLog& l = log();
    for (int i = 0; i < 300; ++i) {
        append_keys(l, {{"key" + std::to_string(i % 7), i % 50 == 49 ? "" : "value" + std::to_string(i)}},
                    ViewNumber(1 + i / 100));
    }
    ASSERT_TRUE(flush());
    const auto before = last_of(records(l));
    const EpochTable epochs = l.epochs();
    const std::uint64_t size = l.size_bytes();
    const auto compacted = compact(l, l.log_end());
    ASSERT_TRUE(compacted) << compacted.error().message;
    EXPECT_LT(l.size_bytes(), size / 2);
    EXPECT_EQ(last_of(records(l)), before);
    EXPECT_EQ(l.epochs(), epochs);
    const std::uint64_t once = l.size_bytes();
    ASSERT_TRUE(compact(l, l.log_end()));
    EXPECT_EQ(l.size_bytes(), once) << "a second time changes nothing";
    for (const auto kind : {FakeDisk::Crash::kProcess, FakeDisk::Crash::kMachine}) {
        reopen_after(kind);
        EXPECT_EQ(last_of(records(log())), before);
        EXPECT_EQ(log().epochs(), epochs);
        EXPECT_FALSE(store_->damaged());
    }
    // A replica that copies it holds the same.
    StreamLog& copy = log({protocol::TopicId{9}, 0});
    const auto batches = read_all(log());
    for (const Bytes& batch : *batches) ASSERT_TRUE(copy.append(batch, kAppended));
    EXPECT_EQ(copy.epochs(), epochs);
    EXPECT_EQ(last_of(records(copy)), before);
    // Cut back into what was compacted.
    const Bytes somewhere = (*read_all(log()))[2];
    const Offset to = protocol::BatchView::parse(somewhere)->base_offset();
    ASSERT_TRUE(truncate(log(), to.value));
    EXPECT_EQ(log().log_end(), to);
}

TEST_F(StorageCompactionTest, AReplicaThatIsBehindGoesOnWithinWhatWasMerged) {
    open();
    StreamLog& l = log();
    for (int i = 0; i < 100; ++i) append_keys(l, {{"key" + std::to_string(i % 3), "value" + std::to_string(i)}});
    ASSERT_TRUE(flush());
    const auto before = last_of(records(l));
    std::vector<Bytes> originals;
    for (int i = 0; i < 50; ++i) originals.push_back((*read(l, i, {}, 1))[0]);
    ASSERT_TRUE(compact(l, l.log_end()));
    for (std::uint64_t behind = 1; behind < 50; ++behind) {
        StreamLog& replica = log({protocol::TopicId{100 + behind}, 0});
        for (std::uint64_t i = 0; i < behind; ++i) ASSERT_TRUE(replica.append(originals[i], kAppended));
        while (replica.log_end() < l.log_end()) {
            const auto batches = read(l, replica.log_end().value);
            ASSERT_TRUE(batches);
            ASSERT_FALSE(batches->empty());
            for (const Bytes& batch : *batches) {
                ASSERT_TRUE(protocol::BatchView::parse(batch)->crc_ok());
                const auto appended = replica.append(batch, kAppended);
                ASSERT_TRUE(appended) << appended.error().message;
            }
        }
        ASSERT_EQ(last_of(records(replica)), before);
    }
}

TEST_F(StorageCompactionTest, NothingAboveTheHighWatermarkIsTouched) {
    open();
    StreamLog& l = log();
    for (int i = 0; i < 100; ++i) append_keys(l, {{"same", "value" + std::to_string(i)}});
    ASSERT_TRUE(flush());
    ASSERT_TRUE(compact(l, Offset(50)));
    const auto all = records(l);
    int above = 0;
    for (const auto& [key, kept] : all) above += kept.offset >= Offset(50) ? 1 : 0;
    EXPECT_EQ(above, 50);
    EXPECT_LT(all.size(), 80u);
}

TEST_F(StorageCompactionTest, BatchesWithProducersKeepTheirSequences) {
    open();
    StreamLog& l = log();
    for (int i = 0; i < 60; ++i) {
        append_keys(l, {{"a", "x" + std::to_string(i)}, {"b" + std::to_string(i), "y"}, {"a", "z"}}, ViewNumber(1),
                    {ProducerId(4), 0, i * 3, 0});
    }
    ASSERT_TRUE(flush());
    ASSERT_TRUE(compact(l, l.log_end()));
    const auto all = records(l);
    EXPECT_LT(all.count("a"), 30u);
    for (int i = 0; i < 60; ++i) EXPECT_EQ(all.count("b" + std::to_string(i)), 1u);
    reopen_without_tables();
    for (int i = 0; i < 60; ++i) expect_known({ProducerId(4), 0, i * 3, i * 3 + 2});
    EXPECT_EQ(log().producers().check({ProducerId(4), 0, 180, 182}).verdict, SequenceCheck::kNew);
}

TEST_F(StorageCompactionTest, UpdatesInBatchesOfOneAreCompacted) {
    // Each from one producer, as a run of `producer` sends them; then from two in turns; then from many.
    for (const int producers : {1, 2, 500}) {
        SCOPED_TRACE(producers);
        options_.dir = "/data" + std::to_string(producers);
        open();
        StreamLog& l = log();
        for (int i = 0; i < 500; ++i) {
            append_keys(l, {{"state", std::string(100, 'v') + std::to_string(i)}}, ViewNumber(1 + i / 300),
                        {ProducerId(4 + i % producers), 0, i / producers, 0});
        }
        ASSERT_TRUE(flush());
        const std::uint64_t size = l.size_bytes();
        ASSERT_TRUE(compact(l, l.log_end()));
        EXPECT_LT(records(l).size(), 12u) << "what the newest segment has, and one";
        EXPECT_EQ(last_of(records(l)).at("state").offset, Offset(499));
        EXPECT_LT(l.size_bytes(), producers == 1 ? size / 10 : size * 3 / 4);
        reopen_without_tables();
        EXPECT_FALSE(store_->damaged());
        EXPECT_LT(records(log()).size(), 12u);
        for (int i = 0; i < 500; ++i) expect_known({ProducerId(4 + i % producers), 0, i / producers, i / producers});
        crash(FakeDisk::Crash::kProcess);
    }
}

TEST_F(StorageCompactionTest, AReplicaThatIsBehindGoesOnWithinAProducersBatches) {
    open();
    StreamLog& l = log();
    for (int i = 0; i < 60; ++i)
        append_keys(l, {{"key" + std::to_string(i % 3), "value" + std::to_string(i)}}, ViewNumber(1),
                    {ProducerId(4), 0, i, 0});
    ASSERT_TRUE(flush());
    const auto before = last_of(records(l));
    std::vector<Bytes> originals;
    for (int i = 0; i < 50; ++i) originals.push_back((*read(l, i, {}, 1))[0]);
    ASSERT_TRUE(compact(l, l.log_end()));
    for (std::uint64_t behind = 0; behind < 50; ++behind) {
        StreamLog& replica = log({protocol::TopicId{100 + behind}, 0});
        for (std::uint64_t i = 0; i < behind; ++i) ASSERT_TRUE(replica.append(originals[i], kAppended));
        while (replica.log_end() < l.log_end()) {
            const auto batches = read(l, replica.log_end().value);
            ASSERT_TRUE(batches);
            for (const Bytes& batch : *batches) ASSERT_TRUE(replica.append(batch, kAppended));
        }
        ASSERT_EQ(last_of(records(replica)), before);
        for (int i = 0; i < 60; ++i)
            ASSERT_EQ(replica.producers().standing({ProducerId(4), 0, i, i}), Standing::kPresent) << behind << " " << i;
    }
}

// Such a batch may come from a log of before brokers looked into what they take.
TEST_F(StorageCompactionTest, WhatCannotBeDecodedIsLeftAlone) {
    open();
    StreamLog& l = log();
    for (int i = 0; i < 30; ++i) append_keys(l, {{"key", "value" + std::to_string(i)}});
    Bytes broken = make_batch({l.log_end(), ViewNumber(1), 3});
    protocol::store_be(broken.mutable_data() + protocol::kRecordCountAt, std::int32_t{2});
    protocol::store_be(broken.mutable_data() + protocol::kBatchCrcAt,
                       protocol::crc32c(broken.span().subspan(protocol::kAttributesAt)));
    ASSERT_TRUE(l.append(broken, kAppended));
    for (int i = 0; i < 30; ++i) append_keys(l, {{"key", "value" + std::to_string(i)}});
    ASSERT_TRUE(flush());
    const auto compacted = compact(l, l.log_end());
    ASSERT_TRUE(compacted) << compacted.error().message;
    bool there = false;
    const auto batches = read_all(l);
    ASSERT_TRUE(batches);
    EXPECT_LT(batches->size(), 40u);
    for (const Bytes& batch : *batches) there = there || same_bytes(batch, broken);
    EXPECT_TRUE(there);
}

TEST_F(StorageCompactionTest, ACrashAtAnyStepLeavesOldOrNew) {
    for (int steps = 0;; ++steps) {
        SCOPED_TRACE(steps);
        options_.dir = "/data" + std::to_string(steps);
        open();
        StreamLog& l = log();
        for (int i = 0; i < 120; ++i) append_keys(l, {{"key" + std::to_string(i % 5), "value" + std::to_string(i)}});
        ASSERT_TRUE(flush());
        const auto before = last_of(records(l));
        bool done = false;
        l.compact(l.log_end(), [&](const Result<void>&) { done = true; });
        for (int i = 0; i < steps; ++i) disk_.step_any();
        const bool finished = done;
        reopen_after(steps % 2 == 0 ? FakeDisk::Crash::kMachine : FakeDisk::Crash::kProcess);
        ASSERT_FALSE(store_->damaged());
        ASSERT_EQ(log().log_end(), Offset(120));
        ASSERT_EQ(last_of(records(log())), before);
        crash(FakeDisk::Crash::kProcess);
        if (finished) break;
        ASSERT_LT(steps, 1000);
    }
}

TEST_F(StorageCompactionTest, ACutDuringCompactionWins) {
    for (int steps = 0; steps < 60; ++steps) {
        SCOPED_TRACE(steps);
        options_.dir = "/data" + std::to_string(steps);
        open();
        StreamLog& l = log();
        for (int i = 0; i < 120; ++i) append_keys(l, {{"key" + std::to_string(i % 5), "value" + std::to_string(i)}});
        ASSERT_TRUE(flush());
        std::optional<Result<void>> compacted;
        l.compact(l.log_end(), [&](Result<void> result) { compacted = std::move(result); });
        for (int i = 0; i < steps; ++i) disk_.step_any();
        // The stream's first batch is a boundary whatever compaction did.
        const auto cut = truncate(l, 0);
        ASSERT_TRUE(cut) << cut.error().message;
        EXPECT_TRUE(compacted);
        EXPECT_EQ(l.log_end(), Offset(0));
        append(l, 3);
        ASSERT_TRUE(flush());
        reopen_after(FakeDisk::Crash::kMachine);
        ASSERT_EQ(log().log_end(), Offset(3));
        ASSERT_FALSE(store_->damaged());
        crash(FakeDisk::Crash::kProcess);
    }
}

class OrphanFilesTest : public StoreFixture {
protected:
    static constexpr protocol::ClusterId kLineage{42};
    Result<void> add(std::vector<Bytes> batches) {
        return await(
            [&](FlushCallback done) { store_->orphans().add(kStream, kLineage, std::move(batches), std::move(done)); });
    }
    Bytes get(const OrphanEntry& entry) {
        std::optional<Result<Bytes>> result;
        store_->orphans().read(kStream, entry, [&](Result<Bytes> r) { result = std::move(r); });
        disk_.run();
        EXPECT_TRUE(result && *result);
        return result && *result ? **result : Bytes();
    }
};

TEST_F(OrphanFilesTest, TheyAreDurableUnchangedAndInOrder) {
    open();
    const Bytes first = make_batch({Offset(10), ViewNumber(3), 2});
    const Bytes second = make_batch({Offset(12), ViewNumber(3), 1});
    ASSERT_TRUE(add({first, second}));
    for (int round = 0; round < 2; ++round) {
        const auto entries = store_->orphans().list(kStream);
        ASSERT_EQ(entries.size(), 2u);
        EXPECT_EQ(entries[0].lineage, kLineage);
        EXPECT_EQ(entries[0].view, ViewNumber(3));
        EXPECT_EQ(entries[0].base_offset, Offset(10));
        EXPECT_TRUE(same_bytes(get(entries[0]), first));
        EXPECT_TRUE(same_bytes(get(entries[1]), second));
        reopen_after(FakeDisk::Crash::kMachine);
    }
    EXPECT_EQ(store_->orphans().streams(), std::vector<StreamId>{kStream});
}

TEST_F(OrphanFilesTest, AddingTheSameAgainChangesNothing) {
    open();
    const Bytes batch = make_batch({Offset(10), ViewNumber(3), 2});
    ASSERT_TRUE(add({batch, batch}));
    ASSERT_TRUE(add({batch}));
    reopen_after(FakeDisk::Crash::kProcess);
    ASSERT_TRUE(add({batch, make_batch({Offset(12), ViewNumber(3)})}));
    EXPECT_EQ(store_->orphans().list(kStream).size(), 2u);
}

// What a failed flush left in the cache looks like what is on the disk, also to the next process.
TEST_F(OrphanFilesTest, AfterAFailedFlushTheyAreMadeDurableAtTheNextStart) {
    open();
    const Bytes batch = make_batch({Offset(10), ViewNumber(3), 2});
    disk_.set_fault([](const DiskOp& op) -> Result<void> {
        if (std::holds_alternative<SyncOp>(op)) return protocol::fail(ErrorCode::kDisk, "a flush failed");
        return {};
    });
    EXPECT_EQ(add({batch}).error().code, ErrorCode::kDisk);
    disk_.set_fault({});
    reopen_after(FakeDisk::Crash::kProcess);
    ASSERT_TRUE(add({batch}));
    reopen_after(FakeDisk::Crash::kMachine);
    ASSERT_EQ(store_->orphans().list(kStream).size(), 1u);
    EXPECT_TRUE(same_bytes(get(store_->orphans().list(kStream)[0]), batch));
}

TEST_F(OrphanFilesTest, RemovedTheyStayAway) {
    open();
    ASSERT_TRUE(add({make_batch({Offset(10), ViewNumber(3)})}));
    ASSERT_TRUE(await([this](FlushCallback done) { store_->orphans().remove(kStream, std::move(done)); }));
    EXPECT_TRUE(store_->orphans().streams().empty());
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_TRUE(store_->orphans().list(kStream).empty());
    ASSERT_TRUE(add({make_batch({Offset(10), ViewNumber(3)})}));
    EXPECT_EQ(store_->orphans().list(kStream).size(), 1u);
}

TEST_F(OrphanFilesTest, ACrashWhileAddingKeepsTheEarlierOnes) {
    for (std::uint64_t seed = 1; seed < 100; ++seed) {
        disk_ = FakeDisk(seed);
        open();
        ASSERT_TRUE(add({make_batch({Offset(10), ViewNumber(3)})}));
        store_->orphans().add(kStream, kLineage, {make_batch({Offset(11), ViewNumber(3), 50})},
                              [](const Result<void>&) {});
        reopen_after(seed % 2 == 0 ? FakeDisk::Crash::kMachine : FakeDisk::Crash::kProcess);
        const auto entries = store_->orphans().list(kStream);
        ASSERT_GE(entries.size(), 1u);
        EXPECT_EQ(store_->orphans().damaged_entries(), 0u);
        EXPECT_TRUE(same_bytes(get(entries[0]), make_batch({Offset(10), ViewNumber(3)})));
        ASSERT_TRUE(add({make_batch({Offset(11), ViewNumber(3), 50})}));
        EXPECT_EQ(store_->orphans().list(kStream).size(), 2u);
    }
}

TEST_F(OrphanFilesTest, AFullDiskAddsNothingAndLeavesNoHole) {
    open();
    ASSERT_TRUE(add({make_batch({Offset(10), ViewNumber(3)})}));
    disk_.set_capacity(400);
    EXPECT_EQ(add({make_batch({Offset(11), ViewNumber(3), 1, std::string(1000, 'x')})}).error().code,
              ErrorCode::kDiskFull);
    EXPECT_FALSE(store_->failed());
    disk_.set_capacity(1u << 30);
    ASSERT_TRUE(add({make_batch({Offset(12), ViewNumber(3)})}));
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_EQ(store_->orphans().list(kStream).size(), 2u);
    EXPECT_EQ(store_->orphans().damaged_entries(), 0u);
}

TEST_F(OrphanFilesTest, ADamagedOneIsNotServed) {
    open();
    ASSERT_TRUE(add({make_batch({Offset(10), ViewNumber(3)}), make_batch({Offset(11), ViewNumber(3)})}));
    const OrphanEntry entry = store_->orphans().list(kStream)[0];
    disk_.flip("/data/orphans/0000000000001234-0.orphans", (entry.position + 65) * 8);
    std::optional<Result<Bytes>> result;
    store_->orphans().read(kStream, entry, [&](Result<Bytes> r) { result = std::move(r); });
    disk_.run();
    EXPECT_EQ(result->error().code, ErrorCode::kCorrupt);
    reopen_after(FakeDisk::Crash::kProcess);
    EXPECT_EQ(store_->orphans().damaged_entries(), 1u);
    EXPECT_EQ(store_->orphans().list(kStream).size(), 1u);
}

}  // namespace
}  // namespace logstream::storage
