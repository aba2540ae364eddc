#include "cmd/netdiag/socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

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

sockaddr_in to_sockaddr(env::Endpoint e) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(e.port);
    address.sin_addr.s_addr = htonl(e.ip);
    return address;
}

std::string os_message(int error) { return std::generic_category().message(error); }

Socket open_socket(int type) { return Socket(::socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

bool set_option(const Socket& socket, int level, int option, int value) {
    return ::setsockopt(socket.get(), level, option, &value, sizeof value) == 0;
}

int bind_to(const Socket& socket, env::Endpoint at) {
    const sockaddr_in address = to_sockaddr(at);
    return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

protocol::Result<Socket> open_group_receiver(env::Endpoint group, const net::Interface& interface) {
    Socket socket = open_socket(SOCK_DGRAM);
    set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(socket, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    if (const int error = bind_to(socket, group); error != 0)
        return fail(ErrorCode::kNetwork, "can't receive on {}: {}", env::to_string(group), os_message(error));
    ip_mreqn member{};
    member.imr_multiaddr.s_addr = htonl(group.ip);
    member.imr_address.s_addr = htonl(interface.ip);
    member.imr_ifindex = interface.index;
    if (::setsockopt(socket.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &member, sizeof member) != 0)
        return fail(ErrorCode::kNetwork, "can't join {} on {}: {}", net::to_string_ip(group.ip), interface.name,
                    os_message(errno));
    return socket;
}

protocol::Result<Socket> open_broadcast_receiver(std::uint16_t port) {
    Socket socket = open_socket(SOCK_DGRAM);
    set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(socket, SOL_SOCKET, SO_BROADCAST, 1);
    if (const int error = bind_to(socket, {0, port}); error != 0)
        return fail(ErrorCode::kNetwork, "can't receive on UDP port {}: {}", port, os_message(error));
    return socket;
}

protocol::Result<Socket> open_sender(const net::Interface& interface) {
    Socket socket = open_socket(SOCK_DGRAM);
    set_option(socket, SOL_SOCKET, SO_BROADCAST, 1);
    set_option(socket, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
    if (const int error = bind_to(socket, {interface.ip, 0}); error != 0)
        return fail(ErrorCode::kNetwork, "can't send from {}: {}", net::to_string_ip(interface.ip), os_message(error));
    ip_mreqn out{};
    out.imr_address.s_addr = htonl(interface.ip);
    out.imr_ifindex = interface.index;
    // A group that can't be sent to shows when it is sent to.
    ::setsockopt(socket.get(), IPPROTO_IP, IP_MULTICAST_IF, &out, sizeof out);
    set_option(socket, IPPROTO_IP, IP_MULTICAST_LOOP, 1);
    return socket;
}

int send_to(const Socket& socket, env::Endpoint to, std::string_view datagram) {
    const sockaddr_in address = to_sockaddr(to);
    const ssize_t sent = ::sendto(socket.get(), datagram.data(), datagram.size(), 0,
                                  reinterpret_cast<const sockaddr*>(&address), sizeof address);
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
            sockaddr_in from{};
            socklen_t size = sizeof from;
            // An error that the kernel reports here (port unreachable) is read and forgotten.
            const ssize_t got =
                ::recvfrom(waiting[i].fd, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
            if (got < 0) continue;
            const env::Endpoint sender{ntohl(from.sin_addr.s_addr), ntohs(from.sin_port)};
            if (!arrived(i, sender, {buffer.data(), static_cast<std::size_t>(got)})) return;
        }
    }
}

}  // namespace logstream::netdiag
