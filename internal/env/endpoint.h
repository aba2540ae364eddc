// An IPv4 or IPv6 address and port, as text "ip:port" or "[ip]:port" and as numbers.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "internal/protocol/error.h"
#include "internal/protocol/ip_address.h"

namespace logstream::env {

struct Endpoint {
    protocol::IpAddress ip;
    std::uint16_t port{};  // 0 means "none"
    // Of a link-local address: the number of the interface by which it is reached; 0: the one that this node uses.
    std::uint32_t scope{};
    friend constexpr auto operator<=>(const Endpoint&, const Endpoint&) = default;
    bool is_loopback() const { return ip.is_loopback(); }
};

// "10.0.0.1", "fd00::1".
std::string to_string(const protocol::IpAddress& ip);
// Four numbers with dots, or an IPv6 address without brackets and zone; nothing else.
std::optional<protocol::IpAddress> parse_ip(std::string_view text);

std::string to_string(const Endpoint& e);
// Parses "a.b.c.d:port", "[v6]:port" and "[v6%number]:port". Host names, and interfaces by name, are resolved by the
// callers that may block (tools), never here.
protocol::Result<Endpoint> parse_endpoint(std::string_view text);

}  // namespace logstream::env

template <>
struct std::hash<logstream::env::Endpoint> {
    std::size_t operator()(const logstream::env::Endpoint& e) const noexcept {
        return std::hash<logstream::protocol::IpAddress>{}(e.ip) * 31 + (std::size_t{e.scope} << 16 | e.port);
    }
};
