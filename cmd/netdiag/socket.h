// Plain UDP and TCP sockets, set up as a broker sets up its own (internal/net/udp_socket.h), to be waited for with
// poll.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "internal/env/endpoint.h"
#include "internal/net/interfaces.h"
#include "internal/protocol/error.h"
#include "internal/protocol/frame.h"
#include "internal/protocol/time.h"

namespace logstream::netdiag {

// An open socket, closed with its owner. -1 is none.
class Socket {
public:
    Socket() = default;
    explicit Socket(int fd) : fd_(fd) {}
    Socket(Socket&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
    Socket& operator=(Socket&& other) noexcept;
    ~Socket();

    int get() const { return fd_; }
    bool valid() const { return fd_ >= 0; }

private:
    int fd_ = -1;
};

std::string os_message(int error);

// `type` is SOCK_STREAM or SOCK_DGRAM, for addresses of the family of `ip`. Not blocking.
Socket open_socket(int type, const protocol::IpAddress& ip);
bool set_option(const Socket& socket, int level, int option, int value);
// 0, or the errno.
int bind_to(const Socket& socket, env::Endpoint at);

// The group is received on `interface` alone, and heard by every program of this machine that joined it.
protocol::Result<Socket> open_group_receiver(env::Endpoint group, const net::Interface& interface);
protocol::Result<Socket> open_broadcast_receiver(std::uint16_t port);
// Sends from a free port of the interface's address; multicast leaves by the interface and is heard here, too.
protocol::Result<Socket> open_sender(const net::Interface& interface);

// 0, or the errno.
int send_to(const Socket& socket, env::Endpoint to, std::string_view datagram);
int send_to(const Socket& socket, env::Endpoint to, const protocol::Bytes& datagram);

// Gives every datagram that arrives on the sockets within `limit` to `arrived`, until that returns false.
using Arrived = std::function<bool(std::size_t socket, env::Endpoint from, std::string_view datagram)>;
void receive(std::initializer_list<const Socket*> sockets, protocol::Duration limit, const Arrived& arrived);

}  // namespace logstream::netdiag
