// What a node has promised, on disk: there as a whole, or known to be lost.
#include <gmock/gmock.h>

#include "tests/unit/storage_testing.h"

namespace logstream::storage {
namespace {

class StateFileTest : public StoreFixture {};

TEST_F(StateFileTest, AStateFileTornOrFlippedAnywhereIsReported) {
    open();
    ASSERT_TRUE(save_state("promised 7"));
    crash(FakeDisk::Crash::kProcess);
    const auto whole = disk_.content("/data/state.1");
    for (std::size_t size = 0; size < whole.size(); ++size) {
        disk_.put("/data/state.1", {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)});
        open();
        EXPECT_TRUE(store_->state_damaged()) << size;
        EXPECT_FALSE(store_->state());
        crash(FakeDisk::Crash::kProcess);
    }
    for (std::uint64_t bit = 0; bit < whole.size() * 8; ++bit) {
        disk_.put("/data/state.1", whole);
        disk_.flip("/data/state.1", bit);
        open();
        EXPECT_TRUE(store_->state_damaged()) << bit;
        crash(FakeDisk::Crash::kProcess);
    }
}

// What was promised since would be forgotten without a trace.
TEST_F(StateFileTest, AStateFileOfAnOlderMomentIsReported) {
    open();
    ASSERT_TRUE(save_state("promised 7"));
    const auto older = disk_.content("/data/state.1");
    ASSERT_TRUE(save_state("promised 8"));
    ASSERT_TRUE(save_state("promised 9"));
    const auto files = disk_.files();
    EXPECT_EQ(std::ranges::count(files, "/data/state.1"), 0) << "old ones go";
    crash(FakeDisk::Crash::kMachine);
    open();
    ASSERT_TRUE(store_->state());
    EXPECT_EQ(store_->state()->view(), "promised 9");
    crash(FakeDisk::Crash::kProcess);
    disk_.put("/data/state.3", older);
    open();
    EXPECT_TRUE(store_->state_damaged());
    EXPECT_FALSE(store_->state());
}

// A promise waits for no record: a group may take seconds where ten thousand streams are written.
TEST_F(StateFileTest, AStateIsSavedBesideAGroupThatIsUnderWay) {
    open();
    append(log(), 1);
    bool flushed = false;
    bool saved = false;
    store_->flush([&](const Result<void>& done) { flushed = done.has_value(); });
    store_->save_state(Bytes::copy_of("promised 7"), [&](const Result<void>& done) { saved = done.has_value(); });
    while (disk_.step(FakeDisk::Lane::kBeside) || disk_.step(FakeDisk::Lane::kPost)) {
    }
    EXPECT_TRUE(saved);
    EXPECT_FALSE(flushed);
    disk_.run();
    EXPECT_TRUE(flushed);
}

// A save that fails for want of room takes nothing away.
TEST_F(StateFileTest, AFullDiskKeepsTheStateThatIsThere) {
    open();
    ASSERT_TRUE(save_state("promised 7"));
    disk_.set_capacity(disk_.capacity_bytes() - disk_.free_bytes());
    for (int attempt = 0; attempt < 3; ++attempt) EXPECT_FALSE(save_state("promised 8"));
    crash(FakeDisk::Crash::kMachine);
    disk_.set_capacity(1ull << 40);
    open();
    ASSERT_TRUE(store_->state());
    EXPECT_EQ(store_->state()->view(), "promised 7");
}

TEST_F(StateFileTest, StreamsWithoutAStateFileAreReported) {
    open();
    append(log(), 10, ViewNumber(3));
    ASSERT_TRUE(flush());
    reopen_after(FakeDisk::Crash::kProcess);
    EXPECT_TRUE(store_->state_damaged());
}

}  // namespace
}  // namespace logstream::storage
