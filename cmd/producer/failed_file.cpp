#include "cmd/producer/failed_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace logstream::producer {

namespace {

std::unexpected<protocol::Error> cannot_write(const std::string& path, int errno_value) {
    return protocol::fail(protocol::ErrorCode::kConfig, "can't write {}: {}", path, std::strerror(errno_value));
}

}  // namespace

bool is_input(const std::string& path, const std::string& input) {
    struct stat output{};
    struct stat read{};
    if (stat(path.c_str(), &output) != 0 || !S_ISREG(output.st_mode)) return false;
    if ((input.empty() ? fstat(STDIN_FILENO, &read) : stat(input.c_str(), &read)) != 0) return false;
    return output.st_dev == read.st_dev && output.st_ino == read.st_ino;
}

protocol::Result<std::unique_ptr<FailedFile>> FailedFile::open(const std::string& path) {
    struct stat there{};
    const bool exists = stat(path.c_str(), &there) == 0;
    if (exists && !S_ISREG(there.st_mode)) {
        const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0 && errno == ENXIO)
            return protocol::fail(protocol::ErrorCode::kConfig, "can't write {}: no program reads this pipe", path);
        if (fd < 0) return cannot_write(path, errno);
        fcntl(fd, F_SETFL, O_APPEND);  // only opening must not wait
        std::FILE* const file = fdopen(fd, "a");
        if (file == nullptr) return cannot_write(path, errno);
        return std::unique_ptr<FailedFile>(new FailedFile(path, file));
    }
    if (exists && access(path.c_str(), W_OK) != 0) return cannot_write(path, errno);
    auto draft = process::DraftFile::open(path);
    if (!draft) return std::unexpected(draft.error());
    return std::unique_ptr<FailedFile>(new FailedFile(*std::move(draft)));
}

FailedFile::~FailedFile() {
    if (direct_ != nullptr) std::fclose(direct_);
}

protocol::Result<void> FailedFile::keep_earlier() const {
    struct stat there{};
    if (stat(path_.c_str(), &there) != 0 || there.st_size == 0) return {};
    std::string kept = path_ + "~";
    for (int number = 2; lstat(kept.c_str(), &there) == 0; ++number) kept = fmt::format("{}~{}", path_, number);
    if (std::rename(path_.c_str(), kept.c_str()) != 0) return cannot_write(kept, errno);
    std::fprintf(stderr, "producer: %s held records of an earlier run; moved to %s\n", path_.c_str(), kept.c_str());
    return {};
}

protocol::Result<void> FailedFile::finish() {
    if (draft_) {
        if (auto complete = draft_->complete(); !complete) return complete;
        if (auto kept = keep_earlier(); !kept) return kept;
        return draft_->put_in_place();
    }
    std::FILE* const file = std::exchange(direct_, nullptr);
    const bool failed_before = std::ferror(file) != 0;
    errno = 0;
    const bool written = std::fflush(file) == 0 && !failed_before;
    const int failed = errno;
    if (std::fclose(file) != 0 || !written) return cannot_write(path_, failed != 0 ? failed : EIO);
    return {};
}

}  // namespace logstream::producer
