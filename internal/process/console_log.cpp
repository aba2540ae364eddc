#include "internal/process/console_log.h"

#include <poll.h>
#include <spdlog/details/os.h>

#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace logstream::process {

namespace {

// By spdlog's levels, from trace on.
constexpr std::array<std::string_view, 6> kColours{"\033[37m",        "\033[36m",        "\033[32m",
                                                   "\033[33m\033[1m", "\033[31m\033[1m", "\033[1m\033[41m"};
constexpr std::string_view kNoColour = "\033[m";

// A pipe says so when it has room for PIPE_BUF bytes, and a file always.
bool takes_a_line(std::FILE* stream) {
    pollfd what{fileno(stream), POLLOUT, 0};
    return ::poll(&what, 1, 0) != 0;  // an error is for the write to find
}

}  // namespace

ConsoleLog::ConsoleLog(std::FILE* stream)
    : stream_(stream), colours_(spdlog::details::os::in_terminal(stream) && spdlog::details::os::is_color_terminal()) {}

void ConsoleLog::sink_it_(const spdlog::details::log_msg& message) {
    if (left_out_ > 0 && takes_a_line(stream_)) {
        const std::string text = "LOG " + std::to_string(std::exchange(left_out_, 0)) +
                                 " lines are missing here: the reader of this stream did not keep up";
        write({message.time, {}, message.logger_name, spdlog::level::warn, text});
    }
    if (takes_a_line(stream_))
        write(message);
    else
        ++left_out_;
}

// In one piece.
void ConsoleLog::write(const spdlog::details::log_msg& message) {
    spdlog::memory_buf_t line;
    message.color_range_start = message.color_range_end = 0;
    formatter_->format(message, line);
    std::string text(line.data(), line.size());
    if (colours_ && message.color_range_end > message.color_range_start) {
        text.insert(message.color_range_end, kNoColour);
        text.insert(message.color_range_start, kColours.at(static_cast<std::size_t>(message.level)));
    }
    std::fwrite(text.data(), 1, text.size(), stream_);
}

void ConsoleLog::flush_() { std::fflush(stream_); }

}  // namespace logstream::process
