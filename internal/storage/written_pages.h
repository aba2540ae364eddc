// Bounds what a real disk's writes take of the kernel's page cache. Left alone, a log that nobody reads again fills the
// memory of its machine and pushes out what others need; and where a host gives a virtual machine its memory page by
// page, to copy into a page never used before costs several times as much as into one used again (measure: README,
// Performance).
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>

#include "internal/storage/file_handles.h"

namespace logstream::storage {

// One thread's own. All of it is advice to the kernel: what is missed stays in memory, and nothing is lost.
class WrittenPages {
public:
    static constexpr std::uint64_t kUnlimited = UINT64_MAX;

    // So many of the bytes written last stay, and a little more.
    explicit WrittenPages(std::uint64_t keep_bytes) : keep_bytes_(keep_bytes) {}

    // [from, to) of a file has been written.
    void add(const std::string& path, std::uint64_t from, std::uint64_t to);
    // Lets go of the rest, as far as it has been flushed. Readers that come for it later go to the disk.
    void drop_oldest(const FileHandles& writers);

private:
    struct Range {
        std::uint64_t from{};
        std::uint64_t to{};
    };
    struct Piece {
        std::string path;
        Range range;
    };

    std::uint64_t keep_bytes_;
    std::uint64_t bytes_{0};                          // of pieces_
    std::deque<Piece> pieces_;                        // oldest first
    std::unordered_map<std::string, Range> growing_;  // written since a file's last piece, too little for one
};

}  // namespace logstream::storage
