#include "internal/env/endpoint.h"

#include <arpa/inet.h>

#include <array>
#include <charconv>

namespace logstream::env {

using protocol::IpAddress;

namespace {

template <class Number>
bool take_whole(std::string_view text, Number& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc{} && end == text.data() + text.size();
}

std::optional<IpAddress> parse_v4(std::string_view text) {
    std::uint32_t out = 0;
    for (int part = 0; part < 4; ++part) {
        if (part > 0) {
            if (!text.starts_with('.')) return std::nullopt;
            text.remove_prefix(1);
        }
        std::uint32_t number = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (error != std::errc{} || number > 255) return std::nullopt;
        text.remove_prefix(static_cast<std::size_t>(end - text.data()));
        out = out << 8 | number;
    }
    return text.empty() ? std::optional(IpAddress(out)) : std::nullopt;
}

// Of "[ip]" and "[ip%number]".
std::optional<Endpoint> parse_bracketed(std::string_view text) {
    if (!text.starts_with('[') || !text.ends_with(']')) return std::nullopt;
    text = text.substr(1, text.size() - 2);
    Endpoint out;
    const auto zone = text.find('%');
    const auto ip = parse_ip(text.substr(0, zone));
    if (!ip || text.find(':') == text.npos) return std::nullopt;
    out.ip = *ip;
    if (zone == text.npos) return out;
    if (!take_whole(text.substr(zone + 1), out.scope) || out.scope == 0 || !ip->is_link_local()) return std::nullopt;
    return out;
}

std::optional<Endpoint> parse_host(std::string_view text) {
    if (text.find(':') != text.npos) return parse_bracketed(text);
    const auto ip = parse_ip(text);
    return ip ? std::optional(Endpoint{*ip}) : std::nullopt;
}

}  // namespace

std::string to_string(const IpAddress& ip) {
    if (ip.is_v4())
        return fmt::format("{}.{}.{}.{}", ip.v4() >> 24, (ip.v4() >> 16) & 255, (ip.v4() >> 8) & 255, ip.v4() & 255);
    std::array<std::byte, 16> bytes{};
    ip.to_bytes(bytes);
    std::array<char, INET6_ADDRSTRLEN> text{};
    return inet_ntop(AF_INET6, bytes.data(), text.data(), text.size());
}

std::optional<IpAddress> parse_ip(std::string_view text) {
    if (text.find(':') == text.npos) return parse_v4(text);
    std::array<std::byte, 16> bytes{};
    if (text.find('\0') != text.npos || inet_pton(AF_INET6, std::string(text).c_str(), bytes.data()) != 1)
        return std::nullopt;
    return IpAddress::from_bytes(bytes);
}

std::string to_string(const Endpoint& e) {
    if (e.ip.is_v4()) return fmt::format("{}:{}", to_string(e.ip), e.port);
    if (e.scope == 0) return fmt::format("[{}]:{}", to_string(e.ip), e.port);
    return fmt::format("[{}%{}]:{}", to_string(e.ip), e.scope, e.port);
}

protocol::Result<Endpoint> parse_endpoint(std::string_view text) {
    const auto colon = text.rfind(':');
    auto out = colon == text.npos ? std::nullopt : parse_host(text.substr(0, colon));
    if (!out || !take_whole(text.substr(colon + 1), out->port))
        return protocol::fail(protocol::ErrorCode::kInvalid,
                              "'{}' is not an address: expected IP:PORT, as in 10.0.0.1:8001 or [fd00::1]:8001", text);
    return *out;
}

}  // namespace logstream::env
