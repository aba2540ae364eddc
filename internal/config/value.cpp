#include "internal/config/value.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <ctime>
#include <limits>
#include <optional>

namespace logstream::config {

namespace {

constexpr std::size_t kMaxSeeds = 64;
constexpr std::int64_t kLastTime = 253402300799999;  // of the year 9999
constexpr std::size_t kMaxNameBytes = 100;
constexpr std::size_t kMaxHostBytes = 253;
constexpr std::size_t kMaxZoneBytes = 15;  // as long as the kernel's names of interfaces

struct Unit {
    std::string_view name;
    std::uint64_t factor;
};

// Greatest first. Only the first spelling of a factor is shown.
constexpr std::array kDurations{
    Unit{"d", 86'400'000'000'000},
    Unit{"h", 3'600'000'000'000},
    Unit{"m", 60'000'000'000},
    Unit{"s", 1'000'000'000},
    Unit{"ms", 1'000'000},
    Unit{"us", 1'000},
    Unit{"ns", 1},
};
constexpr std::array kSizes{
    Unit{"TiB", 1ULL << 40},
    Unit{"GiB", 1ULL << 30},
    Unit{"MiB", 1ULL << 20},
    Unit{"KiB", 1ULL << 10},
    Unit{"TB", 1'000'000'000'000},
    Unit{"GB", 1'000'000'000},
    Unit{"MB", 1'000'000},
    Unit{"KB", 1'000},
    Unit{"B", 1},
};

bool same_letters(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b,
                              [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

// A whole number at the front of `text`, which is shortened by it; nullopt when there is none or it is too great.
std::optional<std::uint64_t> take_count(std::string_view& text) {
    std::uint64_t value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{}) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return value;
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

std::optional<std::uint64_t> times(std::uint64_t count, std::uint64_t factor, std::uint64_t limit) {
    if (count > limit / factor) return std::nullopt;
    return count * factor;
}

template <std::size_t N>
std::string show_in_greatest_unit(std::uint64_t value, const std::array<Unit, N>& units) {
    for (const Unit& unit : units)
        if (value % unit.factor == 0) return fmt::format("{}{}", value / unit.factor, unit.name);
    return fmt::format("{}", value);
}

bool is_host_character(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_';
}

// An IPv6 address without brackets, perhaps with a port: what is which can't be told.
bool is_bare_v6(std::string_view text) { return std::ranges::count(text, ':') > 1 && !text.starts_with('['); }

// Between brackets: an IPv6 address and perhaps its zone, the name or the number of an interface.
std::optional<std::string> parse_v6_host(std::string_view text) {
    const auto percent = text.find('%');
    const auto ip = env::parse_ip(text.substr(0, percent));
    if (!ip || text.find(':') == text.npos) return std::nullopt;
    if (percent == text.npos) return env::to_string(*ip);
    const auto zone = text.substr(percent + 1);
    const auto is_zone = [](char c) { return c > ' ' && c < 127 && c != '/' && c != '%'; };
    if (!ip->is_link_local() || zone.empty() || zone.size() > kMaxZoneBytes || !std::ranges::all_of(zone, is_zone))
        return std::nullopt;
    return fmt::format("{}%{}", env::to_string(*ip), zone);
}

std::optional<std::string> parse_host(std::string_view text) {
    if (text.starts_with('[') && text.ends_with(']')) return parse_v6_host(text.substr(1, text.size() - 2));
    if (text.empty() || text.size() > kMaxHostBytes || !std::ranges::all_of(text, is_host_character))
        return std::nullopt;
    // Numbers with dots are an IPv4 address, or a mistake: the C library would take 10.1 for 10.0.0.1. Digits alone are
    // a name, as containers have it, unless they are few enough to be an address to the library.
    const bool numbers = std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0 || c == '.'; });
    constexpr std::size_t kAddressDigits = 10;  // of 2^32 - 1
    const bool is_id = text.find('.') == text.npos && text.size() > kAddressDigits;
    if (numbers && !is_id && !env::parse_ip(text)) return std::nullopt;
    return std::string(text);
}

}  // namespace

Parsed<Duration> parse_duration(std::string_view text) {
    static constexpr auto kExpected = "a whole number with its unit, like 100ms, 15s, 5m, 2h or 7d";
    const auto count = take_count(text);
    if (!count) return std::unexpected(kExpected);
    for (const Unit& unit : kDurations) {
        if (unit.name != text) continue;
        const auto ns = times(*count, unit.factor, static_cast<std::uint64_t>(Duration::max().count()));
        if (!ns) return std::unexpected("at most 106751d");
        return Duration(static_cast<Duration::rep>(*ns));
    }
    return std::unexpected(kExpected);
}

Parsed<Duration> parse_wait(std::string_view text, Duration unit, Duration least) {
    Duration wait = kLongestWait;
    if (const auto number = parse_number(text); number && *number >= 0) {
        // As far as a double goes: a conversion of more would overflow.
        const double units = static_cast<double>(kLongestWait.count()) / static_cast<double>(unit.count());
        if (*number < units) wait = Duration(static_cast<Duration::rep>(*number * static_cast<double>(unit.count())));
    } else if (const auto with_unit = parse_duration(text)) {
        wait = std::min(*with_unit, kLongestWait);
    } else {
        return std::unexpected(fmt::format("a number of {}, or a time with its unit like 500ms, 15s, 5m, 2h or 7d",
                                           show_duration(unit).substr(1)));
    }
    if (wait < least) return std::unexpected(fmt::format("at least {}", show_duration(least)));
    return wait;
}

std::string show_duration(Duration duration) {
    if (duration == Duration::zero()) return "0s";
    return show_in_greatest_unit(static_cast<std::uint64_t>(duration.count()), kDurations);
}

namespace {

// ".25" and the like; nullptr when there is no digit.
const char* take_milliseconds(const char* at, std::int64_t& ms) {
    const char* const begin = ++at;
    for (std::int64_t worth = 100; std::isdigit(static_cast<unsigned char>(*at)) != 0; ++at, worth /= 10)
        ms += (*at - '0') * worth;
    return at == begin ? nullptr : at;
}

}  // namespace

Parsed<std::int64_t> parse_time(std::string_view text, std::int64_t now_ms) {
    static constexpr auto kExpected =
        "a time like 2026-11-29T10:00 (UTC), -15m (15 minutes ago), or a number of milliseconds since 1970";
    if (text.starts_with('-')) {
        const auto ago = parse_duration(text.substr(1));
        if (!ago) return std::unexpected(kExpected);
        return std::max<std::int64_t>(0, now_ms - std::chrono::duration_cast<std::chrono::milliseconds>(*ago).count());
    }
    if (const auto ms = parse_count_between<std::uint64_t>(text, 0, kLastTime)) return static_cast<std::int64_t>(*ms);
    const std::string terminated(text);
    for (const char* format : {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"}) {
        std::tm parts{};
        const char* end = strptime(terminated.c_str(), format, &parts);
        std::int64_t fraction_ms = 0;
        if (end != nullptr && *end == '.') end = take_milliseconds(end, fraction_ms);
        if (end != nullptr && *end != '\0') end = strptime(end, "%z", &parts);
        if (end == nullptr || *end != '\0') continue;
        const std::tm asked = parts;
        const std::int64_t seconds = timegm(&parts) - asked.tm_gmtoff;
        // timegm takes the 31st of February for the 3rd of March.
        if (parts.tm_mday != asked.tm_mday || seconds < 0) break;
        return seconds * 1000 + fraction_ms;
    }
    return std::unexpected(kExpected);
}

std::string format_time(std::int64_t ms) {
    constexpr std::int64_t kFirst = -62167219200000;  // the year 0
    if (ms < kFirst || ms > kLastTime) return fmt::format("{}", ms);
    const std::chrono::sys_time<std::chrono::milliseconds> time{std::chrono::milliseconds(ms)};
    const auto day = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date(day);
    const std::chrono::hh_mm_ss clock(time - day);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                       clock.minutes().count(), clock.seconds().count(), clock.subseconds().count());
}

Parsed<std::uint64_t> parse_size(std::string_view text) {
    static constexpr auto kExpected = "a size like 64MiB, 512KiB, 10GB or a number of bytes";
    const auto count = take_count(text);
    if (!count) return std::unexpected(kExpected);
    if (text.empty()) return *count;
    for (const Unit& unit : kSizes) {
        if (!same_letters(unit.name, text)) continue;
        const auto bytes = times(*count, unit.factor, std::numeric_limits<std::int64_t>::max());
        if (!bytes) return std::unexpected("a size below 8388608TiB");
        return *bytes;
    }
    return std::unexpected(kExpected);
}

Parsed<std::uint64_t> parse_size_between(std::string_view text, std::uint64_t least, std::uint64_t most) {
    const auto bytes = parse_size(text);
    if (bytes && (*bytes < least || *bytes > most))
        return std::unexpected(fmt::format("{} to {}", show_size(least), show_size(most)));
    return bytes;
}

std::string show_size(std::uint64_t bytes) {
    if (bytes == 0) return "0";
    for (const Unit& unit : kSizes)
        if (unit.name.ends_with("iB") && bytes % unit.factor == 0)
            return fmt::format("{}{}", bytes / unit.factor, unit.name);
    return fmt::format("{}", bytes);
}

Parsed<bool> parse_bool(std::string_view text) {
    for (const auto yes : {"true", "yes", "on"})
        if (same_letters(text, yes)) return true;
    for (const auto no : {"false", "no", "off"})
        if (same_letters(text, no)) return false;
    return std::unexpected("true or false");
}

Parsed<double> parse_number(std::string_view text) {
    double value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
    if (error != std::errc{} || end != text.data() + text.size() || !(value == value) ||
        value > std::numeric_limits<double>::max())
        return std::unexpected("a number like 8 or 8.5");
    return value;
}

std::string show_number(double value) {
    std::array<char, 512> text{};  // more than the digits of any double between 0 and 1000
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed).ptr;
    return {text.data(), end};
}

Parsed<std::uint64_t> parse_count(std::string_view text) {
    const auto count = take_count(text);
    if (!count || !text.empty()) return std::unexpected("a whole number");
    return *count;
}

Parsed<std::uint16_t> parse_port(std::string_view text) {
    const auto count = parse_count(text);
    if (!count || *count == 0 || *count > 65535) return std::unexpected("a port from 1 to 65535");
    return static_cast<std::uint16_t>(*count);
}

Parsed<std::string> parse_name(std::string_view text) {
    if (text.empty() || text.size() > kMaxNameBytes || text == "." || text == ".." ||
        !std::ranges::all_of(text, is_host_character))
        return std::unexpected(
            fmt::format("a name of 1 to {} of a-z A-Z 0-9 . _ - (but not \".\" or \"..\")", kMaxNameBytes));
    return std::string(text);
}

Parsed<HostPort> parse_node_address(std::string_view text) {
    if (const auto port = parse_port(text)) return HostPort{"", *port};
    auto at = parse_host_port(text);
    if (!at && is_bare_v6(text)) return at;
    if (!at)
        return std::unexpected(
            "IP:PORT or PORT, like 10.0.0.1:8001 or 8001 (IPv6: [fd00::1]:8001; or a name of this machine "
            "instead of IP)");
    const auto ip = address_in(at->host);
    const bool broadcast = ip && ip->is_v4() && ip->v4() >> 24 >= 224;
    const bool nothing = ip && (ip->is_unspecified() || (ip->is_v4() && ip->v4() >> 24 == 0));
    if (broadcast || nothing || (ip && ip->is_multicast()))
        return std::unexpected(
            "an address of this machine that others can connect to, like 10.0.0.1:8001 (PORT alone selects "
            "the first non-loopback interface)");
    return at;
}

std::string show_node_address(const HostPort& address) {
    return address.host.empty() ? fmt::format("{}", address.port) : to_string(address);
}

Parsed<env::Endpoint> parse_multicast(std::string_view text) {
    if (text.empty()) return env::Endpoint{};
    const auto at = env::parse_endpoint(text);
    const bool within_this_machine = at && !at->ip.is_v4() && (at->ip.high() >> 48 & 0xf) < 2;
    if (!at || at->port == 0 || !at->ip.is_multicast() || within_this_machine)
        return std::unexpected(
            "GROUP:PORT with a group from 224.0.0.0 to 239.255.255.255, like 239.0.0.1:9999, or of IPv6 from ff02:: "
            "up, "
            "like [ff02::ef00:1]:9999");
    return *at;
}

std::string show_multicast(const env::Endpoint& group) { return group.port == 0 ? "" : to_string(group); }

Parsed<HttpAddress> parse_http(std::string_view text) {
    if (text.empty()) return HttpAddress{};
    if (same_letters(text, "off") || same_letters(text, "false") || same_letters(text, "no"))
        return HttpAddress{HttpAddress::Mode::kOff, {}};
    const auto at = env::parse_endpoint(text);
    if (!at || at->port == 0) return std::unexpected("IP:PORT or off, like 127.0.0.1:9001 or [::1]:9001");
    return HttpAddress{HttpAddress::Mode::kAt, *at};
}

std::string show_http(const HttpAddress& http) {
    switch (http.mode) {
        case HttpAddress::Mode::kDefault:
            return "";
        case HttpAddress::Mode::kOff:
            return "off";
        case HttpAddress::Mode::kAt:
            break;
    }
    return to_string(http.at);
}

Parsed<HostPort> parse_host_port(std::string_view text) {
    if (is_bare_v6(text)) return std::unexpected("an IPv6 address in brackets, like [fd00::1]:8001");
    const auto colon = text.rfind(':');
    const auto port = parse_port(colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1));
    const auto host = parse_host(text.substr(0, colon));
    if (!port || !host) return std::unexpected("HOST:PORT, like 10.0.0.1:8001, [fd00::1]:8001 or broker2:8001");
    return HostPort{*host, *port};
}

Parsed<std::vector<HostPort>> parse_seeds(std::string_view text) {
    std::vector<HostPort> seeds;
    if (trimmed(text).empty()) return seeds;
    while (true) {
        const auto comma = text.find(',');
        const auto item = trimmed(text.substr(0, comma));
        auto seed = parse_host_port(item);
        if (!seed && is_bare_v6(item)) return std::unexpected(seed.error());
        if (!seed) return std::unexpected("HOST:PORT,HOST:PORT,… like 10.0.0.1:8001,[fd00::1]:8001,broker2:8001");
        if (seeds.size() == kMaxSeeds) return std::unexpected(fmt::format("at most {} of HOST:PORT", kMaxSeeds));
        seeds.push_back(*std::move(seed));
        if (comma == std::string_view::npos) return seeds;
        text.remove_prefix(comma + 1);
    }
}

std::string to_string(const HostPort& at) {
    const bool v6 = at.host.find(':') != std::string::npos;
    return v6 ? fmt::format("[{}]:{}", at.host, at.port) : fmt::format("{}:{}", at.host, at.port);
}

std::optional<protocol::IpAddress> address_in(std::string_view host) {
    return env::parse_ip(host.substr(0, host.find('%')));
}

std::string show_seeds(const std::vector<HostPort>& seeds) {
    std::vector<std::string> shown;
    shown.reserve(seeds.size());
    for (const auto& seed : seeds) shown.push_back(to_string(seed));
    return fmt::format("{}", fmt::join(shown, ","));
}

}  // namespace logstream::config
