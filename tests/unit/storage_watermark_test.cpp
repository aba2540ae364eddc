// High watermarks, and the word of the format, across restarts.
#include <gmock/gmock.h>

#include "tests/unit/storage_testing.h"

namespace logstream::storage {
namespace {

constexpr protocol::ClusterId kLineage{7};

using FormatTest = StoreFixture;

class WatermarkTest : public StoreFixture {
protected:
    void save(std::int64_t offset) {
        store_->save_watermarks(kLineage, {{kStream, Offset(offset)}});
        disk_.run();
    }
};

TEST_F(WatermarkTest, OutliveTheProcessAndTheMachine) {
    open();
    append(log(), 10);
    ASSERT_TRUE(flush());
    EXPECT_EQ(store_->watermark(kLineage, kStream), Offset(0));
    save(7);
    reopen_after(FakeDisk::Crash::kProcess);
    EXPECT_EQ(store_->watermark(kLineage, kStream), Offset(7));
    reopen_after(FakeDisk::Crash::kMachine);
    EXPECT_EQ(store_->watermark(kLineage, kStream), Offset(7));
    EXPECT_EQ(store_->watermark(kLineage, {protocol::TopicId{99}, 0}), Offset(0));
}

// A broker that joins another cluster keeps no records, and finds a stream of the same name there.
TEST_F(WatermarkTest, OfAnotherLineageTellNothing) {
    open();
    append(log(), 10);
    ASSERT_TRUE(flush());
    save(7);
    reopen_after(FakeDisk::Crash::kProcess);
    EXPECT_EQ(store_->watermark(protocol::ClusterId{8}, kStream), Offset(0));
    EXPECT_EQ(store_->watermark(kLineage, kStream), Offset(7));
}

// Other records may take the place of those that are gone: what the file said of them must not come back.
TEST_F(WatermarkTest, AreNeverAboveALogThatLostItsEnd) {
    open();
    append(log(), 10);
    ASSERT_TRUE(flush());
    save(10);
    ASSERT_TRUE(truncate(log(), 4));
    reopen_after(FakeDisk::Crash::kProcess);
    EXPECT_EQ(store_->watermark(kLineage, kStream), Offset(4));
    append(log(), 10);
    ASSERT_TRUE(flush());
    reopen_after(FakeDisk::Crash::kProcess);
    EXPECT_EQ(store_->watermark(kLineage, kStream), Offset(4));
}

TEST_F(WatermarkTest, OfADamagedFileTellNothing) {
    open();
    append(log(), 10);
    ASSERT_TRUE(flush());
    save(7);
    crash(FakeDisk::Crash::kProcess);
    disk_.flip("/data/watermarks", 200);
    open();
    EXPECT_EQ(store_->watermark(kLineage, kStream), Offset(0));
}

// All brokers may have lost some that were committed before they were flushed.
TEST_F(WatermarkTest, BindNobodyWhereRecordsAreAcknowledgedUnflushed) {
    options_.fsync = FsyncPolicy::kNever;
    open();
    append(log(), 10);
    ASSERT_TRUE(flush());
    save(7);
    reopen_after(FakeDisk::Crash::kProcess);
    EXPECT_EQ(store_->watermark(kLineage, kStream), Offset(0));
}

TEST_F(FormatTest, ADirectoryIsRefusedToOlderPrograms) {
    options_.known_format = 3;
    open();
    append(log(), 10);
    ASSERT_TRUE(flush());
    store_->raise_format(2);
    store_->raise_format(1);
    disk_.run();
    crash(FakeDisk::Crash::kMachine);
    options_.known_format = 1;
    const auto refused = Store::open(disk_, options_, quiet());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kConfig);
    EXPECT_THAT(refused.error().message, testing::HasSubstr("version 2"));
    disk_.crash(FakeDisk::Crash::kProcess);
    options_.known_format = 2;
    open();
    EXPECT_EQ(log().log_end(), Offset(10));
}

// A folder is not lost to one byte that went bad.
TEST_F(FormatTest, ADamagedWordOfItTellsNothing) {
    options_.known_format = 2;
    open();
    append(log(), 10);
    ASSERT_TRUE(flush());
    store_->raise_format(2);
    disk_.run();
    crash(FakeDisk::Crash::kProcess);
    disk_.flip("/data/format", 130);
    options_.known_format = 1;
    open();
    EXPECT_EQ(log().log_end(), Offset(10));
}

}  // namespace
}  // namespace logstream::storage
