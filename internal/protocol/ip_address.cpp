#include "internal/protocol/ip_address.h"

#include <array>

#include "logstream.pb.h"

namespace logstream::protocol {

namespace {

constexpr std::size_t kBytes = 16;

std::uint64_t number_at(std::span<const std::byte> bytes) {
    std::uint64_t out = 0;
    for (const std::byte each : bytes.first(8)) out = out << 8 | std::to_integer<std::uint64_t>(each);
    return out;
}

void put_number(std::span<std::byte> out, std::uint64_t number) {
    for (std::size_t i = 8; i-- > 0; number >>= 8) out[i] = static_cast<std::byte>(number & 255);
}

}  // namespace

IpAddress IpAddress::from_bytes(std::span<const std::byte, 16> bytes) {
    return {number_at(bytes.first<8>()), number_at(bytes.last<8>())};
}

void IpAddress::to_bytes(std::span<std::byte, 16> out) const {
    put_number(out.first<8>(), high_);
    put_number(out.last<8>(), low_);
}

void put_ip(proto::Member& member, const IpAddress& ip) {
    member.clear_ip();
    member.clear_ip6();
    if (ip.is_v4()) return member.set_ip(ip.v4());
    std::array<std::byte, kBytes> bytes{};
    ip.to_bytes(bytes);
    member.set_ip6(bytes.data(), bytes.size());
}

IpAddress ip_of(const proto::Member& member) {
    if (member.ip6().size() != kBytes) return member.ip();
    return IpAddress::from_bytes(std::as_bytes(std::span(member.ip6())).first<kBytes>());
}

}  // namespace logstream::protocol
