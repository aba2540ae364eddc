#include "internal/process/draft_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

namespace logstream::process {

namespace {

std::unexpected<protocol::Error> cannot_write(const std::string& path, int errno_value) {
    return protocol::fail(protocol::ErrorCode::kConfig, "can't write {}: {}", path, std::strerror(errno_value));
}

mode_t usual_mode() {
    const mode_t masked = umask(0);
    umask(masked);
    return 0666 & ~masked;
}

}  // namespace

protocol::Result<std::unique_ptr<DraftFile>> DraftFile::open(const std::string& path) {
    struct stat there{};
    const bool exists = stat(path.c_str(), &there) == 0;
    std::error_code unresolved;
    const auto resolved = std::filesystem::weakly_canonical(path, unresolved);
    std::string target = unresolved ? path : resolved.string();
    std::string draft = target + ".XXXXXX";
    const int fd = mkostemp(draft.data(), O_CLOEXEC);
    if (fd < 0) return cannot_write(path, errno);
    std::FILE* const stream = fdopen(fd, "w");
    if (stream == nullptr || fchmod(fd, exists ? there.st_mode & 07777 : usual_mode()) != 0) {
        const int failed = errno;
        stream != nullptr ? std::fclose(stream) : close(fd);
        unlink(draft.c_str());
        return cannot_write(path, failed);
    }
    return std::unique_ptr<DraftFile>(new DraftFile(std::move(target), std::move(draft), stream));
}

DraftFile::~DraftFile() {
    if (stream_ != nullptr) std::fclose(stream_);
    if (!draft_.empty()) unlink(draft_.c_str());
}

protocol::Result<void> DraftFile::complete() {
    std::FILE* const stream = std::exchange(stream_, nullptr);
    const bool failed_before = std::ferror(stream) != 0;
    errno = 0;
    const bool written = std::fflush(stream) == 0 && !failed_before && fsync(fileno(stream)) == 0;
    const int failed = errno;
    if (std::fclose(stream) != 0 || !written) return cannot_write(path_, failed != 0 ? failed : EIO);
    return {};
}

protocol::Result<void> DraftFile::put_in_place() {
    if (std::rename(draft_.c_str(), path_.c_str()) != 0) return cannot_write(path_, errno);
    draft_.clear();
    return {};
}

}  // namespace logstream::process
