// The monotonic time that every room counts in. Pure rooms get it as an argument and never read a clock.
#pragma once

#include <chrono>

namespace logstream::protocol {

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

// For people: log lines and status.
inline double milliseconds(Duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

}  // namespace logstream::protocol
