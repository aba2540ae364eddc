// Faults of a disk and of a clock for a program that does not know of them: a library for LD_PRELOAD that stands
// between the program and the C library. tests/integration/faults.py is the other side and says what the faults mean.
//
// The environment says what it does; without a variable it leaves that part alone:
//   FAULTS_DATA          folder whose files and folders, at any depth, are on the faulty disk; no others are touched
//   FAULTS_CONTROL       file that holds a Control, shared with the scenario while the program runs
//   FAULTS_JOURNAL       file to which every change and every flush is appended, in the order in which they took place:
//                        what a power cut leaves of the disk is worked out from it
//   FAULTS_BOOT_ID       file that is read in place of /proc/sys/kernel/random/boot_id
//   FAULTS_CLOCK_OFFSET  seconds by which the wall clock is ahead
//
// Covered are the calls that PosixDisk makes (`nm -D` of the broker lists them). Changes and flushes take place one at
// a time, so that the journal's order is theirs; the broker's disk has one writer, which loses nothing by it.

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

// As faults.py has it. What is to go wrong, then what was seen and what went wrong.
struct Control {
    std::atomic<std::uint64_t> write_delay_us;
    std::atomic<std::uint64_t> flush_delay_us;
    std::atomic<std::uint64_t> writes_to_fail;  // so many more, with EIO
    std::atomic<std::uint64_t> flushes_to_fail;
    std::atomic<std::uint64_t> writes;
    std::atomic<std::uint64_t> flushes;
    std::atomic<std::uint64_t> failed_writes;
    std::atomic<std::uint64_t> failed_flushes;
    std::atomic<std::uint64_t> failed_at_us;  // the last one, since 1970
};
static_assert(sizeof(Control) == 72 && std::atomic<std::uint64_t>::is_always_lock_free);

enum class Change : std::uint32_t { kCreate, kMakeDir, kWrite, kTruncate, kRename, kRemove, kFlush, kFlushAll };

// Head of a journal's entry, as faults.py has it; behind it stand the name and the data.
struct Entry {
    std::uint64_t inode;
    std::uint64_t position;  // of a write; the new size of a truncation
    std::uint32_t change;
    std::uint32_t name_bytes;
    std::uint32_t data_bytes;  // of a rename: the new name
    std::uint32_t zero;
};
static_assert(sizeof(Entry) == 32);

template <typename Function>
Function* next(Function*, const char* name) {
    return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}
// The C library's own function of this name, behind this library.
#define REAL(name)                                     \
    (*[] {                                             \
        static const auto real = next(&::name, #name); \
        return real;                                   \
    }())

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

class Disk {
public:
    static Disk& instance() {
        static Disk disk;
        return disk;
    }

    bool has(std::string_view path) const {
        return !data_.empty() && path.size() > data_.size() && path.starts_with(data_) && path[data_.size()] == '/';
    }
    // The folder itself counts: it is flushed, too.
    bool has(int fd) const {
        if (data_.empty()) return false;
        std::array<char, 4096> path{};
        const ssize_t n = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path.data(), path.size());
        const std::string_view found(path.data(), n < 0 ? 0 : static_cast<std::size_t>(n));
        return found == data_ || has(found);
    }

    // Waits, counts, and says whether the call is to fail. Not for two threads at a time.
    bool write_fails() {
        return fails(&Control::write_delay_us, &Control::writes, &Control::writes_to_fail, &Control::failed_writes);
    }
    bool flush_fails() {
        return fails(&Control::flush_delay_us, &Control::flushes, &Control::flushes_to_fail, &Control::failed_flushes);
    }

    void note(Change change, std::uint64_t inode, std::uint64_t position = 0, std::string_view name = {},
              std::vector<iovec> data = {}) {
        if (journal_ < 0) return;
        Entry entry{inode, position, static_cast<std::uint32_t>(change), static_cast<std::uint32_t>(name.size()), 0, 0};
        for (const iovec& part : data) entry.data_bytes += static_cast<std::uint32_t>(part.iov_len);
        data.insert(data.begin(), {{&entry, sizeof entry}, {const_cast<char*>(name.data()), name.size()}});
        ssize_t wanted = 0;
        for (const iovec& part : data) wanted += static_cast<ssize_t>(part.iov_len);
        // With a hole in it the journal would say what was not: better no program than that.
        if (REAL(writev)(journal_, data.data(), static_cast<int>(data.size())) != wanted) std::abort();
    }

    std::mutex mutex;

private:
    Disk() : data_(variable("FAULTS_DATA")) {
        if (const std::string path = variable("FAULTS_CONTROL"); !path.empty()) {
            const int fd = REAL(open)(path.c_str(), O_RDWR | O_CLOEXEC);
            void* shared = ::mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (shared == MAP_FAILED) std::abort();
            control_ = static_cast<Control*>(shared);
        }
        if (const std::string path = variable("FAULTS_JOURNAL"); !path.empty()) {
            journal_ = REAL(open)(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
            if (journal_ < 0) std::abort();
        }
    }

    using Field = std::atomic<std::uint64_t> Control::*;
    bool fails(Field delay, Field seen, Field to_fail, Field failed) {
        if (control_ == nullptr) return false;
        if (const std::uint64_t us = control_->*delay; us > 0) ::usleep(static_cast<useconds_t>(us));
        ++(control_->*seen);
        if (control_->*to_fail == 0) return false;
        --(control_->*to_fail);
        ++(control_->*failed);
        timespec now{};
        REAL(clock_gettime)(CLOCK_REALTIME, &now);
        control_->failed_at_us = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000;
        errno = EIO;
        return true;
    }

    const std::string data_;
    Control* control_{nullptr};
    int journal_{-1};
};

std::uint64_t inode_of(int fd) {
    struct stat status{};
    return ::fstat(fd, &status) == 0 ? status.st_ino : 0;
}

std::uint64_t inode_of(const char* path) {
    struct stat status{};
    return ::lstat(path, &status) == 0 ? status.st_ino : 0;
}

int open_noted(const char* path, int flags, mode_t mode) {
    Disk& disk = Disk::instance();
    if ((flags & (O_CREAT | O_TRUNC)) == 0 || !disk.has(path)) return REAL(open)(path, flags, mode);
    const std::lock_guard lock(disk.mutex);
    const bool is_new = inode_of(path) == 0;
    const int fd = REAL(open)(path, flags, mode);
    if (fd < 0) return fd;
    if (is_new) {
        disk.note(Change::kCreate, inode_of(fd), 0, path);
    } else if ((flags & O_TRUNC) != 0) {
        disk.note(Change::kTruncate, inode_of(fd));
    }
    return fd;
}

ssize_t write_noted(int fd, const iovec* parts, int count, off_t position) {
    Disk& disk = Disk::instance();
    if (!disk.has(fd)) return REAL(pwritev)(fd, parts, count, position);
    const std::lock_guard lock(disk.mutex);
    if (disk.write_fails()) return -1;
    const ssize_t written = REAL(pwritev)(fd, parts, count, position);
    if (written <= 0) return written;
    std::vector<iovec> data(parts, parts + count);
    auto left = static_cast<std::size_t>(written);
    for (iovec& part : data) {
        part.iov_len = std::min(part.iov_len, left);
        left -= part.iov_len;
    }
    disk.note(Change::kWrite, inode_of(fd), static_cast<std::uint64_t>(position), {}, std::move(data));
    return written;
}

int truncate_noted(int fd, off_t size) {
    Disk& disk = Disk::instance();
    if (!disk.has(fd)) return REAL(ftruncate)(fd, size);
    const std::lock_guard lock(disk.mutex);
    const int result = REAL(ftruncate)(fd, size);
    if (result == 0) disk.note(Change::kTruncate, inode_of(fd), static_cast<std::uint64_t>(size));
    return result;
}

int flush_noted(int fd, int (*flush)(int), Change change) {
    Disk& disk = Disk::instance();
    if (!disk.has(fd)) return flush(fd);
    const std::lock_guard lock(disk.mutex);
    if (disk.flush_fails()) return -1;
    const int result = flush(fd);
    if (result == 0) disk.note(change, inode_of(fd));
    return result;
}

int remove_noted(const char* path, int (*remove)(const char*)) {
    Disk& disk = Disk::instance();
    if (!disk.has(path)) return remove(path);
    const std::lock_guard lock(disk.mutex);
    const int result = remove(path);
    if (result == 0) disk.note(Change::kRemove, 0, 0, path);
    return result;
}

std::FILE* open_stream(const char* path, const char* mode) {
    static const std::string boot_id = variable("FAULTS_BOOT_ID");
    const bool replaced = !boot_id.empty() && path == std::string_view("/proc/sys/kernel/random/boot_id");
    return REAL(fopen)(replaced ? boot_id.c_str() : path, mode);
}

time_t clock_offset() {
    static const time_t seconds = std::atol(variable("FAULTS_CLOCK_OFFSET").c_str());
    return seconds;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
    std::va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return open_noted(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
    std::va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return open_noted(path, flags, mode);
}

std::FILE* fopen(const char* path, const char* mode) { return open_stream(path, mode); }
std::FILE* fopen64(const char* path, const char* mode) { return open_stream(path, mode); }

ssize_t pwrite(int fd, const void* bytes, std::size_t length, off_t position) {
    const iovec part{const_cast<void*>(bytes), length};
    return write_noted(fd, &part, 1, position);
}
ssize_t pwrite64(int fd, const void* bytes, std::size_t length, off64_t position) {
    return pwrite(fd, bytes, length, position);
}
ssize_t pwritev(int fd, const iovec* parts, int count, off_t position) {
    return write_noted(fd, parts, count, position);
}
ssize_t pwritev64(int fd, const iovec* parts, int count, off64_t position) {
    return write_noted(fd, parts, count, position);
}

int ftruncate(int fd, off_t size) noexcept { return truncate_noted(fd, size); }
int ftruncate64(int fd, off64_t size) noexcept { return truncate_noted(fd, size); }

int fsync(int fd) { return flush_noted(fd, REAL(fsync), Change::kFlush); }
int fdatasync(int fd) { return flush_noted(fd, REAL(fdatasync), Change::kFlush); }
int syncfs(int fd) noexcept {
    return flush_noted(fd, [](int at) { return REAL(syncfs)(at); }, Change::kFlushAll);
}

int mkdir(const char* path, mode_t mode) noexcept {
    Disk& disk = Disk::instance();
    if (!disk.has(path)) return REAL(mkdir)(path, mode);
    const std::lock_guard lock(disk.mutex);
    const int result = REAL(mkdir)(path, mode);
    if (result == 0) disk.note(Change::kMakeDir, inode_of(path), 0, path);
    return result;
}

int rename(const char* from, const char* to) noexcept {
    Disk& disk = Disk::instance();
    if (!disk.has(from)) return REAL(rename)(from, to);
    const std::lock_guard lock(disk.mutex);
    const int result = REAL(rename)(from, to);
    const std::string_view name(to);
    if (result == 0) disk.note(Change::kRename, 0, 0, from, {{const_cast<char*>(to), name.size()}});
    return result;
}

int unlink(const char* path) noexcept {
    return remove_noted(path, [](const char* at) { return REAL(unlink)(at); });
}
int rmdir(const char* path) noexcept {
    return remove_noted(path, [](const char* at) { return REAL(rmdir)(at); });
}

int clock_gettime(clockid_t clock, timespec* now) noexcept {
    const int result = REAL(clock_gettime)(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += clock_offset();
    return result;
}

int gettimeofday(timeval* now, void* zone) noexcept {
    const int result = REAL(gettimeofday)(now, zone);
    if (result == 0) now->tv_sec += clock_offset();
    return result;
}

time_t time(time_t* now) noexcept {
    const time_t seconds = REAL(time)(nullptr) + clock_offset();
    if (now != nullptr) *now = seconds;
    return seconds;
}

}  // extern "C"
