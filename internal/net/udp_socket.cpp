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

protocol::Result<Fd> new_socket() {
    Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.valid())
        return fail(ErrorCode::kNetwork, "cannot create a UDP socket: {}; check the limit of open files (ulimit -n)",
                    os_message(errno));
    set_option(fd.get(), SOL_SOCKET, SO_RXQ_OVFL, 1);
    return fd;
}

bool bind_to(const Fd& fd, env::Endpoint at) {
    const sockaddr_in address = to_sockaddr(at);
    return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

int as_option(std::size_t bytes) {
    return static_cast<int>(std::min<std::size_t>(bytes, std::numeric_limits<int>::max() / 2));
}

}  // namespace

sockaddr_in to_sockaddr(env::Endpoint e) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(e.port);
    address.sin_addr.s_addr = htonl(e.ip);
    return address;
}

env::Endpoint to_endpoint(const sockaddr_in& address) {
    return {ntohl(address.sin_addr.s_addr), ntohs(address.sin_port)};
}

protocol::Error bind_error(env::Endpoint at, int os_error, std::string_view protocol_name, std::string_view flag) {
    const std::string address = env::to_string(at);
    switch (os_error) {
        case EADDRINUSE:
            return {ErrorCode::kNetwork,
                    fmt::format("address {} ({}) is in use by another program; choose another with {}", address,
                                protocol_name, flag)};
        case EADDRNOTAVAIL:
            return {ErrorCode::kNetwork,
                    fmt::format("{} is not an address of this machine; its addresses are {}; choose one with {}",
                                to_string_ip(at.ip), describe_addresses(interfaces()), flag)};
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

protocol::Result<Fd> open_own_socket(env::Endpoint at) {
    auto fd = new_socket();
    if (!fd) return fd;
    set_option(fd->get(), SOL_SOCKET, SO_BROADCAST, 1);
    // Never fragmented by IP: one lost fragment would lose the whole datagram. Too large ones are refused, and counted.
    set_option(fd->get(), IPPROTO_IP, IP_MTU_DISCOVER, int{IP_PMTUDISC_DO});
    if (!bind_to(*fd, at)) return std::unexpected(bind_error(at, errno, "UDP", "--address"));
    return fd;
}

env::Endpoint bound_address(int fd) {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
    return to_endpoint(address);
}

protocol::Result<void> send_multicast_by(int fd, const Interface& interface, int ttl) {
    ip_mreqn out{};
    out.imr_address.s_addr = htonl(interface.ip);
    out.imr_ifindex = interface.index;
    if (!set_option(fd, IPPROTO_IP, IP_MULTICAST_IF, out) || !set_option(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 1) ||
        !set_option(fd, IPPROTO_IP, IP_MULTICAST_TTL, ttl))
        return fail(ErrorCode::kNetwork, "cannot send multicast by {}: {}", interface.name, os_message(errno));
    return {};
}

protocol::Result<Fd> open_multicast_receiver(env::Endpoint group, const Interface& interface) {
    auto fd = new_socket();
    if (!fd) return fd;
    set_option(fd->get(), SOL_SOCKET, SO_REUSEADDR, 1);
    if (!bind_to(*fd, group)) return std::unexpected(bind_error(group, errno, "multicast", "--multicast"));
    ip_mreqn member{};
    member.imr_multiaddr.s_addr = htonl(group.ip);
    member.imr_address.s_addr = htonl(interface.ip);
    member.imr_ifindex = interface.index;
    // Without IP_MULTICAST_ALL off, the kernel would also deliver what other programs of this host joined elsewhere.
    if (!set_option(fd->get(), IPPROTO_IP, IP_MULTICAST_ALL, 0) ||
        !set_option(fd->get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, member))
        return fail(ErrorCode::kNetwork, "cannot join {} on {}: {}", to_string_ip(group.ip), interface.name,
                    os_message(errno));
    // What was sent as one packet is received as one, where the kernel can (since 5.0).
    set_option(fd->get(), SOL_UDP, UDP_GRO, 1);
    return fd;
}

protocol::Result<Fd> open_broadcast_receiver(std::uint16_t port) {
    auto fd = new_socket();
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
