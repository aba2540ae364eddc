// Names to addresses, off the loop.
#include <gtest/gtest.h>

#include <algorithm>

#include "internal/net/resolve.h"
#include "internal/net/resolver.h"

namespace logstream::net {

namespace {

using namespace std::chrono_literals;
using env::Endpoint;

constexpr Endpoint kFirst{0x0a000001, 8001};
constexpr Endpoint kSecond{0x0a000002, 8002};
// No name service is asked for a name with an empty part.
constexpr const char* kNoName = "no..name";

Resolved resolve_whole(std::vector<HostPort> names) {
    Loop loop;
    Resolved last;
    Resolver resolver(loop, std::move(names), [&last](const Resolved& found) { last = found; });
    resolver.look_up();
    loop.run_until([&last] { return last.whole; }, 30s);
    return last;
}

TEST(NetResolver, OneNameThatStandsForNothingLeavesTheOthers) {
    const Resolved found = resolve_whole({{kNoName, 8001}, {"10.0.0.1", 8001}, {"10.0.0.2", 8002}});
    EXPECT_EQ(found.endpoints, (std::vector{kFirst, kSecond}));
    EXPECT_NE(found.trouble.find(kNoName), std::string::npos);
}

TEST(NetResolver, SaysOfEachNameWhyItStandsForNothing) {
    const Resolved found = resolve_whole({{kNoName, 8001}, {"none..either", 8001}});
    EXPECT_TRUE(found.endpoints.empty());
    EXPECT_NE(found.trouble.find(kNoName), std::string::npos);
    EXPECT_NE(found.trouble.find("none..either"), std::string::npos);
}

TEST(NetResolver, AddressesNeedNobodyAndDoNotChange) {
    Loop loop;
    Resolver addresses(loop, {{"10.0.0.1", 8001}}, [](const Resolved&) {});
    EXPECT_FALSE(addresses.may_change());
    Resolver names(loop, {{"10.0.0.1", 8001}, {"localhost", 8001}}, [](const Resolved&) {});
    EXPECT_TRUE(names.may_change());
}

TEST(NetResolver, AddressesOfAFamilyThatIsNotWantedAreLeftOut) {
    Loop loop;
    Resolved last;
    Resolver resolver(
        loop, {{"fd00::1", 8001}, {"10.0.0.1", 8001}}, [&last](const Resolved& found) { last = found; }, Family::kIpv6);
    resolver.look_up();
    loop.run_until([&last] { return last.whole; }, 30s);
    EXPECT_EQ(last.endpoints, (std::vector{Endpoint{{0xfd00'0000'0000'0000, 1}, 8001}}));
    EXPECT_EQ(last.trouble, "'10.0.0.1' is not an IPv6 address");
}

TEST(Resolve, AZoneIsAnInterfaceByNameOrNumber) {
    const auto lo = interfaces().front();
    const auto scope = [](const std::string& zone) { return resolve("fe80::1%" + zone, 8001)->front().scope; };
    EXPECT_EQ(scope(lo.name), static_cast<std::uint32_t>(lo.index));
    EXPECT_EQ(scope(std::to_string(lo.index)), static_cast<std::uint32_t>(lo.index));
    EXPECT_EQ(resolve("fe80::1", 8001)->front().scope, 0u);
    for (const char* zone : {"nowhere9", "99999", ""}) {
        const auto found = resolve(std::string("fe80::1%") + zone, 8001);
        ASSERT_FALSE(found.has_value()) << zone;
        EXPECT_NE(found.error().message.find(fmt::format("there is no interface '{}' on this machine; it has ", zone)),
                  std::string::npos)
            << found.error().message;
    }
}

TEST(Resolve, AnIpv4AddressInIpv6sClothesIsOne) {
    EXPECT_EQ(resolve("::ffff:10.0.0.1", 8001, Family::kIpv4)->front(), kFirst);
    EXPECT_FALSE(resolve("::ffff:10.0.0.1", 8001, Family::kIpv6).has_value());
}

TEST(NetResolver, IsAskedAgainAndAgain) {
    Loop loop;
    int answers = 0;
    Resolver resolver(loop, {{"localhost", 8001}}, [&answers](const Resolved& found) {
        ++answers;
        EXPECT_EQ(std::ranges::count(found.endpoints, Endpoint{0x7f000001, 8001}), 1);
    });
    for (int asked = 1; asked <= 3; ++asked) {
        resolver.look_up();
        EXPECT_TRUE(loop.run_until([&] { return answers == asked; }, 30s));
    }
}

TEST(NetResolver, MayEndWhileItIsAsked) {
    Loop loop;
    {
        Resolver resolver(loop, {{"localhost", 8001}}, [](const Resolved&) { FAIL() << "it was gone"; });
        resolver.look_up();
    }
    loop.run_until([] { return false; }, 50ms);
}

}  // namespace
}  // namespace logstream::net
