// Files that are sound one by one and contradict each other: what does not fit is damage that is told, or is dropped.
// No log refuses records for ever without a word.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "internal/storage/entry.h"
#include "internal/storage/snapshot.h"
#include "tests/unit/storage_testing.h"

namespace logstream::storage {
namespace {

class StorageContradictionTest : public StoreFixture {
protected:
    // Ten records of view 3 in one segment; the store is closed.
    void ten_records_in_one_segment() {
        open();
        append(log(), 10, ViewNumber(3));
        ASSERT_TRUE(flush());
        originals_ = *read_all(log());
        close();
    }
    // In several segments.
    void ten_records() {
        options_.segment_bytes = 600;
        ten_records_in_one_segment();
    }
    static TableLimits limits() { return {}; }
    // Writes the newest tables as `change` makes them.
    void change_tables(const std::function<void(Snapshot&)>& change) {
        const std::vector<std::string> files = disk_.files();
        for (unsigned slot = 0; slot < 2; ++slot) {
            const std::string path = snapshot_slot_path(kDir, slot);
            if (std::ranges::count(files, path) == 0) continue;
            auto snapshot = decode_snapshot(disk_.content(path), kStream, limits());
            ASSERT_TRUE(snapshot);
            change(*snapshot);
            const Bytes bytes = encode_snapshot(*snapshot);
            disk_.put(path, {bytes.span().begin(), bytes.span().end()});
        }
    }
    // They say that something is missing in them, as when a process stopped before they were made again.
    void forget_a_part_of_the_tables() {
        change_tables([](Snapshot& tables) { tables.tables_incomplete = true; });
    }
    // The only tables say that the log ends there, with all the bytes of its one segment before it.
    void tell_of_an_end_at(Offset end) {
        for (unsigned slot = 0; slot < 2; ++slot) disk_.remove(snapshot_slot_path(kDir, slot));
        Snapshot lie;
        lie.stream = kStream;
        lie.offset = lie.known_end = end;
        lie.position = disk_.content(kDir + "/00000000000000000000.log").size();
        lie.tables_incomplete = true;
        lie.tables = LogTables(limits());
        lie.index = SparseIndex(Offset(0), options_.index_interval_bytes);
        const Bytes bytes = encode_snapshot(lie);
        disk_.put(snapshot_slot_path(kDir, 0), {bytes.span().begin(), bytes.span().end()});
    }
    // An index that does not match the segment's entries, as when files of two backups are mixed.
    static SparseIndex lying_index(Offset base) {
        SparseIndex index(base, 0);
        index.add(base, 400, 0, kNoTimestamp);
        index.add(base + 1, 500, 0, kNoTimestamp);
        return index;
    }
    void expect_originals() {
        const auto all = read_all(log());
        ASSERT_TRUE(all) << all.error().message;
        ASSERT_EQ(all->size(), originals_.size());
        for (std::size_t at = 0; at < originals_.size(); ++at)
            EXPECT_TRUE(same_bytes((*all)[at], originals_[at])) << "at " << at;
    }
    std::string second_segment() const {
        for (const std::string& file : disk_.files())
            if (file.ends_with(".log") && !file.ends_with("/00000000000000000000.log")) return file;
        ADD_FAILURE() << "there is one segment only";
        return {};
    }
    static Offset base_of(const std::string& segment) {
        return Offset(std::stoll(segment.substr(segment.rfind('/') + 1)));
    }
    Batches originals_;
};

TEST_F(StorageContradictionTest, TablesOfALaterViewThanTheLogAreDropped) {
    ten_records();
    // Retention has taken the first segment; the tables of the second one are what is left of it.
    const std::string second = second_segment();
    const Offset start = base_of(second);
    for (const char* kind : {".log", ".index"}) disk_.remove(kDir + "/00000000000000000000" + kind);
    Snapshot lie;
    lie.stream = kStream;
    lie.offset = lie.segment_base = lie.known_end = start;
    lie.tables = LogTables(limits());
    lie.tables.epochs.append(ViewNumber(9), Offset(0));
    lie.index = SparseIndex(start, options_.index_interval_bytes);
    const Bytes bytes = encode_snapshot(lie);
    disk_.put(segment_tables_path(kDir, start), {bytes.span().begin(), bytes.span().end()});
    forget_a_part_of_the_tables();
    open();
    disk_.run();
    ASSERT_EQ(log().log_start(), start);
    EXPECT_FALSE(log().damage());
    EXPECT_TRUE(log().tables_are_whole());
    EXPECT_EQ(log().epochs().last_view(), ViewNumber(3));
    append(log(), 1, ViewNumber(4));
    EXPECT_EQ(log().log_end(), Offset(11));
}

TEST_F(StorageContradictionTest, AFileThatIsGoneWhenTheTablesAreMadeIsDamage) {
    ten_records();
    forget_a_part_of_the_tables();
    open();
    disk_.remove(kDir + "/00000000000000000000.log");
    disk_.run();
    ASSERT_TRUE(log().damage());
    EXPECT_EQ(log().damage()->from, Offset(0));
    EXPECT_FALSE(log().tables_are_whole());
}

TEST_F(StorageContradictionTest, ASegmentWithMoreEntriesThanAreKnownIsDamage) {
    ten_records_in_one_segment();
    tell_of_an_end_at(Offset(2));
    open();
    disk_.run();
    ASSERT_EQ(log().log_end(), Offset(2));
    ASSERT_EQ(log().damage(), (DamageRange{Offset(0), Offset(2)}));
    for (std::size_t at = 0; at < 2; ++at)
        ASSERT_TRUE(await([&](FlushCallback done) { log().repair(originals_[at], kAppended, std::move(done)); }));
    EXPECT_TRUE(log().tables_are_whole());
    append(log(), 1, ViewNumber(4));
    const auto all = read_all(log());
    ASSERT_TRUE(all);
    ASSERT_EQ(all->size(), 3u);
    EXPECT_EQ(protocol::BatchView::parse(all->back())->leader_epoch(), ViewNumber(4)) << "and not what stood there";
}

TEST_F(StorageContradictionTest, ASegmentWithEntriesBeyondTheLogIsEmptied) {
    ten_records_in_one_segment();
    tell_of_an_end_at(Offset(0));
    open();
    disk_.run();
    ASSERT_EQ(log().log_end(), Offset(0));
    EXPECT_FALSE(log().damage());
    EXPECT_TRUE(log().tables_are_whole());
    append(log(), 1, ViewNumber(4), "new");
    ASSERT_TRUE(flush());
    for (int start = 0; start < 2; ++start) {
        const auto all = read_all(log());
        ASSERT_TRUE(all);
        ASSERT_EQ(all->size(), 1u);
        EXPECT_EQ(protocol::BatchView::parse(all->back())->leader_epoch(), ViewNumber(4)) << "and not what stood there";
        reopen_after(FakeDisk::Crash::kProcess);
    }
}

TEST_F(StorageContradictionTest, ASegmentOfAnEarlierViewThanTheOneBeforeIsDamage) {
    ten_records();
    // The second segment, with entries of view 2 that are sound in themselves.
    const std::string second = second_segment();
    std::vector<std::byte> content = disk_.content(second);
    const Offset first = base_of(second);
    Offset offset = first;
    for (std::size_t at = 0; at < content.size(); ++offset) {
        Bytes batch = Bytes::copy_of(originals_[static_cast<std::size_t>(offset.value)].span());
        protocol::assign(batch, offset, ViewNumber(2));
        encode_entry_header(content.data() + at,
                            {offset, static_cast<std::uint32_t>(batch.size()), ViewNumber(2), offset},
                            stream_seed(kStream));
        std::ranges::copy(batch.span(), content.data() + at + kEntryHeaderBytes);
        at += kEntryHeaderBytes + batch.size();
    }
    disk_.put(second, content);
    forget_a_part_of_the_tables();
    open();
    disk_.run();
    ASSERT_EQ(log().damage(), (DamageRange{first, offset}));
    EXPECT_FALSE(log().tables_are_whole());
    for (Offset at = first; at < offset; ++at)
        ASSERT_TRUE(await([&](FlushCallback done) {
            log().repair(originals_[static_cast<std::size_t>(at.value)], kAppended, std::move(done));
        }));
    EXPECT_FALSE(log().damage());
    EXPECT_TRUE(log().tables_are_whole());
    append(log(), 1, ViewNumber(4));
    EXPECT_EQ(log().log_end(), Offset(11));
}

TEST_F(StorageContradictionTest, AnIndexOfOtherEntriesHidesNothing) {
    ten_records();
    const std::string path = kDir + "/00000000000000000000.index";
    const std::size_t segment_bytes = disk_.content(kDir + "/00000000000000000000.log").size();
    const Bytes lie = lying_index(Offset(0)).encode(segment_bytes);
    disk_.put(path, {lie.span().begin(), lie.span().end()});
    open();
    expect_originals();
    EXPECT_FALSE(log().damage());
    close();
    EXPECT_NE(disk_.content(path), std::vector(lie.span().begin(), lie.span().end())) << "made again";
}

TEST_F(StorageContradictionTest, AnIndexOfOtherEntriesInTheTablesHidesNothing) {
    options_.cache_bytes = 0;
    ten_records_in_one_segment();
    change_tables([](Snapshot& tables) { tables.index = lying_index(Offset(0)); });
    open();
    expect_originals();
    EXPECT_FALSE(log().damage());
}

}  // namespace
}  // namespace logstream::storage
