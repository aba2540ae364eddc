// Tables and figures as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace logstream::ctl {

// Rows of cells; the first row is the head.
using Table = std::vector<std::vector<std::string>>;

// Its lines, with aligned columns.
std::vector<std::string> lines_of(const Table& table);
// The same on stdout.
void print_table(const Table& table);

// "1.5 MiB".
std::string size_text(std::uint64_t bytes);
// "12/s", "0.5/s", "0".
std::string rate_text(double per_second);
// "3 d", "5 h", "12 min", "40 s"
std::string time_text(std::uint64_t ms);

}  // namespace logstream::ctl
