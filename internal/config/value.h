// Values as people write them: 15s, 64MiB, 10.0.0.1:8001. What can't be read gives the text of what was expected.
#pragma once

#include <fmt/format.h>

#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "internal/config/config.h"

namespace logstream::config {

// The error completes the sentence "expected …".
template <class T>
using Parsed = std::expected<T, std::string>;

// A whole number of ms, s, m, h or d (us and ns too); the unit is never left out.
Parsed<Duration> parse_duration(std::string_view text);
// The greatest unit that divides it: 90s stays 90s, 120s is 2m.
std::string show_duration(Duration duration);

// A moment, in ms since 1970: a date (2026-11-29), or with the time of day (2026-11-29T10:00, 2026-11-29T10:00:30), in
// UTC, or as far from it as is said (2026-11-29T10:00+01:00); so many ms (1764410400000); or so long before `now_ms`
// (-15m).
Parsed<std::int64_t> parse_time(std::string_view text, std::int64_t now_ms);
// In UTC, with milliseconds: 2026-11-29T10:00:30.250Z. A time outside of the years 0 to 9999 as its number.
std::string format_time(std::int64_t ms);

// A whole number of bytes, or of KiB, MiB, GiB, TiB (1024) or KB, MB, GB, TB (1000); the case does not matter.
Parsed<std::uint64_t> parse_size(std::string_view text);
std::string show_size(std::uint64_t bytes);

// As long as anybody waits: added to a clock, or to itself a few times, it does not overflow.
inline constexpr Duration kLongestWait = std::chrono::hours(24 * 365 * 30);
// How long to wait: a number of `unit`, which may have a fraction, or a whole number with its own unit. What is longer
// than kLongestWait is that.
Parsed<Duration> parse_wait(std::string_view text, Duration unit, Duration least = Duration::zero());

Parsed<bool> parse_bool(std::string_view text);
// Neither infinite nor NaN, and without an exponent.
Parsed<double> parse_number(std::string_view text);
// Without an exponent, which parse_number does not read.
std::string show_number(double value);

// A whole number without sign and nothing after it.
Parsed<std::uint64_t> parse_count(std::string_view text);

template <std::unsigned_integral T>
Parsed<T> parse_count_between(std::string_view text, T least, T most) {
    const auto count = parse_count(text);
    if (count && *count >= least && *count <= most) return static_cast<T>(*count);
    if (most == std::numeric_limits<T>::max()) return std::unexpected(fmt::format("a whole number from {}", least));
    return std::unexpected(fmt::format("a whole number from {} to {}", least, most));
}
Parsed<std::uint64_t> parse_size_between(std::string_view text, std::uint64_t least, std::uint64_t most);

// A port, 1 to 65535.
Parsed<std::uint16_t> parse_port(std::string_view text);
// A name that may be a folder's: 1 to 100 of a-z A-Z 0-9 . _ -, but not "." or "..".
Parsed<std::string> parse_name(std::string_view text);
// HOST:PORT, or PORT with an empty host in the answer; an address must be one that others can connect to.
Parsed<HostPort> parse_node_address(std::string_view text);
std::string show_node_address(const HostPort& address);
// GROUP:PORT with a group in 224.0.0.0/4 or ff00::/8 that reaches other machines. Empty text is no group, port 0.
Parsed<env::Endpoint> parse_multicast(std::string_view text);
std::string show_multicast(const env::Endpoint& group);
Parsed<HttpAddress> parse_http(std::string_view text);
std::string show_http(const HttpAddress& http);
// A host name or an address (IPv6 in brackets, with a zone if need be), and a port. An IPv4 address that is written as
// an IPv6 one becomes what it is.
Parsed<HostPort> parse_host_port(std::string_view text);
// HOST:PORT,HOST:PORT,…; spaces around the commas do not matter; empty text is an empty list. At most 64.
Parsed<std::vector<HostPort>> parse_seeds(std::string_view text);
std::string show_seeds(const std::vector<HostPort>& seeds);

}  // namespace logstream::config
