// An IPv4 address and port, as text "ip:port" and as numbers.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "internal/protocol/error.h"

namespace logstream::env {

struct Endpoint {
    std::uint32_t ip{};    // host byte order; 127.0.0.1 is 0x7f000001
    std::uint16_t port{};  // 0 means "none"
    friend constexpr auto operator<=>(const Endpoint&, const Endpoint&) = default;
    bool is_loopback() const { return (ip >> 24) == 127; }
};

std::string to_string(Endpoint e);
// Parses "a.b.c.d:port". Host names are resolved by the callers that may block (tools), never here.
protocol::Result<Endpoint> parse_endpoint(std::string_view text);

}  // namespace logstream::env

template <>
struct std::hash<logstream::env::Endpoint> {
    std::size_t operator()(logstream::env::Endpoint e) const noexcept {
        return std::hash<std::uint64_t>{}((std::uint64_t{e.ip} << 16) | e.port);
    }
};
