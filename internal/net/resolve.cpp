#include "internal/net/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>

namespace logstream::net {

bool is_address(const std::string& host) {
    in_addr address{};
    return inet_pton(AF_INET, host.c_str(), &address) == 1;
}

protocol::Result<std::vector<env::Endpoint>> resolve(const std::string& host, std::uint16_t port) {
    addrinfo hints{};
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int status = getaddrinfo(host.c_str(), nullptr, &hints, &found); status != 0)
        return protocol::fail(protocol::ErrorCode::kNetwork, "'{}' has no IPv4 address: {}", host,
                              gai_strerror(status));
    std::vector<env::Endpoint> out;
    for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
        const auto* address = reinterpret_cast<const sockaddr_in*>(each->ai_addr);
        const env::Endpoint endpoint{ntohl(address->sin_addr.s_addr), port};
        if (std::ranges::find(out, endpoint) == out.end()) out.push_back(endpoint);
    }
    freeaddrinfo(found);
    if (out.empty()) return protocol::fail(protocol::ErrorCode::kNetwork, "'{}' has no IPv4 address", host);
    return out;
}

}  // namespace logstream::net
