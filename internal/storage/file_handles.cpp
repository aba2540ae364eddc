#include "internal/storage/file_handles.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace logstream::storage {

FileHandles::~FileHandles() {
    for (const Handle& handle : handles_) ::close(handle.fd);
}

int FileHandles::get(const std::string& path, int flags) {
    if (const auto found = by_path_.find(path); found != by_path_.end()) {
        handles_.splice(handles_.begin(), handles_, found->second);
        return found->second->fd;
    }
    int fd = -1;
    do {
        fd = ::open(path.c_str(), flags | O_CLOEXEC, kNewFileMode);
    } while (fd < 0 && (errno == EMFILE || errno == ENFILE) && close_one());
    if (fd < 0) return fd;
    if (handles_.size() >= limit_) close_one();
    handles_.push_front({path, fd, false});
    by_path_[path] = handles_.begin();
    return fd;
}

bool FileHandles::close_one() {
    const int error = errno;
    const auto clean = std::find_if(handles_.rbegin(), handles_.rend(), [](const Handle& h) { return !h.dirty; });
    const bool found = clean != handles_.rend();
    if (found) close(std::string(clean->path));
    errno = error;
    return found;
}

bool FileHandles::close(const std::string& path) {
    const auto found = by_path_.find(path);
    if (found == by_path_.end()) return true;
    const int fd = found->second->fd;
    if (found->second->dirty) --dirty_;
    handles_.erase(found->second);
    by_path_.erase(found);
    return ::close(fd) == 0;
}

void FileHandles::close_all_below(const std::string& directory) {
    const std::string prefix = directory + "/";
    std::vector<std::string> gone;
    for (const Handle& handle : handles_) {
        if (handle.path.starts_with(prefix)) gone.push_back(handle.path);
    }
    for (const std::string& name : gone) close(name);
}

void FileHandles::set_dirty(const std::string& path, bool dirty) {
    const auto found = by_path_.find(path);
    if (found == by_path_.end() || found->second->dirty == dirty) return;
    found->second->dirty = dirty;
    dirty ? ++dirty_ : --dirty_;
}

void FileHandles::set_all_clean() {
    for (Handle& handle : handles_) handle.dirty = false;
    dirty_ = 0;
}

bool FileHandles::is_dirty(const std::string& path) const {
    const auto found = by_path_.find(path);
    return found != by_path_.end() && found->second->dirty;
}

std::vector<std::string> FileHandles::dirty() const {
    std::vector<std::string> paths;
    for (const Handle& handle : handles_) {
        if (handle.dirty) paths.push_back(handle.path);
    }
    return paths;
}

}  // namespace logstream::storage
