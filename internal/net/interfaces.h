// The network interfaces of this machine (IPv4), for configuration, discovery and netdiag. Asks the kernel; may be
// called at any time, but is not for a hot path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "internal/env/endpoint.h"
#include "internal/protocol/error.h"

namespace logstream::net {

// One IPv4 address of one interface; an interface with several addresses appears once for each.
struct Interface {
    std::string name;
    int index{};         // the kernel's number of it
    std::uint32_t ip{};  // host byte order, as in env::Endpoint
    std::uint32_t netmask{};
    std::uint32_t
        broadcast{};  // of the subnet; on loopback 127.255.255.255; 0 when the interface has none (point to point)
    std::size_t mtu_bytes{};
    bool up{};
    bool carrier{};  // is plugged in; the kernel says so up to a second late
    bool loopback{};
    bool multicast{};  // loopback says no, and yet works when it is chosen by address
};

// In the kernel's order.
std::vector<Interface> interfaces();

// The address that a broker takes when none is given: the first interface that is up, not loopback, plugged in and can
// broadcast; failing that, one that lacks broadcast, or the plug; else 127.0.0.1.
protocol::Result<env::Endpoint> default_address(std::span<const Interface> all, std::uint16_t port);
protocol::Result<env::Endpoint> default_address(std::uint16_t port);

const Interface* find_by_address(std::span<const Interface> all, std::uint32_t ip);
const Interface* find_by_name(std::span<const Interface> all, std::string_view name);

// "10.0.0.1 (eth0), 127.0.0.1 (lo)": for messages that say what could be chosen.
std::string describe_addresses(std::span<const Interface> all);
std::string to_string_ip(std::uint32_t ip);

}  // namespace logstream::net
