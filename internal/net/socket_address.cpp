#include "internal/net/socket_address.h"

#include <cstring>

namespace logstream::net {

in6_addr to_in6(const protocol::IpAddress& ip) {
    in6_addr out{};
    ip.to_bytes(std::as_writable_bytes(std::span(out.s6_addr)));
    return out;
}

SocketAddress::SocketAddress(const env::Endpoint& e, int family) {
    v6_ = {};
    if (family == AF_INET) {
        v4_.sin_family = AF_INET;
        v4_.sin_port = htons(e.port);
        v4_.sin_addr.s_addr = htonl(e.ip.v4());
        return;
    }
    v6_.sin6_family = AF_INET6;
    v6_.sin6_port = htons(e.port);
    v6_.sin6_addr = to_in6(e.ip);
    v6_.sin6_scope_id = e.scope;
}

env::Endpoint SocketAddress::endpoint() const {
    if (any_.sa_family == AF_INET) return {ntohl(v4_.sin_addr.s_addr), ntohs(v4_.sin_port)};
    if (any_.sa_family != AF_INET6) return {};
    const auto ip = protocol::IpAddress::from_bytes(std::as_bytes(std::span(v6_.sin6_addr.s6_addr)));
    return {ip, ntohs(v6_.sin6_port), ip.is_link_local() ? v6_.sin6_scope_id : 0};
}

}  // namespace logstream::net
