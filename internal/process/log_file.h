// The broker's log file: rotated by size, and opened again on request, for who rotates it from outside.
#pragma once

#include <spdlog/sinks/base_sink.h>

#include <cstddef>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>

#include "internal/protocol/error.h"

namespace logstream::process {

// Lines go to `path`; when it would grow over `max_bytes`, path becomes path.1, that path.2, and so on, `max_files` of
// them at most.
class LogFile final : public spdlog::sinks::base_sink<std::mutex> {
public:
    static protocol::Result<std::shared_ptr<LogFile>> open(const std::string& path, std::size_t max_bytes,
                                                           std::size_t max_files);
    ~LogFile() override;

    // Opens the path anew: what logrotate moved away is written no more. On failure the old file goes on.
    protocol::Result<void> reopen();

protected:
    void sink_it_(const spdlog::details::log_msg& message) override;
    void flush_() override;

private:
    LogFile(std::string path, std::size_t max_bytes, std::size_t max_files)
        : path_(std::move(path)), max_bytes_(max_bytes), max_files_(max_files) {}
    protocol::Result<void> open_file();
    void rotate();

    std::string path_;
    std::size_t max_bytes_;
    std::size_t max_files_;
    std::FILE* file_{};
    std::size_t bytes_{};  // in the file
};

}  // namespace logstream::process
