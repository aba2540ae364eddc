// The network interfaces of this machine, for configuration, discovery and netdiag. Asks the kernel; may be called at
// any time, but is not for a hot path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "internal/env/endpoint.h"
#include "internal/protocol/error.h"

namespace logstream::net {

// Of addresses: which are wanted.
enum class Family : std::uint8_t { kAny, kIpv4, kIpv6 };
inline Family family_wanted(const protocol::IpAddress& ip) { return ip.is_v4() ? Family::kIpv4 : Family::kIpv6; }
inline bool is_of(Family family, const protocol::IpAddress& ip) {
    return family == Family::kAny || family == family_wanted(ip);
}

// One address of one interface; an interface with several addresses appears once for each.
struct Interface {
    // Whether an IPv6 address may be used: others on the network are asked first whether they have it (RFC 4862).
    enum class Check : std::uint8_t { kDone, kUnderWay, kTaken };

    std::string name;
    int index{};  // the kernel's number of it
    protocol::IpAddress ip;
    std::uint32_t netmask{};  // IPv4
    int prefix_bits{};
    std::uint32_t
        broadcast{};  // of the subnet; on loopback 127.255.255.255; 0 when there is none (point to point, IPv6)
    std::size_t mtu_bytes{};
    bool up{};
    bool carrier{};  // is plugged in; the kernel says so up to a second late
    bool loopback{};
    bool multicast{};  // loopback says no, and yet IPv4's works when it is chosen by address
    Check check = Check::kDone;
    bool passing{};  // an IPv6 address that the system changes now and then (RFC 8981), or is about to give up

    // Of containers, of virtual machines or a VPN, as its name tells.
    bool is_inner() const;
    env::Endpoint at(std::uint16_t port) const;
};

// In the kernel's order.
std::vector<Interface> interfaces();

// What a broker wants of its address.
struct Wanted {
    std::uint16_t port{};
    std::string interface;  // only this one; empty: any, those of containers and VPNs only if there is no other network
    Family family = Family::kAny;
    std::string_view named = {};  // one of those that may be taken all the same, because somebody named it
};
struct Choice {
    Interface interface;
    env::Endpoint at;
    std::string why;  // a line for people: why it was taken, and what was passed over
};

// The address that a broker takes when none is given: of the first interface that is up, not loopback, plugged in and
// can broadcast; failing that, of one that lacks broadcast, then IPv6 addresses, those that do not need an interface
// named before the others, then what is not plugged in; else loopback's. kNetwork: there is none.
protocol::Result<Choice> choose_address(std::span<const Interface> all, const Wanted& wanted);

// What a datagram carries besides what it is sent for.
inline std::size_t ip_and_udp_bytes(const protocol::IpAddress& ip) { return ip.is_v4() ? 28 : 48; }

// The scope tells link-local addresses of two interfaces apart; 0: the first one that has it.
const Interface* find_by_address(std::span<const Interface> all, const protocol::IpAddress& ip,
                                 std::uint32_t scope = 0);
const Interface* find_by_name(std::span<const Interface> all, std::string_view name, Family family = Family::kAny);

// "10.0.0.1 (eth0), 127.0.0.1 (lo)": for messages that say what could be chosen.
std::string describe_addresses(std::span<const Interface> all);

}  // namespace logstream::net
