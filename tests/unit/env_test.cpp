#include "internal/env/env.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <unordered_set>

#include "logstream.pb.h"

namespace logstream::env {
namespace {

TEST(Endpoint, ParsesAndPrints) {
    const auto e = parse_endpoint("10.1.2.3:8001");
    ASSERT_TRUE(e.has_value());
    EXPECT_EQ(e->ip, 0x0a010203u);
    EXPECT_EQ(e->port, 8001);
    EXPECT_EQ(to_string(*e), "10.1.2.3:8001");
    EXPECT_EQ(*parse_endpoint("0.0.0.0:0"), (Endpoint{0, 0}));
    EXPECT_EQ(*parse_endpoint("255.255.255.255:65535"), (Endpoint{0xffffffff, 65535}));
}

TEST(Endpoint, WhatIsNoAddressIsRefusedAndNamed) {
    for (const char* text : {"",
                             ":",
                             "8001",
                             "10.0.0.1",
                             "10.0.0.1:",
                             "10.0.0:8001",
                             "10.0.0.0.1:8001",
                             "256.0.0.1:1",
                             "1.2.3.256:1",
                             "1.2.3.4:65536",
                             "1.2.3.4:99999999999",
                             "1.2.3.4:-1",
                             "1.2.3.4:+1",
                             " 1.2.3.4:1",
                             "1.2.3.4:1 ",
                             "1.2.3.4:1x",
                             "1.2.3.4 :1",
                             "1..3.4:1",
                             ".1.2.3:1",
                             "1.2.3.4::1",
                             "a.b.c.d:1",
                             "0x1.2.3.4:1",
                             "1.2.3.4:0x10",
                             "host:8001",
                             "-1.2.3.4:1",
                             "4294967296.1.1.1:1",
                             "::1:8001",
                             "[::1]",
                             "[::1]8001",
                             "[::1]:",
                             "[10.0.0.1]:8001",
                             "[fd00::1%2]:8001",
                             "[fe80::1%0]:8001",
                             "[fe80::1%eth0]:8001",
                             "[fe80::1%]:8001",
                             "[::1:8001",
                             "[fd00:::1]:8001"}) {
        const auto e = parse_endpoint(text);
        ASSERT_FALSE(e.has_value()) << text;
        EXPECT_EQ(e.error().code, protocol::ErrorCode::kInvalid);
        EXPECT_NE(e.error().message.find(fmt::format("'{}'", text)), std::string::npos) << e.error().message;
    }
}

TEST(Endpoint, EveryAddressSurvivesTheRoundTrip) {
    std::mt19937_64 random(1);
    for (int i = 0; i < 10000; ++i) {
        const Endpoint e{static_cast<std::uint32_t>(random()), static_cast<std::uint16_t>(random())};
        ASSERT_EQ(*parse_endpoint(to_string(e)), e);
    }
}

TEST(Endpoint, RandomTextNeverCrashes) {
    std::mt19937_64 random(2);
    constexpr std::string_view letters = "0123456789.:-+ xf[]%";
    for (int i = 0; i < 100000; ++i) {
        std::string text(random() % 24, '0');
        for (char& c : text) c = letters[random() % letters.size()];
        if (const auto e = parse_endpoint(text)) {
            EXPECT_TRUE(std::ranges::count(text, '.') == 3 || text.front() == '[') << text;
        }
    }
}

TEST(Endpoint, ParsesAndPrintsIpv6) {
    const auto e = parse_endpoint("[fd00:0::00A1]:8001");
    ASSERT_TRUE(e.has_value());
    EXPECT_EQ(e->ip, protocol::IpAddress(0xfd00'0000'0000'0000, 0xa1));
    EXPECT_EQ(to_string(*e), "[fd00::a1]:8001");
    EXPECT_EQ(to_string(*parse_endpoint("[::]:0")), "[::]:0");
    const auto local = parse_endpoint("[fe80::1%2]:8001");
    ASSERT_TRUE(local.has_value());
    EXPECT_EQ(local->scope, 2u);
    EXPECT_EQ(to_string(*local), "[fe80::1%2]:8001");
    EXPECT_NE(*local, *parse_endpoint("[fe80::1%3]:8001"));
    EXPECT_EQ(local->ip, parse_endpoint("[fe80::1]:8001")->ip);
}

TEST(Endpoint, AnIpv4AddressIsTheSameInIpv6sClothes) {
    EXPECT_EQ(*parse_endpoint("[::ffff:10.0.0.1]:8001"), (Endpoint{0x0a000001, 8001}));
    EXPECT_EQ(std::hash<Endpoint>{}(*parse_endpoint("[::ffff:a00:1]:8001")),
              std::hash<Endpoint>{}(Endpoint{0x0a000001, 8001}));
    EXPECT_EQ(to_string(*parse_endpoint("[::ffff:10.0.0.1]:8001")), "10.0.0.1:8001");
    EXPECT_NE(parse_endpoint("[::10.0.0.1]:8001")->ip, protocol::IpAddress(0x0a000001)) << "another address";
}

TEST(Endpoint, EveryIpv6AddressSurvivesTheRoundTrip) {
    std::mt19937_64 random(3);
    for (int i = 0; i < 10000; ++i) {
        // Sparse numbers, so that there are zeros to leave out.
        const Endpoint e{protocol::IpAddress(random() & random() & random(), random() & random() & random()),
                         static_cast<std::uint16_t>(random())};
        ASSERT_EQ(*parse_endpoint(to_string(e)), e) << to_string(e);
        std::array<std::byte, 16> bytes{};
        e.ip.to_bytes(bytes);
        ASSERT_EQ(protocol::IpAddress::from_bytes(bytes), e.ip);
    }
}

TEST(Endpoint, KnowsKindsOfAddresses) {
    const auto ip = [](const char* text) { return *parse_ip(text); };
    for (const char* each : {"0.0.0.0", "::"}) EXPECT_TRUE(ip(each).is_unspecified()) << each;
    for (const char* each : {"::1", "127.3.2.1"}) EXPECT_TRUE(ip(each).is_loopback()) << each;
    for (const char* each : {"fe80::1", "febf::1"}) EXPECT_TRUE(ip(each).is_link_local()) << each;
    for (const char* each : {"fec0::1", "fe00::1", "169.254.1.1"}) EXPECT_FALSE(ip(each).is_link_local()) << each;
    for (const char* each : {"224.0.0.1", "239.255.255.255", "ff02::1"}) EXPECT_TRUE(ip(each).is_multicast()) << each;
    for (const char* each : {"240.0.0.1", "223.0.0.1", "fe80::1", "::"}) EXPECT_FALSE(ip(each).is_multicast()) << each;
    EXPECT_FALSE(ip("::1").is_v4());
    EXPECT_TRUE(ip("::ffff:127.0.0.1").is_loopback());
    EXPECT_LT(ip("9.255.255.255"), ip("10.0.0.0"));
}

TEST(Endpoint, Ipv4TravelsInMessagesAsItAlwaysHas) {
    proto::Member member;
    protocol::put_ip(member, 0x0a000001);
    EXPECT_EQ(member.ip(), 0x0a000001u);
    EXPECT_TRUE(member.ip6().empty());
    EXPECT_EQ(protocol::ip_of(member), protocol::IpAddress(0x0a000001));
    protocol::put_ip(member, *parse_ip("fd00::1"));
    EXPECT_EQ(member.ip(), 0u) << "who does not know of IPv6 takes it for nobody's";
    EXPECT_EQ(protocol::ip_of(member), *parse_ip("fd00::1"));
    member.set_ip6("seventeen bytes..");
    member.set_ip(7);
    EXPECT_EQ(protocol::ip_of(member), protocol::IpAddress(7)) << "what is no address is none";
}

TEST(Endpoint, KnowsLoopback) {
    EXPECT_TRUE(parse_endpoint("127.0.0.1:1")->is_loopback());
    EXPECT_TRUE(parse_endpoint("127.255.255.255:1")->is_loopback());
    EXPECT_FALSE(parse_endpoint("128.0.0.1:1")->is_loopback());
    EXPECT_FALSE(parse_endpoint("10.127.0.1:1")->is_loopback());
}

TEST(Endpoint, HashTellsPortsAndAddressesApart) {
    std::unordered_set<Endpoint> set;
    for (std::uint32_t ip = 0; ip < 100; ++ip)
        for (std::uint16_t port = 0; port < 100; ++port) set.insert({ip, port});
    EXPECT_EQ(set.size(), 10000u);
    for (std::uint64_t low = 0; low < 100; ++low)
        for (std::uint32_t scope = 1; scope < 100; ++scope) set.insert({{0xfe80'0000'0000'0000, low}, 1, scope});
    EXPECT_EQ(set.size(), 19900u);
}

}  // namespace
}  // namespace logstream::env
