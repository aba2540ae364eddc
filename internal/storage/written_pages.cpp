#include "internal/storage/written_pages.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

namespace logstream::storage {
namespace {

// So much of a file is worth a call to the kernel.
constexpr std::uint64_t kPieceBytes = 256u << 10;
// Files that grow by less than a piece while so many others do are left alone.
constexpr std::size_t kMaxGrowing = 4096;
// The kernel drops whole pages: one that a piece ends in belongs to the next.
constexpr std::uint64_t kPageBytes = 4096;

void let_go(const std::string& path, std::uint64_t from, std::uint64_t size) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;  // removed since
    ::posix_fadvise(fd, static_cast<off_t>(from), static_cast<off_t>(size), POSIX_FADV_DONTNEED);
    ::close(fd);
}

}  // namespace

void WrittenPages::add(const std::string& path, std::uint64_t from, std::uint64_t to) {
    if (keep_bytes_ == kUnlimited) return;
    if (growing_.size() >= kMaxGrowing && !growing_.contains(path)) growing_.clear();
    Range& range = growing_.try_emplace(path, Range{from, from}).first->second;
    if (from < range.from || from > range.to) range = {from, from};
    range.to = std::max(range.to, to);
    if (range.to - range.from < kPieceBytes) return;
    bytes_ += range.to - range.from;
    pieces_.push_back({path, range});
    range.from = range.to / kPageBytes * kPageBytes;
}

void WrittenPages::drop_oldest(const FileHandles& writers) {
    while (!pieces_.empty()) {
        const auto& [path, range] = pieces_.front();
        const std::uint64_t size = range.to - range.from;
        if (bytes_ - size < keep_bytes_ || writers.is_dirty(path)) return;
        let_go(path, range.from, size);
        bytes_ -= size;
        pieces_.pop_front();
    }
}

}  // namespace logstream::storage
