#include "internal/net/interfaces.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>

#include "internal/net/polled_fd.h"
#include "internal/net/socket_address.h"

namespace logstream::net {

namespace {

constexpr std::size_t kUsualMtuBytes = 1500;

std::size_t mtu_of(const Fd& any_socket, const char* name) {
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (!any_socket.valid() || ::ioctl(any_socket.get(), SIOCGIFMTU, &request) != 0 || request.ifr_mtu <= 0)
        return kUsualMtuBytes;
    return static_cast<std::size_t>(request.ifr_mtu);
}

// A router may allow IPv6 less than the link carries.
std::size_t ipv6_mtu_of(const std::string& name, std::size_t link_bytes) {
    std::size_t bytes = 0;
    std::ifstream("/proc/sys/net/ipv6/conf/" + name + "/mtu") >> bytes;
    return bytes == 0 ? link_bytes : std::min(bytes, link_bytes);
}

env::Endpoint endpoint_in(const sockaddr* address) {
    SocketAddress out;
    if (address == nullptr || (address->sa_family != AF_INET && address->sa_family != AF_INET6)) return {};
    std::memcpy(out.get(), address, address->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    return out.endpoint();
}

int prefix_bits(const sockaddr* mask) {
    if (mask == nullptr) return 0;
    if (mask->sa_family == AF_INET) return std::popcount(endpoint_in(mask).ip.v4());
    sockaddr_in6 in{};
    std::memcpy(&in, mask, sizeof in);
    int bits = 0;
    for (const std::uint8_t byte : in.sin6_addr.s6_addr) bits += std::popcount(byte);
    return bits;
}

std::uint32_t broadcast_of(const Interface& i, const ifaddrs& entry) {
    if (!i.ip.is_v4()) return 0;
    if (i.loopback) return 0x7fffffff;
    if ((entry.ifa_flags & IFF_BROADCAST) == 0) return 0;
    // An address added without "brd +" has none set, and libc then gives the address itself; but every host of the
    // subnet takes the one with all host bits set for a broadcast.
    if (const auto set = endpoint_in(entry.ifa_broadaddr).ip; !set.is_unspecified() && set != i.ip) return set.v4();
    return i.netmask >= 0xfffffffe ? 0 : i.ip.v4() | ~i.netmask;
}

// What the kernel says of IPv6 addresses, in flags of <linux/if_addr.h>; empty where it does not.
std::map<std::pair<int, protocol::IpAddress>, unsigned> ipv6_flags() {
    std::map<std::pair<int, protocol::IpAddress>, unsigned> out;
    std::ifstream file("/proc/net/if_inet6");
    std::string digits, index, prefix, scope, flags, name;
    while (file >> digits >> index >> prefix >> scope >> flags >> name) {
        if (digits.size() != 32) continue;
        const auto number = [&](std::size_t at) { return std::strtoull(digits.substr(at, 16).c_str(), nullptr, 16); };
        const protocol::IpAddress ip(number(0), number(16));
        const int interface = static_cast<int>(std::strtol(index.c_str(), nullptr, 16));
        out[{interface, ip}] = static_cast<unsigned>(std::strtoul(flags.c_str(), nullptr, 16));
    }
    return out;
}

void take_flags(Interface& i, unsigned flags) {
    constexpr unsigned kTemporary = 0x01, kOptimistic = 0x04, kDadFailed = 0x08, kDeprecated = 0x20, kTentative = 0x40;
    i.passing = (flags & (kTemporary | kDeprecated)) != 0;
    if ((flags & kTentative) != 0 && (flags & kOptimistic) == 0) i.check = Interface::Check::kUnderWay;
    if ((flags & kDadFailed) != 0) i.check = Interface::Check::kTaken;
}

}  // namespace

env::Endpoint Interface::at(std::uint16_t port) const {
    return {ip, port, ip.is_link_local() ? static_cast<std::uint32_t>(index) : 0};
}

bool Interface::is_inner() const {
    constexpr std::string_view kPrefixes[] = {"docker",  "veth", "virbr",  "vnet", "tun",       "tap",   "wg",   "cni",
                                              "flannel", "cali", "podman", "zt",   "tailscale", "lxcbr", "lxdbr"};
    // Docker's networks: br-ex and br-lan are the network itself.
    constexpr std::string_view kBridge = "br-";
    constexpr std::size_t kIdDigits = 12;
    if (name.starts_with(kBridge) && name.size() == kBridge.size() + kIdDigits &&
        name.find_first_not_of("0123456789abcdef", kBridge.size()) == name.npos)
        return true;
    return std::ranges::any_of(kPrefixes, [this](std::string_view prefix) { return name.starts_with(prefix); });
}

std::vector<Interface> interfaces() {
    std::vector<Interface> all;
    ifaddrs* first = nullptr;
    if (::getifaddrs(&first) != 0) return all;
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> release(first, ::freeifaddrs);
    const Fd any_socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const auto flags = ipv6_flags();
    for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
        Interface i;
        i.ip = endpoint_in(entry->ifa_addr).ip;
        if (i.ip.is_unspecified()) continue;
        if (i.ip.is_v4()) i.netmask = endpoint_in(entry->ifa_netmask).ip.v4();
        i.prefix_bits = prefix_bits(entry->ifa_netmask);
        i.up = (entry->ifa_flags & IFF_UP) != 0;
        i.carrier = (entry->ifa_flags & IFF_RUNNING) != 0;
        i.loopback = (entry->ifa_flags & IFF_LOOPBACK) != 0;
        i.multicast = (entry->ifa_flags & IFF_MULTICAST) != 0;
        i.broadcast = broadcast_of(i, *entry);
        // An address label such as "eth0:1" is no interface of its own.
        const std::string_view label = entry->ifa_name;
        i.name = label.substr(0, label.find(':'));
        i.index = static_cast<int>(::if_nametoindex(i.name.c_str()));
        i.mtu_bytes = mtu_of(any_socket, i.name.c_str());
        if (!i.ip.is_v4()) i.mtu_bytes = ipv6_mtu_of(i.name, i.mtu_bytes);
        if (const auto found = flags.find({i.index, i.ip}); found != flags.end()) take_flags(i, found->second);
        all.push_back(std::move(i));
    }
    return all;
}

const Interface* find_by_address(std::span<const Interface> all, const protocol::IpAddress& ip, std::uint32_t scope) {
    auto found = std::ranges::find_if(all, [&](const Interface& i) {
        return i.ip == ip && (scope == 0 || !ip.is_link_local() || i.index == static_cast<int>(scope));
    });
    // All of 127.0.0.0/8 is this machine, whichever of its addresses are listed.
    if (found == all.end() && ip.is_v4() && ip.is_loopback())
        found = std::ranges::find_if(all, [](const Interface& i) { return i.loopback && i.ip.is_v4(); });
    return found == all.end() ? nullptr : &*found;
}

const Interface* find_by_name(std::span<const Interface> all, std::string_view name, Family family) {
    const auto found =
        std::ranges::find_if(all, [&](const Interface& i) { return i.name == name && is_of(family, i.ip); });
    return found == all.end() ? nullptr : &*found;
}

std::string describe_addresses(std::span<const Interface> all) {
    std::string out;
    for (const Interface& i : all)
        out += fmt::format("{}{} ({}{})", out.empty() ? "" : ", ", env::to_string(i.ip), i.name, i.up ? "" : ", down");
    return out.empty() ? "none" : out;
}

}  // namespace logstream::net
