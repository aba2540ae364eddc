// Room behind the last entry of a segment: never taken for an entry, for damage or for the end of one.
#include <gmock/gmock.h>

#include "internal/storage/room.h"
#include "internal/storage/segment_scan.h"
#include "tests/unit/storage_testing.h"

namespace logstream::storage {
namespace {

constexpr std::size_t kRoom = 5000;

// Three entries and the room behind them.
class RoomScanTest : public ::testing::Test {
protected:
    RoomScanTest() {
        for (int i = 0; i < 3; ++i) {
            const Bytes batch = make_batch({Offset(i)});
            Bytes header = Bytes::allocate(kEntryHeaderBytes);
            encode_entry_header(header.mutable_data(),
                                {Offset(i), static_cast<std::uint32_t>(batch.size()), ViewNumber(1), Offset(0)}, seed_);
            begins_.push_back(size());
            bytes_.append(header.view());
            bytes_.append(batch.view());
        }
    }
    std::size_t size() const { return bytes_.size(); }
    // Of the first `kept` bytes with room behind them, `flipped` bits being wrong.
    SegmentScan scan(std::size_t kept, std::initializer_list<std::size_t> flipped = {}) const {
        const Bytes behind = room(kPosition + kept, kRoom);
        Bytes data = Bytes::copy_of(bytes_.substr(0, kept) + std::string(behind.view()));
        for (const std::size_t bit : flipped) data.mutable_data()[bit / 8] ^= std::byte{1} << (bit % 8);
        return scan_segment(data, kPosition, Offset(0), seed_);
    }

    static constexpr std::uint64_t kPosition = 4099;
    const std::uint32_t seed_ = stream_seed(kStream);
    std::string bytes_;
    std::vector<std::size_t> begins_;
};

TEST_F(RoomScanTest, ItIsTheEndOfTheSegment) {
    const SegmentScan all = scan(size());
    EXPECT_TRUE(all.gaps.empty());
    EXPECT_EQ(all.end, Offset(3));
    EXPECT_EQ(all.end_position, kPosition + size());
    EXPECT_EQ(all.room_position, kPosition + size());
    const SegmentScan empty = scan(0);
    EXPECT_TRUE(empty.gaps.empty());
    EXPECT_EQ(empty.end_position, kPosition);
}

TEST_F(RoomScanTest, AnEntryIsCutOffWhereItBegins) {
    for (std::size_t kept = begins_[2] + 1; kept < size(); ++kept) {
        const SegmentScan torn = scan(kept);
        EXPECT_EQ(torn.end, Offset(2));
        EXPECT_EQ(torn.end_position, kPosition + begins_[2]);
        // A few bytes of a header are taken for flipped bits of room: the next entry goes there in either case.
        if (kept - begins_[2] <= kEntryHeaderBytes / 4) continue;
        ASSERT_TRUE(torn.ends_in_gap()) << kept;
        EXPECT_EQ(torn.gaps[0].why, EntryStatus::kShort) << kept;
    }
}

TEST_F(RoomScanTest, ABrokenEntryBeforeItIsNotTakenForACutOffOne) {
    for (std::size_t bit = begins_[2] * 8; bit < size() * 8; ++bit) {
        const SegmentScan broken = scan(size(), {bit});
        ASSERT_TRUE(broken.ends_in_gap()) << bit;
        EXPECT_EQ(broken.gaps[0].from, Offset(2));
        EXPECT_EQ(broken.gaps[0].why, EntryStatus::kBad) << bit;
    }
}

TEST_F(RoomScanTest, ItsOwnFlippedBitsDoNotMatter) {
    for (std::size_t byte = size(); byte < size() + 100; ++byte) {
        const SegmentScan flipped = scan(size(), {byte * 8 + byte % 8, size() * 8 + 77});
        EXPECT_TRUE(flipped.gaps.empty()) << byte;
        EXPECT_EQ(flipped.end, Offset(3));
    }
}

TEST_F(RoomScanTest, WhatIsNoRoomIsDamage) {
    const Bytes zeros = Bytes::copy_of(bytes_ + std::string(kRoom, '\0'));
    EXPECT_TRUE(scan_segment(zeros, kPosition, Offset(0), seed_).ends_in_gap());
    // Room of another place is not that of this one.
    const Bytes elsewhere = Bytes::copy_of(bytes_ + std::string(room(kPosition + size() + 1, kRoom).view()));
    EXPECT_TRUE(scan_segment(elsewhere, kPosition, Offset(0), seed_).ends_in_gap());
}

class RoomTest : public StoreFixture {
protected:
    std::uint64_t file_size(const std::string& path) const { return disk_.content(path).size(); }
    // Records one by one, each flushed, as when every one is waited for.
    void append_slowly(int count) {
        for (int i = 0; i < count; ++i) {
            append(log(), 1);
            ASSERT_TRUE(flush());
        }
    }
    void expect_all(int records) {
        ASSERT_EQ(log().log_end(), Offset(records));
        EXPECT_FALSE(store_->damaged());
        const auto all = read_all(log());
        ASSERT_TRUE(all) << all.error().message;
        EXPECT_EQ(all->size(), static_cast<std::size_t>(records));
    }
};

TEST_F(RoomTest, IsMadeWhileLittleWaitsAndStaysInUseAfterARestart) {
    open();
    append_slowly(60);
    const std::uint64_t size = file_size(kSegment);
    ASSERT_GT(size, log().size_bytes());
    EXPECT_LE(size, log().size_bytes() * 2);
    for (int restart = 0; restart < 3; ++restart) {
        restart == 0 ? close() : crash(restart == 1 ? FakeDisk::Crash::kProcess : FakeDisk::Crash::kMachine);
        open();
        expect_all(60 + restart);
        append_slowly(1);
        EXPECT_EQ(file_size(kSegment), size);
    }
}

TEST_F(RoomTest, IsNotMadeWhileMuchWaits) {
    open();
    const std::string large(1000, 'x');
    append(log(), 200, ViewNumber(1), large);
    append(log(), 200, ViewNumber(1), large);
    ASSERT_TRUE(flush());
    EXPECT_LT(file_size(kSegment), log().size_bytes() + log().size_bytes() / 3);
}

TEST_F(RoomTest, IsGivenBackWhenTheSegmentIsClosed) {
    options_.segment_bytes = 10'000;
    open();
    append_slowly(200);
    std::vector<std::string> segments;
    for (const std::string& path : disk_.files())
        if (path.ends_with(".log")) segments.push_back(path);
    ASSERT_GT(segments.size(), 2u);
    std::uint64_t closed = 0;
    for (const std::string& path : segments)
        if (path != segments.back()) closed += file_size(path);
    EXPECT_LT(closed, log().size_bytes());
    for (const auto kind : {FakeDisk::Crash::kProcess, FakeDisk::Crash::kMachine}) {
        reopen_after(kind);
        expect_all(200);
    }
}

// The machine stops between the begin of a segment and the cut of the one before.
TEST_F(RoomTest, ThatAClosedSegmentKeptIsGivenBackAtTheStart) {
    options_.segment_bytes = 10'000;
    open();
    append_slowly(200);
    crash(FakeDisk::Crash::kMachine);
    for (const char* slot : {"/tail.0", "/tail.1"}) disk_.remove(kDir + slot);
    auto content = disk_.content(kSegment);
    const std::uint64_t size = content.size();
    const Bytes behind = room(size, kRoom);
    content.insert(content.end(), behind.span().begin(), behind.span().end());
    disk_.put(kSegment, content);
    for (const std::string& path : disk_.files())
        if (path.ends_with(".tables")) disk_.remove(path);
    open();
    expect_all(200);
    EXPECT_EQ(file_size(kSegment), size);
}

// A power cut can lose the begin of a write and keep what comes after it. An entry that goes there later and is itself
// cut off would end in that, and look like one that was whole.
TEST_F(RoomTest, WhatAPowerCutLeftInItIsCutOff) {
    open();
    append_slowly(60);
    const std::uint64_t size = log().size_bytes();
    crash(FakeDisk::Crash::kMachine);
    auto content = disk_.content(kSegment);
    ASSERT_GT(content.size(), size + 300);
    const auto end = content.begin() + static_cast<std::ptrdiff_t>(size);
    std::fill(end + 100, end + 300, std::byte{'j'});
    disk_.put(kSegment, content);
    open();
    expect_all(60);

    content = disk_.content(kSegment);
    append(log(), 1, ViewNumber(1), std::string(100, 'x'));
    ASSERT_TRUE(flush());
    crash(FakeDisk::Crash::kProcess);
    const auto entry = disk_.content(kSegment);
    constexpr std::size_t kWritten = 80;
    content.resize(std::max(content.size(), size + kWritten));
    std::copy_n(entry.begin() + static_cast<std::ptrdiff_t>(size), kWritten,
                content.begin() + static_cast<std::ptrdiff_t>(size));
    disk_.put(kSegment, content);
    open();
    expect_all(60);
}

TEST_F(RoomTest, DoesNotComeBackBehindACut) {
    open();
    append_slowly(50);
    ASSERT_TRUE(truncate(log(), 20));
    EXPECT_EQ(file_size(kSegment), log().size_bytes());
    append_slowly(10);
    reopen_after(FakeDisk::Crash::kMachine);
    expect_all(30);
}

}  // namespace
}  // namespace logstream::storage
