// An IPv4 or IPv6 address as one number.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace logstream::proto {
class Member;
}

namespace logstream::protocol {

// 16 bytes. An IPv4 address is its IPv4-mapped form (RFC 4291, section 2.5.5.2), so that it is one value whether it
// came by a socket of its own family or of both. IPv4 addresses are ordered as their numbers, and IPv6 ones as theirs.
class IpAddress {
public:
    // 0.0.0.0, which stands for "none".
    constexpr IpAddress() = default;
    // Host byte order: 127.0.0.1 is 0x7f000001.
    constexpr IpAddress(std::uint32_t v4) : low_(kMapped | v4) {}  // NOLINT(google-explicit-constructor)
    constexpr IpAddress(std::uint64_t high, std::uint64_t low) : high_(high), low_(low) {}
    // In the order of the network.
    static IpAddress from_bytes(std::span<const std::byte, 16> bytes);
    void to_bytes(std::span<std::byte, 16> out) const;

    constexpr bool is_v4() const { return high_ == 0 && (low_ >> 32) == (kMapped >> 32); }
    // Of an IPv4 address, in host byte order.
    constexpr std::uint32_t v4() const { return static_cast<std::uint32_t>(low_); }
    constexpr std::uint64_t high() const { return high_; }
    constexpr std::uint64_t low() const { return low_; }

    // 0.0.0.0 or ::, every address or none.
    constexpr bool is_unspecified() const { return is_v4() ? v4() == 0 : high_ == 0 && low_ == 0; }
    // 127.0.0.0/8 or ::1.
    constexpr bool is_loopback() const { return is_v4() ? v4() >> 24 == 127 : high_ == 0 && low_ == 1; }
    // fe80::/10: means something together with an interface only.
    constexpr bool is_link_local() const { return high_ >> 54 == 0xfe80 >> 6; }
    // 224.0.0.0/4 or ff00::/8.
    constexpr bool is_multicast() const { return is_v4() ? v4() >> 28 == 0xe : high_ >> 56 == 0xff; }

    friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;

private:
    static constexpr std::uint64_t kMapped = std::uint64_t{0xffff} << 32;
    std::uint64_t high_ = 0;
    std::uint64_t low_ = kMapped;
};

inline constexpr IpAddress kLoopbackV6{0, 1};

// A member's address in a message. IPv4 travels as it always has; brokers of before IPv6 read others as 0.0.0.0.
void put_ip(proto::Member& member, const IpAddress& ip);
IpAddress ip_of(const proto::Member& member);

}  // namespace logstream::protocol

template <>
struct std::hash<logstream::protocol::IpAddress> {
    std::size_t operator()(const logstream::protocol::IpAddress& ip) const noexcept {
        return std::hash<std::uint64_t>{}(ip.low() + ip.high() * 0x9e3779b97f4a7c15);
    }
};
