// Open files of a real disk, so that a write does not open its file each time.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <cstddef>
#include <list>
#include <string>
#include <unordered_map>
#include <vector>

namespace logstream::storage {

inline constexpr mode_t kNewFileMode = 0644;

// Open files by path, the least recently used closed first. One thread's own.
class FileHandles {
public:
    explicit FileHandles(std::size_t limit) : limit_(limit) {}
    ~FileHandles();
    FileHandles(const FileHandles&) = delete;
    FileHandles& operator=(const FileHandles&) = delete;
    // A descriptor, or -1 with errno. `flags` as for open(2). Where the process has no descriptor left, files that are
    // kept open for later are closed for it.
    int get(const std::string& path, int flags);
    // Closes it, if it is open. False with errno when that fails.
    bool close(const std::string& path);
    // Those in a directory, at any depth.
    void close_all_below(const std::string& directory);
    // A file with unflushed writes is not closed to make room: its write error, if one comes, would go unseen.
    void set_dirty(const std::string& path, bool dirty);
    void set_all_clean();
    bool is_dirty(const std::string& path) const;
    // So many more may become dirty before some have to be flushed.
    std::size_t room() const { return limit_ - std::min(dirty_, limit_); }
    std::vector<std::string> dirty() const;

private:
    // The least recently used that may be; false when there is none.
    bool close_one();

    struct Handle {
        std::string path;
        int fd{-1};
        bool dirty{false};
    };
    std::size_t limit_;
    std::size_t dirty_{0};
    std::list<Handle> handles_;  // most recently used first
    std::unordered_map<std::string, std::list<Handle>::iterator> by_path_;
};

}  // namespace logstream::storage
