#include "internal/net/resolve.h"

#include <net/if.h>
#include <netdb.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "internal/net/socket_address.h"

namespace logstream::net {

using protocol::ErrorCode;
using protocol::fail;

namespace {

std::string_view address_word(Family family) {
    return family == Family::kAny ? "address" : family == Family::kIpv4 ? "IPv4 address" : "IPv6 address";
}

// A zone is an interface's name or its number.
protocol::Result<std::uint32_t> scope_of(const std::string& zone) {
    if (const unsigned index = ::if_nametoindex(zone.c_str()); index != 0) return index;
    std::uint32_t index = 0;
    const auto [end, error] = std::from_chars(zone.data(), zone.data() + zone.size(), index);
    char name[IF_NAMESIZE];
    if (error == std::errc{} && end == zone.data() + zone.size() && ::if_indextoname(index, name) != nullptr)
        return index;
    return fail(ErrorCode::kNetwork, "there is no interface '{}' on this machine; it has {}", zone,
                describe_addresses(interfaces()));
}

protocol::Result<std::vector<env::Endpoint>> look_up(const std::string& host, std::uint16_t port, Family family) {
    addrinfo hints{};
    hints.ai_family = family == Family::kAny ? AF_UNSPEC : family == Family::kIpv4 ? AF_INET : AF_INET6;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int status = getaddrinfo(host.c_str(), nullptr, &hints, &found); status != 0)
        return fail(ErrorCode::kNetwork, "'{}' has no {}: {}", host, address_word(family), gai_strerror(status));
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> release(found, freeaddrinfo);
    std::vector<env::Endpoint> out;
    for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
        SocketAddress address;
        if (each->ai_addrlen > sizeof address) continue;
        std::copy_n(reinterpret_cast<const char*>(each->ai_addr), each->ai_addrlen,
                    reinterpret_cast<char*>(address.get()));
        env::Endpoint endpoint = address.endpoint();
        endpoint.port = port;
        if (is_of(family, endpoint.ip) && std::ranges::find(out, endpoint) == out.end()) out.push_back(endpoint);
    }
    if (out.empty()) return fail(ErrorCode::kNetwork, "'{}' has no {}", host, address_word(family));
    return out;
}

}  // namespace

bool is_address(const std::string& host) { return env::parse_ip(host.substr(0, host.find('%'))).has_value(); }

protocol::Result<std::vector<env::Endpoint>> resolve(const std::string& host, std::uint16_t port, Family family) {
    const auto percent = host.find('%');
    const auto ip = env::parse_ip(host.substr(0, percent));
    if (!ip) return look_up(host, port, family);
    if (!is_of(family, *ip)) return fail(ErrorCode::kNetwork, "'{}' is not an {}", host, address_word(family));
    env::Endpoint out{*ip, port};
    if (percent != host.npos) {
        const auto scope = scope_of(host.substr(percent + 1));
        if (!scope) return std::unexpected(scope.error());
        out.scope = *scope;
    }
    return std::vector{out};
}

}  // namespace logstream::net
