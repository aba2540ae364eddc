// Torn tails, rot and repair: what is damaged is never served, never forgotten, and told from what was never finished.
#include <gmock/gmock.h>

#include "internal/storage/entry.h"
#include "tests/unit/storage_testing.h"

namespace logstream::storage {
namespace {

class StorageDamageTest : public StoreFixture {
protected:
    // Ten records in one segment, flushed; no snapshot, as after a crash early in a stream's life.
    void ten_records() {
        open();
        append(log(), 10, ViewNumber(3));
        ASSERT_TRUE(flush());
        {
            auto all = read_all(log());
            ASSERT_TRUE(all);
            originals_ = std::move(*all);
        }
    }
    std::uint64_t entry_bytes(int i) const {
        return kEntryHeaderBytes + originals_[static_cast<std::size_t>(i)].size();
    }
    std::uint64_t position(int i) const {
        std::uint64_t at = 0;
        for (int k = 0; k < i; ++k) at += entry_bytes(k);
        return at;
    }
    void expect_beginning(StreamLog& l) {
        for (Offset at; at < l.log_end(); ++at) {
            const auto one = read(l, at.value, {}, 1);
            if (!one) {
                EXPECT_EQ(one.error().code, ErrorCode::kCorrupt) << one.error().message;
                continue;
            }
            ASSERT_FALSE(one->empty());
            EXPECT_TRUE(same_bytes((*one)[0], originals_[static_cast<std::size_t>(at.value)])) << "at " << at.value;
        }
    }
    Result<void> repair(StreamLog& l, const Bytes& batches) {
        return await([&](FlushCallback done) { l.repair(batches, kAppended, std::move(done)); });
    }
    Batches originals_;
};

TEST_F(StorageDamageTest, ATailTornAtAnyByteIsCutOff) {
    ten_records();
    const std::uint64_t from = position(9);
    const auto whole = disk_.content(kSegment);
    for (const auto kind : {FakeDisk::Crash::kProcess, FakeDisk::Crash::kMachine}) {
        for (std::uint64_t size = from; size < from + entry_bytes(9); ++size) {
            crash(kind);
            disk_.remove(kDir + "/tail.0");
            disk_.remove(kDir + "/tail.1");
            disk_.put(kSegment, {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)});
            open();
            ASSERT_FALSE(store_->damaged()) << size;
            ASSERT_EQ(log().log_end(), Offset(9)) << size;
            expect_beginning(log());
            append(log(), 1, ViewNumber(4));
            ASSERT_TRUE(flush());
            ASSERT_EQ(read_all(log())->size(), 10u);
        }
    }
}

TEST_F(StorageDamageTest, ZerosBehindTheTailAreCutOffAfterAPowerCut) {
    ten_records();
    crash(FakeDisk::Crash::kMachine);
    disk_.resize(kSegment, position(10) + 10000);
    open();
    EXPECT_FALSE(store_->damaged());
    EXPECT_EQ(log().log_end(), Offset(10));
    expect_beginning(log());
}

TEST_F(StorageDamageTest, AFlippedBitIsNeverServed) {
    ten_records();
    const std::uint64_t bits = disk_.content(kSegment).size() * 8;
    for (std::uint64_t bit = 0; bit < bits; bit += 1) {
        // Found by a read: nothing is in memory, and the whole file was flushed.
        store_.reset();
        disk_.stop();
        disk_.flip(kSegment, bit);
        open();
        const int entry = [&] {
            int i = 0;
            while (position(i + 1) * 8 <= bit) ++i;
            return i;
        }();
        expect_beginning(log());
        // It is damage: entry i was flushed before the later ones were written, or the process alone had died.
        ASSERT_TRUE(log().damage()) << "bit " << bit;
        ASSERT_EQ(log().damage()->from, Offset(entry)) << "bit " << bit;
        store_.reset();
        disk_.stop();
        disk_.flip(kSegment, bit);
        for (const char* slot : {"/tail.0", "/tail.1"}) disk_.remove(kDir + slot);
    }
}

TEST_F(StorageDamageTest, DamageBelowWhatWasFlushedIsToldFromATornTailAfterAPowerCut) {
    open();
    append(log(), 5);
    ASSERT_TRUE(flush());
    append(log(), 5);  // says that the first five were flushed
    ASSERT_TRUE(flush());
    {
        auto all = read_all(log());
        ASSERT_TRUE(all);
        originals_ = std::move(*all);
    }
    crash(FakeDisk::Crash::kMachine);
    disk_.flip(kSegment, (position(3) + 60) * 8);
    open();
    ASSERT_TRUE(log().damage());
    EXPECT_EQ(*log().damage(), (DamageRange{Offset(3), Offset(4)}));
    EXPECT_EQ(log().log_end(), Offset(10));
    EXPECT_TRUE(store_->damaged());
    expect_beginning(log());
    EXPECT_EQ(log().append(make_batch({Offset(10), ViewNumber(9)}), kAppended).error().code, ErrorCode::kCorrupt);
}

TEST_F(StorageDamageTest, DamageIsRememberedAcrossRestarts) {
    open();
    append(log(), 5);
    ASSERT_TRUE(flush());
    append(log(), 5);
    ASSERT_TRUE(flush());
    crash(FakeDisk::Crash::kMachine);
    originals_.clear();
    disk_.flip(kSegment, 60 * 8);
    open();
    ASSERT_TRUE(log().damage());
    const DamageRange found = *log().damage();
    close();
    open();
    EXPECT_EQ(log().damage(), found);
    EXPECT_TRUE(flush());
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_EQ(log().damage(), found);
}

// The older of two snapshots remembers damage that was mended since: where the newer one is lost, the file counts.
class AfterASnapshotIsLost : public StorageDamageTest, public ::testing::WithParamInterface<std::string> {};

INSTANTIATE_TEST_SUITE_P(Slots, AfterASnapshotIsLost, ::testing::Values("/tail.0", "/tail.1"));

TEST_P(AfterASnapshotIsLost, DamageThatWasMendedIsNotRemembered) {
    ten_records();
    crash(FakeDisk::Crash::kProcess);
    disk_.flip(kSegment, position(3) * 8 + 300);
    open();
    ASSERT_TRUE(log().damage());
    ASSERT_TRUE(repair(log(), originals_[3]));
    ASSERT_FALSE(log().damage());
    crash(FakeDisk::Crash::kProcess);
    if (!disk_.content(kDir + GetParam()).empty()) disk_.flip(kDir + GetParam(), 200);
    open();
    EXPECT_FALSE(log().damage());
    EXPECT_EQ(log().log_end(), Offset(10));
    expect_beginning(log());
    EXPECT_TRUE(await([&](FlushCallback done) { log().truncate(Offset(4), std::move(done)); }));
    EXPECT_EQ(read_all(log())->size(), 4u);
}

TEST_F(StorageDamageTest, DamageInTheMiddleIsRepairedFromAPeer) {
    ten_records();
    const EpochTable epochs = log().epochs();
    crash(FakeDisk::Crash::kProcess);
    disk_.flip(kSegment, (position(3) + 60) * 8);
    disk_.flip(kSegment, (position(4) + 10) * 8);
    open();
    ASSERT_EQ(*log().damage(), (DamageRange{Offset(3), Offset(5)}));
    EXPECT_EQ(repair(log(), originals_[2]).error().code, ErrorCode::kInvalid);
    EXPECT_EQ(repair(log(), concat({originals_[3], originals_[4], originals_[5]})).error().code, ErrorCode::kInvalid);
    ASSERT_TRUE(repair(log(), originals_[3]));
    EXPECT_EQ(*log().damage(), (DamageRange{Offset(4), Offset(5)})) << "what was not covered stays damaged";
    const auto repaired = repair(log(), originals_[4]);
    ASSERT_TRUE(repaired) << repaired.error().message;
    EXPECT_FALSE(log().damage());
    EXPECT_FALSE(store_->damaged());
    EXPECT_EQ(log().epochs(), epochs);
    append(log(), 3, ViewNumber(4));
    ASSERT_TRUE(flush());
    for (const auto kind : {FakeDisk::Crash::kProcess, FakeDisk::Crash::kMachine}) {
        reopen_after(kind);
        EXPECT_FALSE(store_->damaged());
        EXPECT_EQ(log().log_end(), Offset(13));
        const auto all = read_all(log());
        ASSERT_TRUE(all) << all.error().message;
        for (std::size_t i = 0; i < 10; ++i) EXPECT_TRUE(same_bytes((*all)[i], originals_[i]));
    }
}

// A repair reads the segment that it rewrites. What cannot be read then is not to be replaced by nothing.
TEST_F(StorageDamageTest, ARepairThatCannotReadTheRestLeavesItAlone) {
    ten_records();
    crash(FakeDisk::Crash::kProcess);
    disk_.flip(kSegment, (position(3) + 60) * 8);
    open();
    const auto damage = log().damage();
    ASSERT_EQ(*damage, (DamageRange{Offset(3), Offset(4)}));
    disk_.set_read_fault([](const std::string&) { return protocol::fail(ErrorCode::kDisk, "Input/output error"); });
    EXPECT_EQ(repair(log(), originals_[3]).error().code, ErrorCode::kDisk);
    EXPECT_EQ(log().damage(), damage);
    EXPECT_EQ(read_all(log()).error().code, ErrorCode::kDisk);
    EXPECT_EQ(log().damage(), damage) << "no more than before";
    disk_.set_read_fault(nullptr);
    ASSERT_TRUE(repair(log(), originals_[3]));
    const auto all = read_all(log());
    ASSERT_TRUE(all) << all.error().message;
    EXPECT_EQ(all->size(), 10u);
}

// A snapshot that cannot be read for a moment knows more than the segments do: the start fails, and is tried again.
TEST_F(StorageDamageTest, AStartThatCannotReadASnapshotFails) {
    ten_records();
    ASSERT_TRUE(flush());
    crash(FakeDisk::Crash::kProcess);
    disk_.set_read_fault([](const std::string& path) -> Result<void> {
        if (path.find("/tail.") == std::string::npos && path.find(".tables") == std::string::npos) return {};
        return protocol::fail(ErrorCode::kDisk, "Input/output error");
    });
    const auto opened = Store::open(disk_, options_, quiet());
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kDisk);
    disk_.crash(FakeDisk::Crash::kProcess);
    disk_.set_read_fault(nullptr);
    open();
    EXPECT_EQ(log().log_end(), Offset(10));
}

TEST_F(StorageDamageTest, DamageAtTheEndIsRepairedFromAPeer) {
    ten_records();
    crash(FakeDisk::Crash::kProcess);
    disk_.flip(kSegment, (position(8) + 60) * 8);
    disk_.flip(kSegment, (position(9) + 60) * 8);
    open();
    ASSERT_TRUE(log().damage());
    EXPECT_EQ(log().damage()->from, Offset(8));
    EXPECT_EQ(log().log_end(), Offset(8));
    EXPECT_EQ(log().append(make_batch({Offset(8), ViewNumber(9)}), kAppended).error().code, ErrorCode::kCorrupt);
    // Damage stays known when the machine goes down before it is repaired.
    ASSERT_TRUE(flush());
    reopen_after(FakeDisk::Crash::kMachine);
    ASSERT_TRUE(log().damage());
    const auto repaired = repair(log(), concat({originals_[8], originals_[9]}));
    ASSERT_TRUE(repaired) << repaired.error().message;
    EXPECT_FALSE(log().damage());
    EXPECT_EQ(log().log_end(), Offset(10));
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_FALSE(log().damage());
    EXPECT_EQ(read_all(log())->size(), 10u);
    expect_beginning(log());
}

TEST_F(StorageDamageTest, TruncateGivesDamageUp) {
    ten_records();
    crash(FakeDisk::Crash::kProcess);
    disk_.flip(kSegment, (position(8) + 60) * 8);
    open();
    ASSERT_TRUE(log().damage());
    ASSERT_TRUE(truncate(log(), 8));
    EXPECT_FALSE(log().damage());
    append(log(), 4, ViewNumber(9));
    ASSERT_TRUE(flush());
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_FALSE(log().damage());
    EXPECT_EQ(log().log_end(), Offset(12));
}

// The middle is mended, the end given up: what the middle held was not in the tables until now.
TEST_F(StorageDamageTest, TruncateBehindMendedDamageMakesTheTablesWhole) {
    open();
    append(log(), 4, ViewNumber(3));
    append(log(), 6, ViewNumber(4));
    ASSERT_TRUE(flush());
    originals_ = *read_all(log());
    crash(FakeDisk::Crash::kProcess);
    disk_.flip(kSegment, (position(4) + 60) * 8);
    disk_.flip(kSegment, (position(9) + 60) * 8);
    open();
    ASSERT_EQ(log().damages().size(), 2u);
    ASSERT_TRUE(repair(log(), originals_[4]));
    ASSERT_EQ(log().damages().size(), 1u);
    EXPECT_EQ(log().epochs().view_at(Offset(4)), ViewNumber(4)) << "nothing before the end is unknown any more";
    ASSERT_TRUE(truncate(log(), 9));
    EXPECT_FALSE(log().damage());
    EXPECT_EQ(log().epochs().view_at(Offset(4)), ViewNumber(4));
    EXPECT_EQ(log().log_end(), Offset(9));
}

// The end is mended, and the tables are made again: only that reads the beginning, which has rotted, too.
TEST_F(StorageDamageTest, DamageThatIsMetWhileTablesAreMadeIsNotLeftOutOfThem) {
    options_.segment_bytes = 600;
    open();
    append(log(), 2, ViewNumber(3));
    append(log(), 2, ViewNumber(4));
    append(log(), 6, ViewNumber(5));
    ASSERT_TRUE(flush());
    originals_ = *read_all(log());
    const auto segment_of = [this](Offset at) {
        std::string found;
        for (const std::string& file : disk_.files())
            if (file.starts_with(kDir) && file.ends_with(".log") &&
                file <= fmt::format("{}/{:020}.log", kDir, at.value))
                found = file;
        return found;
    };
    close();
    const std::string last = segment_of(Offset(9));
    ASSERT_NE(last, kSegment);
    std::vector<std::byte> content = disk_.content(last);
    content[content.size() - entry_bytes(9) - 5] ^= std::byte{1};
    disk_.put(last, content);
    disk_.resize(kSegment, position(1));
    for (const char* slot : {"/tail.0", "/tail.1"}) disk_.remove(kDir + slot);
    open();
    ASSERT_EQ(log().damage(), (DamageRange{Offset(8), Offset(9)}));
    EXPECT_FALSE(log().tables_are_whole());
    ASSERT_TRUE(repair(log(), originals_[8]));
    ASSERT_TRUE(log().damage());
    EXPECT_EQ(log().damage()->from, Offset(1));
    while (const auto damage = log().damage())
        ASSERT_TRUE(repair(log(), originals_[static_cast<std::size_t>(damage->from.value)]));
    EXPECT_TRUE(log().tables_are_whole());
    EXPECT_EQ(log().epochs().view_at(Offset(1)), ViewNumber(3));
    EXPECT_EQ(log().epochs().view_at(Offset(3)), ViewNumber(4));
}

TEST_F(StorageDamageTest, ALostFileIsDamage) {
    options_.segment_bytes = 300;
    open();
    for (int i = 0; i < 20; ++i) {
        append(log(), 1);
        ASSERT_TRUE(flush());
    }
    close();
    std::string second;
    for (const std::string& file : disk_.files()) {
        if (file.starts_with(kDir) && file.ends_with(".log") && file != kSegment && second.empty()) second = file;
    }
    ASSERT_FALSE(second.empty());
    disk_.remove(second);
    open();
    for (const char* slot : {"/tail.0", "/tail.1"}) disk_.remove(kDir + slot);
    for (const std::string& file : disk_.files()) {
        if (file.ends_with(".tables")) disk_.remove(file);
    }
    reopen_after(FakeDisk::Crash::kMachine);
    ASSERT_TRUE(log().damage());
    EXPECT_EQ(log().log_end(), Offset(20));
}

TEST_F(StorageDamageTest, RotInAClosedSegmentIsFoundByTheReadAndDoesNotHideTheRest) {
    options_.segment_bytes = 1000;
    options_.cache_bytes = 0;
    open();
    append(log(), 50);
    ASSERT_TRUE(flush());
    disk_.flip(kSegment, 300 * 8);
    int damaged = 0;
    for (int at = 0; at < 50; ++at) {
        const auto one = read(log(), at, {}, 1);
        if (one) {
            ASSERT_FALSE(one->empty());
            EXPECT_EQ(protocol::BatchView::parse((*one)[0])->base_offset(), Offset(at));
        } else {
            EXPECT_EQ(one.error().code, ErrorCode::kCorrupt);
            ++damaged;
        }
    }
    EXPECT_EQ(damaged, 1);
    ASSERT_TRUE(log().damage());
    append(log(), 1);  // the tables know all of it, so the log goes on
    ASSERT_TRUE(flush());
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_TRUE(log().damage());
}

TEST_F(StorageDamageTest, AnEntryOfAnotherStreamIsNotTaken) {
    ten_records();
    crash(FakeDisk::Crash::kProcess);
    disk_.put("/data/streams/0000000000001234-0/00000000000000000000.log", {});
    open();
    StreamLog& other = log(StreamId{protocol::TopicId{9}, 0});
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(other.append(originals_[static_cast<std::size_t>(i)], kAppended));
    ASSERT_TRUE(flush());
    crash(FakeDisk::Crash::kMachine);
    disk_.put(kSegment, disk_.content("/data/streams/0000000000000009-0/00000000000000000000.log"));
    for (const char* slot : {"/tail.0", "/tail.1"}) disk_.remove(kDir + slot);
    open();
    EXPECT_EQ(log().log_end(), Offset(0));
}

// The end of a log that rests is known: its last record rots, the power goes, and it is no torn tail.
TEST_F(StorageDamageTest, TheLastRecordOfALogThatRestsIsNotTakenForATornTail) {
    ten_records();
    for (const int second : {1, 5, 12}) {
        store_->tick(protocol::TimePoint(std::chrono::seconds(second)));
        disk_.run();
    }
    disk_.flip(kSegment, disk_.content(kSegment).size() * 8 - 1);
    crash(FakeDisk::Crash::kMachine);
    open();
    EXPECT_EQ(log().log_end(), Offset(10));
    expect_beginning(log());
    ASSERT_TRUE(log().damage());
    EXPECT_EQ(log().damage()->from, Offset(9));
}

// A segment's tables follow from the records before it.
TEST_F(StorageDamageTest, TablesThatRotAreMadeAgainWhenTheyAreNeeded) {
    options_.segment_bytes = 600;
    ten_records();
    for (std::int64_t to = 9; to > 0; --to) {
        close();
        for (const std::string& path : disk_.files())
            if (path.ends_with(".tables")) disk_.flip(path, 8 * 30);
        open();
        ASSERT_TRUE(await([&](FlushCallback done) { log().truncate(Offset(to), std::move(done)); })) << to;
        EXPECT_EQ(log().log_end(), Offset(to));
        EXPECT_EQ(log().epochs().last_view(), ViewNumber(3));
        EXPECT_EQ(read_all(log())->size(), static_cast<std::size_t>(to));
    }
}

TEST_F(StorageDamageTest, AClosedSegmentThatIsCutToNothingIsFoundByTheRead) {
    options_.segment_bytes = 600;
    ten_records();
    close();
    disk_.put(kSegment, {});
    open();
    const auto gone = read(log(), 0);
    ASSERT_FALSE(gone);
    EXPECT_EQ(gone.error().code, ErrorCode::kCorrupt);
    ASSERT_TRUE(log().damage());
    EXPECT_EQ(log().damage()->from, Offset(0));
}

TEST_F(StorageDamageTest, AnEntryOfAnOlderViewIsDamage) {
    ten_records();
    crash(FakeDisk::Crash::kProcess);
    std::vector<std::byte> file = disk_.content(kSegment);
    // What stood there before a view change, and is sound in itself.
    Bytes old = Bytes::copy_of(originals_[5].span());
    protocol::assign(old, Offset(5), ViewNumber(2));
    std::byte* at = file.data() + position(5);
    encode_entry_header(at, {Offset(5), static_cast<std::uint32_t>(old.size()), ViewNumber(2), Offset(5)},
                        stream_seed(kStream));
    std::ranges::copy(old.span(), at + kEntryHeaderBytes);
    disk_.put(kSegment, file);
    for (const char* slot : {"/tail.0", "/tail.1"}) disk_.remove(kDir + slot);
    open();
    EXPECT_EQ(log().damage(), (DamageRange{Offset(5), Offset(6)}));
    EXPECT_EQ(log().log_end(), Offset(10));
    expect_beginning(log());
}

TEST_F(StorageDamageTest, AnEntryOfTheNextSegmentIsNotTaken) {
    options_.segment_bytes = 600;
    ten_records();
    crash(FakeDisk::Crash::kProcess);
    // The file system has mixed them up: the first segment holds the second's blocks.
    const std::vector<std::string> files = disk_.files();
    std::vector<std::string> segments;
    std::ranges::copy_if(files, std::back_inserter(segments), [](const auto& f) { return f.ends_with(".log"); });
    ASSERT_GE(segments.size(), 2u);
    disk_.put(segments[0], disk_.content(segments[1]));
    for (const std::string& file : files)
        if (file.starts_with(kDir) && !file.ends_with(".log")) disk_.remove(file);
    open();
    ASSERT_TRUE(log().damage());
    EXPECT_EQ(log().damage()->from, Offset(0));
    EXPECT_EQ(log().log_end(), Offset(10));
    expect_beginning(log());
    close();
    open();
    EXPECT_EQ(log().log_end(), Offset(10));
}

TEST_F(StorageDamageTest, JunkBehindTheLastEntryOfAClosedSegmentHidesNothing) {
    options_.segment_bytes = 600;
    ten_records();
    crash(FakeDisk::Crash::kProcess);
    std::vector<std::byte> file = disk_.content(kSegment);
    file.resize(file.size() + 100, std::byte{0x5a});
    disk_.put(kSegment, file);
    for (const std::string& path : disk_.files())
        if (path.starts_with(kDir) && !path.ends_with(".log")) disk_.remove(path);
    for (int start = 0; start < 2; ++start) {
        open();
        EXPECT_EQ(log().log_end(), Offset(10));
        EXPECT_EQ(read_all(log())->size(), 10u);
        EXPECT_TRUE(log().tables_are_whole());
        close();
    }
}

}  // namespace
}  // namespace logstream::storage
