// The real disk: operations on a temporary directory, errors with their reasons, and a store on it from start to
// restart.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <mutex>
#include <thread>

#include "internal/storage/posix_disk.h"
#include "tests/unit/storage_testing.h"

namespace logstream::storage {
namespace {

using ::testing::HasSubstr;

// An event loop: tasks posted from any thread run where `run_until` is called.
class Loop {
public:
    PosixDisk::Post post() {
        return [this](std::move_only_function<void()> task) {
            {
                const std::lock_guard lock(mutex_);
                tasks_.push_back(std::move(task));
            }
            wake_.notify_one();
        };
    }
    void run_until(const std::function<bool()>& done) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        std::unique_lock lock(mutex_);
        while (!done()) {
            ASSERT_TRUE(wake_.wait_until(lock, deadline, [this] { return !tasks_.empty(); }))
                << "nothing happened in time";
            auto task = std::move(tasks_.front());
            tasks_.pop_front();
            lock.unlock();
            task();
            task = nullptr;
            lock.lock();
        }
    }

private:
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::move_only_function<void()>> tasks_;
};

class PosixDiskTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string pattern = (std::filesystem::temp_directory_path() / "logstream-disk-XXXXXX").string();
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        dir_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(dir_); }

    GroupResult submit(Disk& disk, std::vector<DiskOp> ops) {
        std::optional<GroupResult> result;
        disk.submit(std::move(ops), [&](GroupResult r) { result = std::move(r); });
        loop_.run_until([&] { return result.has_value(); });
        return std::move(*result);
    }
    Result<Bytes> read(Disk& disk, const std::string& path, std::uint64_t position, std::size_t length) {
        std::optional<Result<Bytes>> result;
        disk.read(path, position, length, [&](Result<Bytes> r) { result = std::move(r); });
        loop_.run_until([&] { return result.has_value(); });
        return std::move(*result);
    }
    static Bytes text(std::string_view t) { return Bytes::copy_of(t); }
    void write_files_with_descriptors(std::size_t files, rlim_t limit);

    Loop loop_;
    std::string dir_;
};

TEST_F(PosixDiskTest, WritesPiecesCutsRenamesAndReadsBack) {
    PosixDisk disk(loop_.post());
    const std::string a = dir_ + "/a";
    const std::string b = dir_ + "/b";
    auto result = submit(disk, {CreateOp{a}, WriteOp{a, 0, {text("hello "), text(""), text("world")}},
                                WriteOp{a, 6, {text("W")}}, SyncOp{{a}, {dir_}}});
    ASSERT_TRUE(result.status) << result.status.error().message;
    EXPECT_EQ(read(disk, a, 0, 100)->view(), "hello World");
    EXPECT_EQ(read(disk, a, 6, 3)->view(), "Wor");
    EXPECT_TRUE(read(disk, a, 50, 3)->empty());
    ASSERT_TRUE(submit(disk, {TruncateOp{a, 5}, RenameOp{a, b}, RenameOp{a, b}, RemoveOp{dir_ + "/nothing"}}).status);
    EXPECT_EQ(read(disk, b, 0, 100)->view(), "hello");
    EXPECT_EQ(read(disk, a, 0, 100).error().code, ErrorCode::kInvalid);
    ASSERT_TRUE(submit(disk, {ReplaceOp{b, {text("new")}}}).status);
    EXPECT_EQ(read(disk, b, 0, 100)->view(), "new");
    ASSERT_TRUE(
        submit(disk, {MakeDirOp{dir_ + "/d"}, MakeDirOp{dir_ + "/d"}, WriteOp{dir_ + "/d/x", 3, {text("x")}}}).status);
    EXPECT_EQ(disk.list(dir_ + "/d")->front(), (DirEntry{"x", 4, false}));
    ASSERT_TRUE(submit(disk, {RemoveOp{dir_ + "/d/x"}, RemoveOp{dir_ + "/d"}}).status);
    EXPECT_EQ(disk.list(dir_)->size(), 1u);
    EXPECT_TRUE(disk.list(dir_ + "/none")->empty());
}

TEST_F(PosixDiskTest, ManyPiecesAndManyFiles) {
    PosixDisk disk(loop_.post());
    ASSERT_TRUE(disk.lock(dir_));
    std::vector<DiskOp> ops;
    SyncOp sync{{}, {dir_}};
    std::string expected;
    for (int f = 0; f < 400; ++f) {
        const std::string path = dir_ + "/f" + std::to_string(f);
        WriteOp write{path, 0, {}};
        expected.clear();
        for (int i = 0; i < 1000; ++i) {
            write.pieces.push_back(text(std::to_string(i * f)));
            expected += std::to_string(i * f);
        }
        ops.emplace_back(std::move(write));
        sync.files.push_back(path);
    }
    ops.emplace_back(std::move(sync));
    ASSERT_TRUE(submit(disk, std::move(ops)).status);
    EXPECT_EQ(read(disk, dir_ + "/f399", 0, 1u << 20)->view(), expected);
    EXPECT_GT(disk.free_bytes(), 0u);
    EXPECT_GE(disk.capacity_bytes(), disk.free_bytes());
}

TEST_F(PosixDiskTest, AnErrorNamesPathAndReasonAndTheRestIsGivenBack) {
    PosixDisk disk(loop_.post());
    const std::string good = dir_ + "/good";
    const std::string bad = dir_ + "/none/bad";
    const GroupResult result =
        submit(disk, {WriteOp{good, 0, {text("x")}}, WriteOp{bad, 0, {text("y")}}, SyncOp{{good}, {}}});
    ASSERT_FALSE(result.status);
    EXPECT_EQ(result.status.error().code, ErrorCode::kDisk);
    EXPECT_THAT(result.status.error().message, HasSubstr(bad));
    EXPECT_THAT(result.status.error().message, HasSubstr("No such file"));
    ASSERT_EQ(result.rest.size(), 2u);
    EXPECT_EQ(std::get<WriteOp>(result.rest[0]).path, bad);
}

TEST_F(PosixDiskTest, AFullDiskIsToldApart) {
    if (!std::filesystem::exists("/dev/full")) GTEST_SKIP();
    PosixDisk disk(loop_.post());
    const std::string link = dir_ + "/full";
    std::filesystem::create_symlink("/dev/full", link);
    const GroupResult result = submit(disk, {WriteOp{link, 0, {text("x")}}});
    ASSERT_FALSE(result.status);
    EXPECT_EQ(result.status.error().code, ErrorCode::kDiskFull) << result.status.error().message;
}

TEST_F(PosixDiskTest, ASmallWriteWaitsForNoThreadAndOvertakesNothing) {
    PosixDisk disk(loop_.post());
    const std::string a = dir_ + "/a";
    bool told = false;
    disk.submit({WriteOp{a, 0, {text("first")}}}, [&](const GroupResult& r) { told = r.status.has_value(); });
    EXPECT_EQ(disk.read_now(a, 0, 100)->view(), "first");
    EXPECT_FALSE(told);  // no callback runs inside the call
    loop_.run_until([&] { return told; });

    std::string order;
    const auto note = [&](char c) { return [&order, c](const GroupResult& r) { order += r.status ? c : '!'; }; };
    const std::string large(8u << 20, 'x');
    disk.submit({WriteOp{a, 0, {text(large)}}, SyncOp{{a}, {}}}, note('1'));
    disk.submit({WriteOp{a, 0, {text("second")}}}, note('2'));
    disk.submit({WriteOp{a, 0, {text("third")}}}, note('3'));
    loop_.run_until([&] { return order.size() == 3; });
    EXPECT_EQ(order, "123");
    EXPECT_EQ(read(disk, a, 0, 7)->view(), "thirddx");
}

// What a removed file held is given back, though the reader had it open, and the name is free at once.
TEST_F(PosixDiskTest, ARemovedFileIsGivenBack) {
    PosixDisk disk(loop_.post());
    const std::string a = dir_ + "/a";
    const auto held_files = [&] {
        int count = 0;
        for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
            std::error_code gone;
            if (std::filesystem::read_symlink(entry, gone).string().starts_with(a)) ++count;
        }
        return count;
    };
    for (int round = 0; round < 3; ++round) {
        ASSERT_TRUE(submit(disk, {WriteOp{a, 0, {text(std::string(4u << 20, 'x'))}}, SyncOp{{a}, {}}}).status);
        EXPECT_EQ(read(disk, a, 0, 3)->view(), "xxx");
        EXPECT_GT(held_files(), 0);
        ASSERT_TRUE(submit(disk, {RemoveOp{a}}).status);
        EXPECT_FALSE(std::filesystem::exists(a));
    }
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (held_files() > 0 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    EXPECT_EQ(held_files(), 0);
}

// In one group, while the process may have so many files open.
void PosixDiskTest::write_files_with_descriptors(std::size_t files, rlim_t limit) {
    PosixDisk disk(loop_.post());
    ASSERT_TRUE(disk.lock(dir_));
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    rlimit few = before;
    few.rlim_cur = limit;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    std::vector<DiskOp> ops;
    SyncOp sync;
    for (std::size_t i = 0; i < files; ++i) {
        sync.files.push_back(dir_ + "/" + std::to_string(i));
        ops.emplace_back(WriteOp{sync.files.back(), 0, {text(std::to_string(i))}});
    }
    ops.emplace_back(std::move(sync));
    const GroupResult result = submit(disk, std::move(ops));
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    ASSERT_TRUE(result.status) << result.status.error().message;
    for (const std::size_t i : {std::size_t{0}, files - 1})
        EXPECT_EQ(read(disk, dir_ + "/" + std::to_string(i), 0, 10)->view(), std::to_string(i));
}

// As many topics as there are may be written to in one group.
TEST_F(PosixDiskTest, AGroupMayWriteToMoreFilesThanCanBeOpen) {
    write_files_with_descriptors(PosixDisk::kLeastWriteHandles * 3 / 2,
                                 PosixDisk::kLeastWriteHandles + PosixDisk::kLeastWriteHandles / 4);
}

// A process may be allowed fewer descriptors than its settings ask for.
TEST_F(PosixDiskTest, AGroupIsWrittenWhereDescriptorsRunOut) {
    constexpr rlim_t kLimit = 200;
    write_files_with_descriptors(PosixDisk::kLeastWriteHandles, kLimit);
}

// Of a file's bytes those that the kernel has in memory.
std::uint64_t cached_bytes(const std::string& path) {
    const auto size = static_cast<std::size_t>(std::filesystem::file_size(path));
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    ::close(fd);
    if (mapped == MAP_FAILED) return 0;
    std::vector<unsigned char> pages((size + page - 1) / page);
    EXPECT_EQ(::mincore(mapped, size, pages.data()), 0);
    ::munmap(mapped, size);
    return page * static_cast<std::uint64_t>(std::ranges::count_if(pages, [](unsigned char p) { return p & 1; }));
}

// A log doesn't push everything else out of memory, and what has not been flushed is not forgotten when it is.
TEST_F(PosixDiskTest, OnlyTheNewestOfWhatIsFlushedStaysInMemory) {
    struct statfs where{};
    ASSERT_EQ(::statfs(dir_.c_str(), &where), 0);
    if (where.f_type == TMPFS_MAGIC) GTEST_SKIP() << dir_ << " has nothing but memory";
    constexpr std::uint64_t kKeep = 2u << 20;
    constexpr std::uint64_t kWrite = 100'000;  // no whole pages
    constexpr std::uint64_t kWrites = 160;
    PosixDisk disk(loop_.post(), kKeep);
    const std::string a = dir_ + "/a";
    for (std::uint64_t i = 0; i < kWrites; ++i)
        ASSERT_TRUE(submit(disk, {WriteOp{a, i * kWrite, {text(std::string(kWrite, 'x'))}}}).status);
    EXPECT_GE(cached_bytes(a), kWrites * kWrite);

    ASSERT_TRUE(submit(disk, {SyncOp{{a}, {}}}).status);
    ASSERT_TRUE(submit(disk, {MakeDirOp{dir_ + "/next"}}).status);  // what the group before left to do is done
    EXPECT_GE(cached_bytes(a), kKeep);
    EXPECT_LE(cached_bytes(a), 2 * kKeep);
    EXPECT_EQ(read(disk, a, 0, kWrites * kWrite)->view(), std::string(kWrites * kWrite, 'x'));
}

TEST_F(PosixDiskTest, ADirectoryHasOneOwner) {
    const std::string dir = dir_ + "/deep/er";
    {
        PosixDisk first(loop_.post());
        ASSERT_TRUE(first.lock(dir));
        PosixDisk second(loop_.post());
        const auto refused = second.lock(dir);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::kExists);
        EXPECT_THAT(refused.error().message, HasSubstr(dir));
        EXPECT_THAT(refused.error().message, HasSubstr(std::to_string(::getpid())));
    }
    PosixDisk third(loop_.post());
    EXPECT_TRUE(third.lock(dir));
}

TEST_F(PosixDiskTest, BootIdStaysWhileTheMachineRuns) {
    PosixDisk disk(loop_.post());
    EXPECT_FALSE(disk.boot_id().empty());
    EXPECT_EQ(disk.boot_id(), PosixDisk(loop_.post()).boot_id());
}

class PosixStoreTest : public PosixDiskTest {
protected:
    void open() {
        disk_ = std::make_unique<PosixDisk>(loop_.post());
        StoreOptions options;
        options.dir = dir_ + "/data";
        options.segment_bytes = 4000;
        options.cache_bytes = 1000;
        auto store = Store::open(*disk_, options, quiet());
        ASSERT_TRUE(store) << store.error().message;
        store_ = std::move(*store);
    }
    void stop() {
        store_.reset();
        disk_.reset();
    }
    Result<void> await(const std::function<void(FlushCallback)>& start) {
        std::optional<Result<void>> result;
        start([&](Result<void> r) { result = std::move(r); });
        loop_.run_until([&] { return result.has_value(); });
        return *result;
    }
    void append_and_flush(int count) {
        StreamLog& l = **store_->create(kStream);
        for (int i = 0; i < count; ++i) ASSERT_TRUE(l.append(make_batch({l.log_end()}), kAppended));
        ASSERT_TRUE(await([&](FlushCallback done) { store_->flush(std::move(done)); }));
    }
    void expect_records(int count) {
        StreamLog& l = *store_->find(kStream);
        ASSERT_EQ(l.log_end(), Offset(count));
        for (Offset at; at < l.log_end();) {
            std::unique_ptr<Result<Batches>> result;
            l.read(at, l.log_end(), 1000,
                   [&](Result<Batches> r) { result = std::make_unique<Result<Batches>>(std::move(r)); });
            loop_.run_until([&] { return result != nullptr; });
            ASSERT_TRUE(*result) << result->error().message;
            ASSERT_FALSE((*result)->empty());
            for (const Bytes& batch : **result) {
                EXPECT_TRUE(same_bytes(batch, make_batch({at})));
                at += 1;
            }
        }
    }
    std::unique_ptr<PosixDisk> disk_;
    std::unique_ptr<Store> store_;
};

TEST_F(PosixStoreTest, RecordsSurviveAKilledProcessAndACleanStop) {
    open();
    append_and_flush(200);
    expect_records(200);
    stop();
    open();
    EXPECT_EQ(store_->last_stop(), LastStop::kProcess);
    expect_records(200);
    append_and_flush(50);
    ASSERT_TRUE(await([&](FlushCallback done) { store_->close(std::move(done)); }));
    stop();
    open();
    EXPECT_EQ(store_->last_stop(), LastStop::kClean);
    expect_records(250);
    StreamLog& l = *store_->find(kStream);
    ASSERT_TRUE(await([&](FlushCallback done) { l.truncate(Offset(90), std::move(done)); }));
    expect_records(90);
    append_and_flush(10);
    stop();
    open();
    expect_records(100);
    EXPECT_FALSE(store_->damaged());
}

}  // namespace
}  // namespace logstream::storage
