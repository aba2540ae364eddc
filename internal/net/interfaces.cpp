#include "internal/net/interfaces.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>

#include "internal/net/polled_fd.h"

namespace logstream::net {

namespace {

constexpr std::size_t kUsualMtuBytes = 1500;

std::uint32_t ipv4(const sockaddr* address) {
    if (address == nullptr || address->sa_family != AF_INET) return 0;
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    return ntohl(in.sin_addr.s_addr);
}

std::size_t mtu_of(const Fd& any_socket, const char* name) {
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (!any_socket.valid() || ::ioctl(any_socket.get(), SIOCGIFMTU, &request) != 0 || request.ifr_mtu <= 0)
        return kUsualMtuBytes;
    return static_cast<std::size_t>(request.ifr_mtu);
}

std::uint32_t broadcast_of(const Interface& i, const ifaddrs& entry) {
    if (i.loopback) return 0x7fffffff;
    if ((entry.ifa_flags & IFF_BROADCAST) == 0) return 0;
    // An address added without "brd +" has none set, and libc then gives the address itself; but every host of the
    // subnet takes the one with all host bits set for a broadcast.
    if (const std::uint32_t set = ipv4(entry.ifa_broadaddr); set != 0 && set != i.ip) return set;
    return i.netmask >= 0xfffffffe ? 0 : i.ip | ~i.netmask;
}

}  // namespace

std::vector<Interface> interfaces() {
    std::vector<Interface> all;
    ifaddrs* first = nullptr;
    if (::getifaddrs(&first) != 0) return all;
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> release(first, ::freeifaddrs);
    const Fd any_socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
        if (ipv4(entry->ifa_addr) == 0) continue;
        Interface i;
        i.ip = ipv4(entry->ifa_addr);
        i.netmask = ipv4(entry->ifa_netmask);
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
        all.push_back(std::move(i));
    }
    return all;
}

protocol::Result<env::Endpoint> default_address(std::span<const Interface> all, std::uint16_t port) {
    using Wish = bool (*)(const Interface&);
    for (const Wish wish : {Wish{[](const Interface& i) { return !i.loopback && i.carrier && i.broadcast != 0; }},
                            Wish{[](const Interface& i) { return !i.loopback && i.carrier; }},
                            Wish{[](const Interface& i) { return !i.loopback && i.broadcast != 0; }},
                            Wish{[](const Interface& i) { return i.loopback; }}}) {
        const auto found = std::ranges::find_if(all, [&](const Interface& i) { return i.up && wish(i); });
        if (found != all.end()) return env::Endpoint{found->ip, port};
    }
    return protocol::fail(protocol::ErrorCode::kNetwork,
                          "this machine has no network interface that is up, not even loopback (ip link set lo up)");
}

protocol::Result<env::Endpoint> default_address(std::uint16_t port) { return default_address(interfaces(), port); }

const Interface* find_by_address(std::span<const Interface> all, std::uint32_t ip) {
    auto found = std::ranges::find(all, ip, &Interface::ip);
    // All of 127.0.0.0/8 is this machine, whichever of its addresses are listed.
    if (found == all.end() && (ip >> 24) == 127) found = std::ranges::find(all, true, &Interface::loopback);
    return found == all.end() ? nullptr : &*found;
}

const Interface* find_by_name(std::span<const Interface> all, std::string_view name) {
    const auto found = std::ranges::find(all, name, &Interface::name);
    return found == all.end() ? nullptr : &*found;
}

std::string describe_addresses(std::span<const Interface> all) {
    std::string out;
    for (const Interface& i : all)
        out += fmt::format("{}{} ({}{})", out.empty() ? "" : ", ", to_string_ip(i.ip), i.name, i.up ? "" : ", down");
    return out.empty() ? "none" : out;
}

std::string to_string_ip(std::uint32_t ip) {
    return fmt::format("{}.{}.{}.{}", ip >> 24, (ip >> 16) & 255, (ip >> 8) & 255, ip & 255);
}

}  // namespace logstream::net
