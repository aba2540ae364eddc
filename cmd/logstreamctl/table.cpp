#include "cmd/logstreamctl/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace logstream::ctl {

namespace {

// Columns on the screen, not bytes.
std::size_t width_of(const std::string& text) {
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

std::vector<std::string> lines_of(const Table& table) {
    std::vector<std::size_t> widths;
    for (const auto& row : table) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
    }
    std::vector<std::string> lines;
    for (const auto& row : table) {
        std::string& line = lines.emplace_back();
        for (std::size_t i = 0; i < row.size(); ++i) {
            line += row[i];
            if (i + 1 < row.size()) line.append(widths[i] - width_of(row[i]) + 2, ' ');
        }
        line.resize(line.find_last_not_of(' ') + 1);
    }
    return lines;
}

void print_table(const Table& table) {
    for (const std::string& line : lines_of(table)) std::printf("%s\n", line.c_str());
}

std::string size_text(std::uint64_t bytes) {
    constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
    return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string rate_text(double per_second) {
    if (per_second < 0.05) return "0";
    return per_second < 10 ? fmt::format("{:.1f}/s", per_second) : fmt::format("{:.0f}/s", per_second);
}

std::string time_text(std::uint64_t ms) {
    const std::uint64_t s = ms / 1000;
    if (s >= 2 * 86'400) return fmt::format("{} d", s / 86'400);
    if (s >= 2 * 3'600) return fmt::format("{} h", s / 3'600);
    if (s >= 2 * 60) return fmt::format("{} min", s / 60);
    return fmt::format("{} s", s);
}

}  // namespace logstream::ctl
