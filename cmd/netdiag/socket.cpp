#include "cmd/netdiag/socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "internal/net/socket_address.h"

namespace logstream::netdiag {

using protocol::ErrorCode;
using protocol::fail;

namespace {
constexpr std::size_t kLargestDatagramBytes = 65536;
}

Socket& Socket::operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
}

Socket::~Socket() {
    if (fd_ >= 0) ::close(fd_);
}

std::string os_message(int error) { return std::generic_category().message(error); }

Socket open_socket(int type, const protocol::IpAddress& ip) {
    Socket socket(::socket(net::family_of(ip), type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!ip.is_v4()) set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    return socket;
}

bool set_option(const Socket& socket, int level, int option, int value) {
    return ::setsockopt(socket.get(), level, option, &value, sizeof value) == 0;
}

int bind_to(const Socket& socket, env::Endpoint at) {
    const net::SocketAddress address(at);
    return ::bind(socket.get(), address.get(), address.size()) == 0 ? 0 : errno;
}

namespace {

bool join(const Socket& socket, const env::Endpoint& group, const net::Interface& interface) {
    if (!group.ip.is_v4()) {
        ipv6_mreq member{};
        member.ipv6mr_multiaddr = net::to_in6(group.ip);
        member.ipv6mr_interface = static_cast<unsigned>(interface.index);
        return ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &member, sizeof member) == 0;
    }
    set_option(socket, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    ip_mreqn member{};
    member.imr_multiaddr.s_addr = htonl(group.ip.v4());
    member.imr_address.s_addr = htonl(interface.ip.v4());
    member.imr_ifindex = interface.index;
    return ::setsockopt(socket.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &member, sizeof member) == 0;
}

}  // namespace

protocol::Result<Socket> open_group_receiver(env::Endpoint group, const net::Interface& interface) {
    Socket socket = open_socket(SOCK_DGRAM, group.ip);
    set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1);
    const env::Endpoint at{group.ip, group.port, static_cast<std::uint32_t>(interface.index)};
    if (const int error = bind_to(socket, at); error != 0)
        return fail(ErrorCode::kNetwork, "can't receive on {}: {}", env::to_string(group), os_message(error));
    if (!join(socket, group, interface))
        return fail(ErrorCode::kNetwork, "can't join {} on {}: {}", env::to_string(group.ip), interface.name,
                    os_message(errno));
    return socket;
}

protocol::Result<Socket> open_broadcast_receiver(std::uint16_t port) {
    Socket socket = open_socket(SOCK_DGRAM, {});
    set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(socket, SOL_SOCKET, SO_BROADCAST, 1);
    if (const int error = bind_to(socket, {0, port}); error != 0)
        return fail(ErrorCode::kNetwork, "can't receive on UDP port {}: {}", port, os_message(error));
    return socket;
}

protocol::Result<Socket> open_sender(const net::Interface& interface) {
    Socket socket = open_socket(SOCK_DGRAM, interface.ip);
    set_option(socket, SOL_SOCKET, SO_BROADCAST, 1);
    if (const int error = bind_to(socket, interface.at(0)); error != 0)
        return fail(ErrorCode::kNetwork, "can't send from {}: {}", env::to_string(interface.ip), os_message(error));
    // A group that can't be sent to shows when it is sent to.
    if (!interface.ip.is_v4()) {
        set_option(socket, IPPROTO_IPV6, IPV6_DONTFRAG, 1);
        set_option(socket, IPPROTO_IPV6, IPV6_MULTICAST_IF, interface.index);
        set_option(socket, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1);
        return socket;
    }
    set_option(socket, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
    ip_mreqn out{};
    out.imr_address.s_addr = htonl(interface.ip.v4());
    out.imr_ifindex = interface.index;
    ::setsockopt(socket.get(), IPPROTO_IP, IP_MULTICAST_IF, &out, sizeof out);
    set_option(socket, IPPROTO_IP, IP_MULTICAST_LOOP, 1);
    return socket;
}

int send_to(const Socket& socket, env::Endpoint to, std::string_view datagram) {
    const net::SocketAddress address(to);
    const ssize_t sent = ::sendto(socket.get(), datagram.data(), datagram.size(), 0, address.get(), address.size());
    return sent >= 0 ? 0 : errno;
}

int send_to(const Socket& socket, env::Endpoint to, const protocol::Bytes& datagram) {
    return send_to(socket, to, datagram.view());
}

void receive(std::initializer_list<const Socket*> sockets, protocol::Duration limit, const Arrived& arrived) {
    std::vector<pollfd> waiting;
    for (const Socket* socket : sockets) waiting.push_back({socket->get(), POLLIN, 0});
    std::vector<char> buffer(kLargestDatagramBytes);
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (true) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0) return;
        if (::poll(waiting.data(), waiting.size(), static_cast<int>(left.count())) < 0 && errno != EINTR) return;
        for (std::size_t i = 0; i < waiting.size(); ++i) {
            if (std::exchange(waiting[i].revents, 0) == 0) continue;
            net::SocketAddress from;
            socklen_t size = sizeof from;
            // An error that the kernel reports here (port unreachable) is read and forgotten.
            const ssize_t got = ::recvfrom(waiting[i].fd, buffer.data(), buffer.size(), 0, from.get(), &size);
            if (got < 0) continue;
            if (!arrived(i, from.endpoint(), {buffer.data(), static_cast<std::size_t>(got)})) return;
        }
    }
}

}  // namespace logstream::netdiag
