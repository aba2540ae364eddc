// The real disk: one thread writes and flushes, one does so for what must not wait for the first, one reads, one gives
// back what removed files held. The event loop waits
// for none of them; only a small write that is not flushed it makes itself, when nothing else is under way.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "internal/storage/disk.h"
#include "internal/storage/file_handles.h"
#include "internal/storage/written_pages.h"

namespace logstream::storage {

class PosixDisk final : public Disk {
public:
    // How many files are kept open at most, apart from a few others. Each stream has one that is written to; with more
    // streams than `write_handles`, any write may have to reopen its file.
    static constexpr std::size_t kLeastWriteHandles = 1024;
    static constexpr std::size_t kFewWriteHandles = 64;  // where the limit of descriptors is below what is needed
    static constexpr std::size_t kMostWriteHandles = 8192;
    static constexpr std::size_t kReadHandles = 128;
    static constexpr std::size_t kHeldFiles = 512;  // removed, their blocks not given back yet

    // Runs a task on the event loop; safe to call from any thread.
    using Post = std::function<void(std::move_only_function<void()>)>;

    // Completions that are posted after the PosixDisk is destroyed are the Post's to drop or run; they do no harm,
    // since a Store's callbacks know when it is gone. Of what has been written and flushed, the kernel's page cache
    // keeps `page_cache_bytes`, those written last.
    explicit PosixDisk(Post post, std::uint64_t page_cache_bytes = WrittenPages::kUnlimited,
                       std::size_t write_handles = kLeastWriteHandles);
    // Waits for what is under way, drops what is queued.
    ~PosixDisk() override;
    PosixDisk(const PosixDisk&) = delete;
    PosixDisk& operator=(const PosixDisk&) = delete;

    Result<void> lock(const std::string& dir) override;
    Result<std::vector<DirEntry>> list(const std::string& dir) override;
    Result<Bytes> read_now(const std::string& path, std::uint64_t position, std::size_t length) override;
    GroupResult run_now(std::vector<DiskOp> ops) override;
    std::string boot_id() override;
    void submit(std::vector<DiskOp> ops, GroupCallback callback) override;
    void submit_beside(std::vector<DiskOp> ops, GroupCallback callback) override;
    void read(const std::string& path, std::uint64_t position, std::size_t length, ReadCallback callback) override;
    void post(std::move_only_function<void()> task) override { post_(std::move(task)); }
    std::uint64_t free_bytes() override { return free_bytes_.load(std::memory_order_relaxed); }
    std::uint64_t capacity_bytes() override { return capacity_bytes_.load(std::memory_order_relaxed); }

private:
    using Clock = std::chrono::steady_clock;
    using Task = std::move_only_function<void()>;
    struct Lane {
        std::mutex mutex;
        std::condition_variable wake;
        std::deque<Task> tasks;
        bool stop{false};
        bool busy{false};
        std::thread thread;
        void add(Task task);
        // What it did before has happened before.
        bool idle();
        // Of the running task; over when the lane is to end.
        void pause(Clock::duration length);
        void run();
        void join();
    };

    bool may_write_here(const std::vector<DiskOp>& ops);
    GroupResult write_here(std::vector<DiskOp> ops);
    GroupResult run_beside(std::vector<DiskOp> ops);
    Result<void> replace_file(const ReplaceOp& op);
    GroupResult run_group(std::vector<DiskOp> ops);
    Result<void> run_op(const DiskOp& op);
    Result<void> flush_dirty();
    Result<int> open_to_change(const std::string& path, int flags);
    Result<void> run(const WriteOp& op);
    Result<void> run(const TruncateOp& op);
    Result<void> run(const CreateOp& op);
    Result<void> run(const MakeDirOp& op);
    Result<void> run(const RemoveOp& op);
    Result<void> run(const RenameOp& op);
    Result<void> run(const ReplaceOp& op);
    // kDisk: the locked directory was removed.
    Result<void> check_folder() const;
    Result<void> run(const SyncOp& op);
    Result<void> sync_file(const std::string& path);
    Result<void> sync_dir(const std::string& path);
    Result<void> write_pieces(int fd, const std::string& path, std::uint64_t position,
                              const std::vector<Bytes>& pieces);
    void forget(const std::string& path);
    void note_space();

    Post post_;
    std::string dir_;  // the locked one
    int lock_fd_{-1};
    std::atomic<std::uint64_t> free_bytes_{UINT64_MAX};
    std::atomic<std::uint64_t> capacity_bytes_{UINT64_MAX};
    bool syncfs_reports_errors_{false};
    std::atomic<std::size_t> held_{0};
    Clock::time_point not_here_until_;  // the loop's: a write that it made itself took long
    Clock::time_point noted_here_;
    FileHandles write_handles_;   // the writer thread's, or the caller's while that one is idle
    WrittenPages written_pages_;  // goes with them
    FileHandles read_handles_;    // the reader thread's
    Lane writer_;
    Lane beside_;
    Lane reader_;
    Lane cleaner_;
};

}  // namespace logstream::storage
