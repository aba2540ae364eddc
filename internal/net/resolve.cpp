#include "internal/net/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

namespace logstream::net {

protocol::Result<env::Endpoint> resolve(const std::string& host, std::uint16_t port) {
    addrinfo hints{};
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int status = getaddrinfo(host.c_str(), nullptr, &hints, &found); status != 0)
        return protocol::fail(protocol::ErrorCode::kNetwork, "'{}' has no IPv4 address: {}", host,
                              gai_strerror(status));
    const auto* address = reinterpret_cast<const sockaddr_in*>(found->ai_addr);
    const env::Endpoint out{ntohl(address->sin_addr.s_addr), port};
    freeaddrinfo(found);
    return out;
}

}  // namespace logstream::net
