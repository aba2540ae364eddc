#include "internal/process/log_file.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>

namespace logstream::process {

protocol::Result<std::shared_ptr<LogFile>> LogFile::open(const std::string& path, std::size_t max_bytes,
                                                         std::size_t max_files) {
    std::shared_ptr<LogFile> log(new LogFile(path, max_bytes, max_files));
    if (auto opened = log->open_file(); !opened) return std::unexpected(opened.error());
    return log;
}

LogFile::~LogFile() {
    if (file_ != nullptr) std::fclose(file_);
}

protocol::Result<void> LogFile::open_file() {
    struct stat state{};
    // A pipe that nobody reads would keep the broker waiting for ever.
    if (stat(path_.c_str(), &state) == 0 && !S_ISREG(state.st_mode))
        return protocol::fail(protocol::ErrorCode::kDisk, "the log file {} is not a regular file", path_);
    std::FILE* const file = std::fopen(path_.c_str(), "abe");
    if (file == nullptr || fstat(fileno(file), &state) != 0) {
        const int failed = errno;
        if (file != nullptr) std::fclose(file);
        return protocol::fail(protocol::ErrorCode::kDisk, "the log file {} cannot be opened: {}", path_,
                              std::strerror(failed));
    }
    if (file_ != nullptr) std::fclose(file_);
    file_ = file;
    bytes_ = static_cast<std::size_t>(state.st_size);
    return {};
}

protocol::Result<void> LogFile::reopen() {
    const std::lock_guard lock(mutex_);
    return open_file();
}

// A file that cannot be moved or opened is written on: a log that grows is better than none.
void LogFile::rotate() {
    for (std::size_t i = max_files_; i > 0; --i) {
        const std::string from = i == 1 ? path_ : path_ + "." + std::to_string(i - 1);
        std::rename(from.c_str(), (path_ + "." + std::to_string(i)).c_str());
    }
    if (!open_file()) bytes_ = 0;
}

void LogFile::sink_it_(const spdlog::details::log_msg& message) {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    if (bytes_ > 0 && bytes_ + line.size() > max_bytes_) rotate();
    bytes_ += std::fwrite(line.data(), 1, line.size(), file_);
}

void LogFile::flush_() { std::fflush(file_); }

}  // namespace logstream::process
