// A broker's own address, from what it is told and what the machine has.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <sstream>

#include "internal/boot/own_address.h"
#include "internal/net/resolve.h"

namespace logstream::boot {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

net::Interface made(std::string name, const char* ip) {
    net::Interface i;
    i.name = std::move(name);
    i.index = 7;
    i.ip = *env::parse_ip(ip);
    i.up = i.carrier = i.multicast = true;
    i.loopback = i.name == "lo";
    return i;
}

std::string chosen(std::initializer_list<const char*> found, const std::vector<net::Interface>& all) {
    std::vector<env::Endpoint> endpoints;
    for (const char* each : found) endpoints.push_back({*env::parse_ip(each), 8001});
    const auto best = choose_of_name(endpoints, all);
    return best ? env::to_string(best->at.ip) : "none";
}

TEST(OwnName, StandsForAnAddressOfThisMachine) {
    const std::vector all{made("lo", "127.0.0.1"), made("lo", "::1"), made("eth0", "fd00::1"),
                          made("eth0", "10.0.0.1")};
    EXPECT_EQ(chosen({"10.0.0.9", "10.0.0.1"}, all), "10.0.0.1") << "the other one is another machine's";
    EXPECT_EQ(chosen({"fd00::1", "10.0.0.1"}, all), "10.0.0.1") << "IPv4 goes first";
    EXPECT_EQ(chosen({"fd00::1"}, all), "fd00::1");
    EXPECT_EQ(chosen({"127.0.0.1", "fd00::1"}, all), "fd00::1") << "others can reach it";
    EXPECT_EQ(chosen({"::1", "127.0.0.1"}, all), "127.0.0.1");
    EXPECT_EQ(chosen({"127.0.1.1"}, all), "127.0.1.1") << "all of it is this machine";
    const std::vector some{made("docker0", "172.17.0.1"), made("eth0", "fe80::1"), made("eth0", "fd00::1")};
    EXPECT_EQ(chosen({"172.17.0.1", "fe80::1", "fd00::1"}, some), "fd00::1");
    EXPECT_EQ(chosen({"10.0.0.9", "fd00::9"}, all), "none");
    EXPECT_EQ(chosen({}, all), "none");
}

TEST(FamilyGiven, IsThatOfGroupAndSeeds) {
    config::Config config;
    EXPECT_EQ(family_given(config), net::Family::kAny);
    config.discovery.seeds = {{"name", 8001}, {"fd00::1", 8001}};
    EXPECT_EQ(family_given(config), net::Family::kIpv6);
    config.replication.multicast = config::kMulticastV4;
    EXPECT_EQ(family_given(config), net::Family::kIpv4);
}

class FindOwnAddress : public ::testing::Test {
protected:
    std::string found(const std::string& host) {
        config.node.address = {host, 8001};
        // Once it says that it waits, it may look some times more.
        const auto own = find_own_address(
            loop, config, log, [this] { return said.str().find("waits") != std::string::npos && ++looks > 3; });
        if (!own) return own.error().message;
        return *own ? env::to_string((*own)->at) : "given up";
    }

    net::Loop loop;
    config::Config config;
    std::ostringstream said;
    spdlog::logger log{"test", std::make_shared<spdlog::sinks::ostream_sink_st>(said)};
    int looks = 0;
};

TEST_F(FindOwnAddress, TakesWhatIsGivenAndSaysSo) {
    EXPECT_EQ(found("127.0.0.1"), "127.0.0.1:8001");
    EXPECT_THAT(said.str(), HasSubstr("NET address 127.0.0.1:8001 of lo: it was given"));
    EXPECT_EQ(found("127.9.9.9"), "127.9.9.9:8001") << "all of it is this machine";
    EXPECT_EQ(found("localhost"), "127.0.0.1:8001");
    EXPECT_THAT(said.str(), HasSubstr("'localhost' resolves to "));
}

TEST_F(FindOwnAddress, RefusesWhatThisMachineWillNotHave) {
    EXPECT_THAT(found("192.0.2.1"), HasSubstr("192.0.2.1 is not an address of this machine; its addresses are "));
    EXPECT_THAT(found("2001:db8::1"), HasSubstr("2001:db8::1 is not an address of this machine; its addresses are "));
    EXPECT_THAT(found("fe80::1%nowhere9"), HasSubstr("there is no interface 'nowhere9' on this machine; it has "));
}

// No name service is asked for a name with an empty part.
TEST_F(FindOwnAddress, WaitsForANameAndSaysItOnce) {
    EXPECT_EQ(found("no..name"), "given up");
    const std::string text = said.str();
    EXPECT_THAT(text, HasSubstr("NET this broker waits for its address: 'no..name' has no address: "));
    EXPECT_EQ(text.find("waits"), text.rfind("waits"));
}

}  // namespace
}  // namespace logstream::boot
