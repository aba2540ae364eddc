// An endpoint as the kernel takes and gives it.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "internal/env/endpoint.h"

namespace logstream::net {

// AF_INET or AF_INET6.
inline int family_of(const protocol::IpAddress& ip) { return ip.is_v4() ? AF_INET : AF_INET6; }

in6_addr to_in6(const protocol::IpAddress& ip);

class SocketAddress {
public:
    // Room for what the kernel fills in.
    SocketAddress() { v6_ = {}; }
    // As a socket of this family takes it: one of AF_INET6 takes IPv4 addresses in their mapped form.
    SocketAddress(const env::Endpoint& e, int family);
    explicit SocketAddress(const env::Endpoint& e) : SocketAddress(e, family_of(e.ip)) {}

    env::Endpoint endpoint() const;
    sockaddr* get() { return &any_; }
    const sockaddr* get() const { return &any_; }
    socklen_t size() const { return any_.sa_family == AF_INET ? sizeof v4_ : sizeof v6_; }

private:
    union {
        sockaddr any_;
        sockaddr_in v4_;
        sockaddr_in6 v6_;
    };
};

}  // namespace logstream::net
