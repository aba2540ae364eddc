#include "internal/env/env.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <unordered_set>

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
                             "[::1]:8001"}) {
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
    constexpr std::string_view letters = "0123456789.:-+ x";
    for (int i = 0; i < 100000; ++i) {
        std::string text(random() % 24, '0');
        for (char& c : text) c = letters[random() % letters.size()];
        if (const auto e = parse_endpoint(text)) {
            EXPECT_EQ(std::ranges::count(text, '.'), 3);
        }
    }
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
}

}  // namespace
}  // namespace logstream::env
