// The log on a stream that somebody may have stopped reading: a pager, a terminal after Ctrl-S, a collector that hangs.
#pragma once

#include <spdlog/sinks/base_sink.h>

#include <cstdint>
#include <cstdio>
#include <mutex>

namespace logstream::process {

// A broker that waited for its reader would be taken for dead by the others. So a line that the stream does not take at
// once is left out, and how many there were is said with the next one that it takes. (A line longer than PIPE_BUF bytes
// may have to wait, and one for a terminal that takes only a part of it.) On a terminal levels have colours.
class ConsoleLog final : public spdlog::sinks::base_sink<std::mutex> {
public:
    explicit ConsoleLog(std::FILE* stream);

protected:
    void sink_it_(const spdlog::details::log_msg& message) override;
    void flush_() override;

private:
    void write(const spdlog::details::log_msg& message);

    std::FILE* const stream_;
    const bool colours_;
    std::uint64_t left_out_{};
};

}  // namespace logstream::process
