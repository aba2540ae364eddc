// A line on a terminal that changes in place: how far a program is that runs long.
#pragma once

#include <chrono>
#include <string>

namespace logstream::runtime {

// How often to show it anew.
inline constexpr std::chrono::milliseconds kStatusEvery{500};

// On stderr, which has to be a terminal; one line of the whole process. Whoever writes something else to it clears it
// first.
bool has_status_line();
void show_status(const std::string& text);
void clear_status();

// "12.3 MB".
std::string bytes_text(double bytes);
// "0:07", "1:02:03".
std::string time_text(std::chrono::seconds time);

}  // namespace logstream::runtime
