#include "internal/env/endpoint.h"

#include <charconv>

namespace logstream::env {

std::string to_string(Endpoint e) {
    return fmt::format("{}.{}.{}.{}:{}", e.ip >> 24, (e.ip >> 16) & 255, (e.ip >> 8) & 255, e.ip & 255, e.port);
}

namespace {

// Reads a number up to `max` that ends at `terminator` (or at the end of the text when it is 0).
bool take_number(std::string_view& text, char terminator, std::uint32_t max, std::uint32_t& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error != std::errc{} || out > max) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (terminator == 0) return text.empty();
    if (text.empty() || text.front() != terminator) return false;
    text.remove_prefix(1);
    return true;
}

}  // namespace

protocol::Result<Endpoint> parse_endpoint(std::string_view text) {
    std::string_view rest = text;
    std::uint32_t a{}, b{}, c{}, d{}, port{};
    if (!take_number(rest, '.', 255, a) || !take_number(rest, '.', 255, b) || !take_number(rest, '.', 255, c) ||
        !take_number(rest, ':', 255, d) || !take_number(rest, 0, 65535, port))
        return protocol::fail(protocol::ErrorCode::kInvalid,
                              "'{}' is not an address: expected IP:PORT, as in 10.0.0.1:8001", text);
    return Endpoint{(a << 24) | (b << 16) | (c << 8) | d, static_cast<std::uint16_t>(port)};
}

}  // namespace logstream::env
