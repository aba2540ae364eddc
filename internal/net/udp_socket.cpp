#include "internal/net/udp_socket.h"

#include <arpa/inet.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <system_error>

namespace logstream::net {

using protocol::ErrorCode;
using protocol::fail;

namespace {

std::string os_message(int error) { return std::generic_category().message(error); }

template <class T>
bool set_option(int fd, int level, int option, const T& value) {
    return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

protocol::Result<Fd> new_socket(int family) {
    Fd fd(::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.valid() && errno == EAFNOSUPPORT)
        return fail(ErrorCode::kNetwork, "this machine has no IPv6: choose an IPv4 address with --address");
    if (!fd.valid())
        return fail(ErrorCode::kNetwork, "cannot create a UDP socket: {}; check the limit of open files (ulimit -n)",
                    os_message(errno));
    set_option(fd.get(), SOL_SOCKET, SO_RXQ_OVFL, 1);
    if (family == AF_INET6) set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
    return fd;
}

bool bind_to(const Fd& fd, const SocketAddress& at) { return ::bind(fd.get(), at.get(), at.size()) == 0; }
bool bind_to(const Fd& fd, const env::Endpoint& at) { return bind_to(fd, SocketAddress(at)); }

// Never fragmented by IP: one lost fragment would lose the whole datagram. Too large ones are refused, and counted.
void never_fragment(int fd, int family) {
    set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, int{IP_PMTUDISC_DO});
    if (family != AF_INET6) return;
    set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, int{IPV6_PMTUDISC_DO});
    set_option(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1);
}

int as_option(std::size_t bytes) {
    return static_cast<int>(std::min<std::size_t>(bytes, std::numeric_limits<int>::max() / 2));
}

}  // namespace

protocol::Error bind_error(const env::Endpoint& at, int os_error, std::string_view protocol_name,
                           std::string_view flag) {
    const std::string address = env::to_string(at);
    switch (os_error) {
        case EADDRINUSE:
            return {ErrorCode::kNetwork,
                    fmt::format("address {} ({}) is in use by another program; choose another with {}", address,
                                protocol_name, flag)};
        case EADDRNOTAVAIL:
            return {ErrorCode::kNetwork,
                    fmt::format("{} is not an address of this machine; its addresses are {}; choose one with {}",
                                env::to_string(at.ip), describe_addresses(interfaces()), flag)};
        case EACCES:
        case EPERM:
            return {ErrorCode::kNetwork,
                    fmt::format("no permission to use {} ({}); choose a port of 1024 or more with {}", address,
                                protocol_name, flag)};
        default:
            return {ErrorCode::kNetwork,
                    fmt::format("cannot use {} ({}): {}; see {}", address, protocol_name, os_message(os_error), flag)};
    }
}

protocol::Result<Fd> open_own_socket(const env::Endpoint& at) {
    const int family = family_of(at.ip);
    auto fd = new_socket(family);
    if (!fd) return fd;
    set_option(fd->get(), SOL_SOCKET, SO_BROADCAST, 1);
    never_fragment(fd->get(), family);
    if (!bind_to(*fd, at)) return std::unexpected(bind_error(at, errno, "UDP", "--address"));
    return fd;
}

protocol::Result<Fd> open_client_socket() {
    auto both = new_socket(AF_INET6);
    if (!both) return open_own_socket({});
    set_option(both->get(), SOL_SOCKET, SO_BROADCAST, 1);
    never_fragment(both->get(), AF_INET6);
    const SocketAddress any({protocol::IpAddress(0, 0)}, AF_INET6);
    if (!set_option(both->get(), IPPROTO_IPV6, IPV6_V6ONLY, 0) || !bind_to(*both, any)) return open_own_socket({});
    return both;
}

env::Endpoint bound_address(int fd) {
    SocketAddress address;
    socklen_t size = sizeof address;
    if (::getsockname(fd, address.get(), &size) != 0) return {};
    return address.endpoint();
}

int family_of_socket(int fd) {
    int family = AF_INET;
    socklen_t size = sizeof family;
    ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size);
    return family;
}

protocol::Result<void> send_multicast_by(int fd, const Interface& interface, int ttl) {
    bool done = false;
    if (interface.ip.is_v4()) {
        ip_mreqn out{};
        out.imr_address.s_addr = htonl(interface.ip.v4());
        out.imr_ifindex = interface.index;
        done = set_option(fd, IPPROTO_IP, IP_MULTICAST_IF, out) && set_option(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 1) &&
               set_option(fd, IPPROTO_IP, IP_MULTICAST_TTL, ttl);
    } else {
        done = set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, interface.index) &&
               set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1) &&
               set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, ttl);
    }
    if (!done) return fail(ErrorCode::kNetwork, "cannot send multicast by {}: {}", interface.name, os_message(errno));
    return {};
}

namespace {

// Without ..._MULTICAST_ALL off, the kernel would also deliver what other programs of this host joined elsewhere.
bool join(int fd, const env::Endpoint& group, const Interface& interface) {
    if (group.ip.is_v4()) {
        ip_mreqn member{};
        member.imr_multiaddr.s_addr = htonl(group.ip.v4());
        member.imr_address.s_addr = htonl(interface.ip.v4());
        member.imr_ifindex = interface.index;
        return set_option(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0) && set_option(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, member);
    }
    constexpr int kIpv6MulticastAll = 29;  // of <linux/in6.h>, which does not go together with <netinet/in.h>
    set_option(fd, IPPROTO_IPV6, kIpv6MulticastAll, 0);
    ipv6_mreq member{};
    member.ipv6mr_multiaddr = to_in6(group.ip);
    member.ipv6mr_interface = static_cast<unsigned>(interface.index);
    return set_option(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, member);
}

}  // namespace

protocol::Result<Fd> open_multicast_receiver(const env::Endpoint& group, const Interface& interface,
                                             std::string_view flag) {
    auto fd = new_socket(family_of(group.ip));
    if (!fd) return fd;
    set_option(fd->get(), SOL_SOCKET, SO_REUSEADDR, 1);
    // An IPv6 group may be one of a link: which one is part of the address.
    const env::Endpoint at{group.ip, group.port, static_cast<std::uint32_t>(interface.index)};
    if (!bind_to(*fd, at)) return std::unexpected(bind_error(group, errno, "multicast", flag));
    if (!join(fd->get(), group, interface))
        return fail(ErrorCode::kNetwork, "cannot join {} on {}: {}", env::to_string(group.ip), interface.name,
                    os_message(errno));
    // What was sent as one packet is received as one, where the kernel can (since 5.0).
    set_option(fd->get(), SOL_UDP, UDP_GRO, 1);
    return fd;
}

protocol::Result<Fd> open_broadcast_receiver(std::uint16_t port) {
    auto fd = new_socket(AF_INET);
    if (!fd) return fd;
    set_option(fd->get(), SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(fd->get(), SOL_SOCKET, SO_BROADCAST, 1);
    set_option(fd->get(), IPPROTO_IP, IP_PKTINFO, 1);  // by which interface it came in
    const env::Endpoint any{0, port};
    if (!bind_to(*fd, any)) return std::unexpected(bind_error(any, errno, "UDP broadcast", "--broadcast-port"));
    return fd;
}

std::size_t grow_receive_buffer(int fd, std::size_t bytes) {
    // FORCE may go over net.core.rmem_max but needs CAP_NET_ADMIN.
    if (!set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, as_option(bytes)))
        set_option(fd, SOL_SOCKET, SO_RCVBUF, as_option(bytes));
    int given = 0;
    socklen_t size = sizeof given;
    if (::getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &given, &size) != 0 || given < 0) return 0;
    return static_cast<std::size_t>(given) / 2;
}

void grow_send_buffer(int fd, std::size_t bytes) {
    if (!set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, as_option(bytes)))
        set_option(fd, SOL_SOCKET, SO_SNDBUF, as_option(bytes));
}

}  // namespace logstream::net
