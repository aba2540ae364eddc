#include "internal/storage/posix_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <utility>

namespace logstream::storage {
namespace {

// A write of so much goes to the page cache in less time than it takes to wake a thread, as a rule. Where it took
// kLong, the kernel holds writers back, and the loop makes none itself for a while.
constexpr std::uint64_t kSmallWrite = 16u << 10;
constexpr std::chrono::milliseconds kLong{1};
constexpr std::chrono::seconds kAWhile{1};
constexpr std::chrono::milliseconds kNoteSpaceEvery{100};
constexpr off_t kWorthHolding = 1 << 20;
// While blocks are given back, flushes are slow: the next file's wait so many times as long as those of the last took.
constexpr int kPauseShare = 3;
constexpr mode_t kDirMode = 0755;

std::unexpected<Error> disk_error(int error, const char* what, const std::string& path) {
    std::array<char, 128> text{};
    const char* reason = strerror_r(error, text.data(), text.size());
    const bool full = error == ENOSPC || error == EDQUOT;
    return protocol::fail(full ? ErrorCode::kDiskFull : ErrorCode::kDisk, "cannot {} {}: {}", what, path, reason);
}

// Linux reports write-back errors from syncfs(2) since 5.8; before, a flush of the whole file system could hide one.
bool kernel_syncfs_reports_errors() {
    utsname name{};
    int major = 0;
    int minor = 0;
    if (uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;
    return major > 5 || (major == 5 && minor >= 8);
}

bool is_small_write(const std::vector<DiskOp>& ops) {
    std::uint64_t bytes = 0;
    for (const DiskOp& op : ops) {
        const auto* write = std::get_if<WriteOp>(&op);
        if (write == nullptr) return false;
        bytes += size_of(write->pieces);
    }
    return !ops.empty() && bytes <= kSmallWrite;
}

Result<void> remove_name(const std::string& path) {
    if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
    if (errno == EISDIR && (::rmdir(path.c_str()) == 0 || errno == ENOENT)) return {};
    return disk_error(errno, "remove", path);
}

// Holds what a name stands for, so that removing the name is quick: giving back a file's blocks and its pages, tens of
// milliseconds for a segment, is done by who lets go. Holds nothing where that is not worth a descriptor, or too many
// are held.
class Hold {
public:
    Hold(const std::string& path, std::atomic<std::size_t>& held) : held_(&held) {
        if (held.load() >= PosixDisk::kHeldFiles) return;
        struct stat status{};
        if (::lstat(path.c_str(), &status) != 0 || status.st_size < kWorthHolding) return;
        fd_ = ::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd_ >= 0) held.fetch_add(1);
    }
    Hold(Hold&& other) noexcept : fd_(std::exchange(other.fd_, -1)), held_(other.held_) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold() { let_go(); }

    bool holds() const { return fd_ >= 0; }
    void let_go() {
        if (fd_ < 0) return;
        ::close(std::exchange(fd_, -1));
        held_->fetch_sub(1);
    }

private:
    int fd_{-1};
    std::atomic<std::size_t>* held_;
};

}  // namespace

void PosixDisk::Lane::add(Task task) {
    {
        const std::lock_guard lock(mutex);
        tasks.push_back(std::move(task));
    }
    wake.notify_one();
}

bool PosixDisk::Lane::idle() {
    const std::lock_guard lock(mutex);
    return !busy && tasks.empty();
}

void PosixDisk::Lane::run() {
    std::unique_lock lock(mutex);
    while (true) {
        busy = false;
        wake.wait(lock, [this] { return stop || !tasks.empty(); });
        if (stop) return;
        busy = true;
        Task task = std::move(tasks.front());
        tasks.pop_front();
        lock.unlock();
        task();
        task = nullptr;
        lock.lock();
    }
}

void PosixDisk::Lane::pause(Clock::duration length) {
    std::unique_lock lock(mutex);
    wake.wait_for(lock, length, [this] { return stop; });
}

void PosixDisk::Lane::join() {
    {
        const std::lock_guard lock(mutex);
        stop = true;
    }
    wake.notify_one();
    if (thread.joinable()) thread.join();
}

PosixDisk::PosixDisk(Post post, std::uint64_t page_cache_bytes, std::size_t write_handles)
    : post_(std::move(post)),
      syncfs_reports_errors_(kernel_syncfs_reports_errors()),
      write_handles_(write_handles),
      written_pages_(page_cache_bytes),
      read_handles_(kReadHandles) {
    writer_.thread = std::thread([this] { writer_.run(); });
    beside_.thread = std::thread([this] { beside_.run(); });
    reader_.thread = std::thread([this] { reader_.run(); });
    cleaner_.thread = std::thread([this] { cleaner_.run(); });
}

PosixDisk::~PosixDisk() {
    writer_.join();
    beside_.join();
    reader_.join();
    cleaner_.join();
    if (lock_fd_ >= 0) ::close(lock_fd_);
}

Result<void> PosixDisk::lock(const std::string& dir) {
    for (std::size_t slash = dir.find('/', 1);; slash = dir.find('/', slash + 1)) {
        const std::string part = dir.substr(0, slash);
        struct stat existing{};
        if (::stat(part.c_str(), &existing) != 0) {
            if (::mkdir(part.c_str(), kDirMode) != 0 && errno != EEXIST) {
                return disk_error(errno, "make directory", part);
            }
            if (auto synced = sync_dir(parent_of(part)); !synced) return synced;
        }
        if (slash == std::string::npos) break;
    }
    const std::string path = dir + "/lock";
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kNewFileMode);
    if (fd < 0) return disk_error(errno, "open", path);
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
        const int error = errno;
        std::array<char, 32> holder{};
        const ssize_t n = ::pread(fd, holder.data(), holder.size() - 1, 0);
        ::close(fd);
        if (error != EWOULDBLOCK) return disk_error(error, "lock", path);
        const std::string pid =
            n > 0 ? " (process " + std::string(holder.data(), static_cast<std::size_t>(n)) + ")" : "";
        return protocol::fail(
            ErrorCode::kExists,
            "the data directory {} is in use by another broker{}; give this broker its own with --data", dir, pid);
    }
    const std::string pid = std::to_string(::getpid());
    if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, pid.data(), pid.size(), 0) < 0) {
        // The number is for people only; a full disk must not keep a broker from starting.
        [[maybe_unused]] const int ignored = errno;
    }
    lock_fd_ = fd;
    dir_ = dir;
    note_space();
    return {};
}

Result<std::vector<DirEntry>> PosixDisk::list(const std::string& dir) {
    std::vector<DirEntry> entries;
    DIR* handle = ::opendir(dir.c_str());
    if (handle == nullptr) {
        if (errno == ENOENT) return entries;
        return disk_error(errno, "list", dir);
    }
    while (true) {
        errno = 0;
        const dirent* entry = ::readdir(handle);
        if (entry == nullptr) break;
        const std::string name = entry->d_name;
        if (name == "." || name == "..") continue;
        struct stat status{};
        if (::fstatat(::dirfd(handle), entry->d_name, &status, 0) != 0) continue;
        entries.push_back({name, static_cast<std::uint64_t>(status.st_size), S_ISDIR(status.st_mode)});
    }
    const int error = errno;
    ::closedir(handle);
    if (error != 0) return disk_error(error, "list", dir);
    std::ranges::sort(entries, {}, &DirEntry::name);
    return entries;
}

namespace {

Result<Bytes> read_from(FileHandles& handles, const std::string& path, std::uint64_t position, std::size_t length) {
    const int fd = handles.get(path, O_RDONLY);
    if (fd < 0) {
        if (errno == ENOENT) return protocol::fail(ErrorCode::kInvalid, "there is no file {}", path);
        return disk_error(errno, "open", path);
    }
    // The buffer is no larger than the file, so that a careless length costs nothing.
    struct stat status{};
    if (::fstat(fd, &status) != 0) return disk_error(errno, "read", path);
    const auto size = static_cast<std::uint64_t>(status.st_size);
    length = position >= size ? 0 : static_cast<std::size_t>(std::min<std::uint64_t>(length, size - position));
    Bytes bytes = Bytes::allocate(length);
    std::size_t have = 0;
    while (have < length) {
        const ssize_t n = ::pread(fd, bytes.mutable_data() + have, length - have, static_cast<off_t>(position + have));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return disk_error(errno, "read", path);
        if (n == 0) break;
        have += static_cast<std::size_t>(n);
    }
    return bytes.slice(0, have);
}

}  // namespace

Result<Bytes> PosixDisk::read_now(const std::string& path, std::uint64_t position, std::size_t length) {
    FileHandles handles(1);
    return read_from(handles, path, position, length);
}

GroupResult PosixDisk::run_now(std::vector<DiskOp> ops) {
    GroupResult result = run_group(std::move(ops));
    note_space();
    return result;
}

std::string PosixDisk::boot_id() {
    const Result<Bytes> id = []() -> Result<Bytes> {
        // Files in /proc have no size, so read_now would see nothing.
        std::FILE* file = std::fopen("/proc/sys/kernel/random/boot_id", "re");
        if (file == nullptr) return disk_error(errno, "open", "/proc/sys/kernel/random/boot_id");
        std::array<char, 64> text{};
        const std::size_t n = std::fread(text.data(), 1, text.size(), file);
        std::fclose(file);
        return Bytes::copy_of(std::string_view(text.data(), n));
    }();
    if (!id) return {};
    const std::string_view text = id->view();
    return std::string(text.substr(0, text.find_last_not_of(" \n") + 1));
}

void PosixDisk::submit(std::vector<DiskOp> ops, GroupCallback callback) {
    if (may_write_here(ops)) {
        post_([callback = std::move(callback), result = write_here(std::move(ops))]() mutable {
            callback(std::move(result));
        });
        return;
    }
    writer_.add([this, ops = std::move(ops), callback = std::move(callback)]() mutable {
        post_([callback = std::move(callback), result = run_group(std::move(ops))]() mutable {
            callback(std::move(result));
        });
        // Now, when nobody waits for it any more.
        note_space();
        written_pages_.drop_oldest(write_handles_);
    });
}

void PosixDisk::submit_beside(std::vector<DiskOp> ops, GroupCallback callback) {
    beside_.add([this, ops = std::move(ops), callback = std::move(callback)]() mutable {
        post_([callback = std::move(callback), result = run_beside(std::move(ops))]() mutable {
            callback(std::move(result));
        });
    });
}

// Touches nothing that the writer's thread uses.
GroupResult PosixDisk::run_beside(std::vector<DiskOp> ops) {
    Result<void> status;
    std::size_t done = 0;
    for (; status && done < ops.size(); done += status ? 1 : 0) {
        if (const auto* replace = std::get_if<ReplaceOp>(&ops[done]))
            status = replace_file(*replace);
        else
            status = remove_name(std::get<RemoveOp>(ops[done]).path);
    }
    ops.erase(ops.begin(), ops.begin() + static_cast<std::ptrdiff_t>(done));
    return {std::move(status), std::move(ops)};
}

void PosixDisk::read(const std::string& path, std::uint64_t position, std::size_t length, ReadCallback callback) {
    reader_.add([this, path, position, length, callback = std::move(callback)]() mutable {
        post_([callback = std::move(callback), result = read_from(read_handles_, path, position, length)]() mutable {
            callback(std::move(result));
        });
    });
}

bool PosixDisk::may_write_here(const std::vector<DiskOp>& ops) {
    return is_small_write(ops) && Clock::now() >= not_here_until_ && writer_.idle() &&
           write_handles_.room() >= ops.size();  // else it may have to flush
}

GroupResult PosixDisk::write_here(std::vector<DiskOp> ops) {
    const Clock::time_point begun = Clock::now();
    GroupResult result = run_group(std::move(ops));
    const Clock::time_point done = Clock::now();
    if (done - begun >= kLong) not_here_until_ = done + kAWhile;
    if (done - noted_here_ >= kNoteSpaceEvery) {
        noted_here_ = done;
        writer_.add([this] { note_space(); });
    }
    return result;
}

GroupResult PosixDisk::run_group(std::vector<DiskOp> ops) {
    std::size_t done = 0;
    Result<void> status;
    while (done < ops.size()) {
        status = run_op(ops[done]);
        if (!status) break;
        ++done;
    }
    ops.erase(ops.begin(), ops.begin() + static_cast<std::ptrdiff_t>(done));
    return {std::move(status), std::move(ops)};
}

Result<void> PosixDisk::run_op(const DiskOp& op) {
    return std::visit([this](const auto& o) { return run(o); }, op);
}

Result<void> PosixDisk::write_pieces(int fd, const std::string& path, std::uint64_t position,
                                     const std::vector<Bytes>& pieces) {
    std::array<iovec, 256> parts{};
    std::size_t piece = 0;
    std::size_t skip = 0;  // of the first piece
    while (piece < pieces.size()) {
        int count = 0;
        for (std::size_t i = piece; i < pieces.size() && count < static_cast<int>(parts.size()); ++i, ++count) {
            const std::size_t from = i == piece ? skip : 0;
            // writev wants a mutable pointer and does not write to it.
            parts[static_cast<std::size_t>(count)] = {const_cast<std::byte*>(pieces[i].data()) + from,
                                                      pieces[i].size() - from};
        }
        const ssize_t n = ::pwritev(fd, parts.data(), count, static_cast<off_t>(position));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return disk_error(errno, "write", path);
        position += static_cast<std::uint64_t>(n);
        auto left = static_cast<std::size_t>(n);
        while (piece < pieces.size() && left >= pieces[piece].size() - skip) {
            left -= pieces[piece].size() - skip;
            skip = 0;
            ++piece;
        }
        skip += left;
    }
    return {};
}

// What a flush loses for want of room is not written again, so that is a failure of the disk.
Result<void> PosixDisk::flush_dirty() {
    if (auto flushed = run(SyncOp{write_handles_.dirty(), {}}); !flushed)
        return protocol::fail(ErrorCode::kDisk, "{}", flushed.error().message);
    return {};
}

// A file with unflushed writes stays open, and one group may have more of them than there are descriptors: then it is
// flushed as it goes.
Result<int> PosixDisk::open_to_change(const std::string& path, int flags) {
    if (write_handles_.room() == 0) {
        if (auto flushed = flush_dirty(); !flushed) return std::unexpected(flushed.error());
    }
    int fd = write_handles_.get(path, O_RDWR | flags);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
        if (auto flushed = flush_dirty(); !flushed) return std::unexpected(flushed.error());
        fd = write_handles_.get(path, O_RDWR | flags);
    }
    if (fd < 0) return disk_error(errno, "open", path);
    write_handles_.set_dirty(path, true);
    return fd;
}

Result<void> PosixDisk::run(const WriteOp& op) {
    const auto fd = open_to_change(op.path, O_CREAT);
    if (!fd) return std::unexpected(fd.error());
    written_pages_.add(op.path, op.position, op.position + size_of(op.pieces));
    return write_pieces(*fd, op.path, op.position, op.pieces);
}

Result<void> PosixDisk::run(const TruncateOp& op) {
    const auto fd = open_to_change(op.path, 0);
    if (!fd) return std::unexpected(fd.error());
    if (::ftruncate(*fd, static_cast<off_t>(op.size)) != 0) return disk_error(errno, "truncate", op.path);
    return {};
}

Result<void> PosixDisk::run(const CreateOp& op) {
    const auto fd = open_to_change(op.path, O_CREAT);
    if (!fd) return std::unexpected(fd.error());
    if (::ftruncate(*fd, 0) != 0) return disk_error(errno, "truncate", op.path);
    return {};
}

Result<void> PosixDisk::run(const MakeDirOp& op) {
    if (::mkdir(op.path.c_str(), kDirMode) != 0 && errno != EEXIST) return disk_error(errno, "make directory", op.path);
    return {};
}

Result<void> PosixDisk::run(const RemoveOp& op) {
    Hold hold(op.path, held_);
    forget(op.path);
    Result<void> removed = remove_name(op.path);
    if (hold.holds()) {
        // The reader's own descriptor of it is closed first.
        reader_.add([this, hold = std::move(hold)]() mutable {
            cleaner_.add([this, hold = std::move(hold)]() mutable {
                const Clock::time_point begun = Clock::now();
                hold.let_go();
                note_space();
                cleaner_.pause(kPauseShare * (Clock::now() - begun));
            });
        });
    }
    return removed;
}

Result<void> PosixDisk::run(const RenameOp& op) {
    forget(op.from);
    forget(op.to);
    if (::rename(op.from.c_str(), op.to.c_str()) == 0) return {};
    const int error = errno;
    if (error == ENOENT && ::access(op.to.c_str(), F_OK) == 0) return {};
    return disk_error(error, "rename", op.from);
}

Result<void> PosixDisk::run(const ReplaceOp& op) {
    forget(op.path + ".tmp");
    forget(op.path);
    return replace_file(op);
}

Result<void> PosixDisk::replace_file(const ReplaceOp& op) {
    const std::string temporary = op.path + ".tmp";
    const int fd = ::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, kNewFileMode);
    if (fd < 0) return disk_error(errno, "create", temporary);
    Result<void> written = write_pieces(fd, temporary, 0, op.pieces);
    if (written && ::fsync(fd) != 0) {
        // Room may be found missing as late as here; the old file stands, so it is no loss.
        written = disk_error(errno, "flush", temporary);
    }
    ::close(fd);
    if (!written) {
        ::unlink(temporary.c_str());
        return written;
    }
    if (::rename(temporary.c_str(), op.path.c_str()) != 0) return disk_error(errno, "rename", temporary);
    return sync_dir(parent_of(op.path));
}

Result<void> PosixDisk::sync_file(const std::string& path) {
    const int fd = write_handles_.get(path, O_RDWR);
    if (fd < 0) return disk_error(errno, "open", path);
    if (::fdatasync(fd) != 0) return disk_error(errno, "flush", path);
    write_handles_.set_dirty(path, false);
    return {};
}

Result<void> PosixDisk::sync_dir(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return disk_error(errno, "open", path);
    const int error = ::fsync(fd) != 0 ? errno : 0;
    ::close(fd);
    if (error != 0) return disk_error(error, "flush", path);
    return {};
}

Result<void> PosixDisk::check_folder() const {
    struct stat lock{};
    if (lock_fd_ < 0 || ::fstat(lock_fd_, &lock) != 0 || lock.st_nlink > 0) return {};
    return protocol::fail(
        ErrorCode::kDisk,
        "the data directory {} was removed while the broker was running: what is written now would be "
        "in no file",
        dir_);
}

Result<void> PosixDisk::run(const SyncOp& op) {
    if (auto there = check_folder(); !there) return there;
    if (op.files.size() + op.dirs.size() > kMaxSeparateFlushes && syncfs_reports_errors_ && lock_fd_ >= 0) {
        if (::syncfs(lock_fd_) != 0) return disk_error(errno, "flush the file system of", dir_);
        write_handles_.set_all_clean();
        return {};
    }
    for (const std::string& file : op.files) {
        if (auto synced = sync_file(file); !synced) return synced;
    }
    for (const std::string& dir : op.dirs) {
        if (auto synced = sync_dir(dir); !synced) return synced;
    }
    return {};
}

void PosixDisk::forget(const std::string& path) {
    struct stat status{};
    const bool whole_directory = ::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
    const auto close_in = [path, whole_directory](FileHandles& handles) {
        whole_directory ? handles.close_all_below(path) : static_cast<void>(handles.close(path));
    };
    close_in(write_handles_);
    // A read of it that is queued earlier still finds it; later ones open what is there then.
    reader_.add([this, close_in] { close_in(read_handles_); });
}

void PosixDisk::note_space() {
    if (dir_.empty()) return;
    struct statvfs space{};
    if (::statvfs(dir_.c_str(), &space) != 0) return;
    free_bytes_.store(static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize, std::memory_order_relaxed);
    capacity_bytes_.store(static_cast<std::uint64_t>(space.f_blocks) * space.f_frsize, std::memory_order_relaxed);
}

}  // namespace logstream::storage
