#include "cmd/runtime/status_line.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <mutex>

namespace logstream::runtime {

namespace {

std::mutex mutex;    // NOLINT: threads of the benchmark write, too
bool shown = false;  // NOLINT: of the one terminal

// A line that is wrapped could not be taken back.
std::size_t columns() {
    winsize size{};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1U : 79U;
}

}  // namespace

bool has_status_line() { return isatty(STDERR_FILENO) == 1; }

void show_status(const std::string& text) {
    if (!has_status_line()) return;
    const std::scoped_lock lock(mutex);
    std::fprintf(stderr, "\r\033[K%s", text.substr(0, columns()).c_str());
    std::fflush(stderr);
    shown = true;
}

void clear_status() {
    const std::scoped_lock lock(mutex);
    if (!shown) return;
    std::fputs("\r\033[K", stderr);
    shown = false;
}

std::string bytes_text(double bytes) {
    constexpr std::array kUnits{"B", "kB", "MB", "GB", "TB"};
    std::size_t unit = 0;
    for (; bytes >= 1000 && unit + 1 < kUnits.size(); ++unit) bytes /= 1000;
    return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, kUnits[unit]);
}

std::string time_text(std::chrono::seconds time) {
    const auto seconds = time.count();
    if (seconds < 3600) return fmt::format("{}:{:02}", seconds / 60, seconds % 60);
    return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

}  // namespace logstream::runtime
