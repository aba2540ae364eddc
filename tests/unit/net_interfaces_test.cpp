#include "internal/net/interfaces.h"
#include "tests/unit/net_fixture.h"

namespace logstream::net {
namespace {

Interface made(std::string name, std::uint32_t ip) {
    Interface i;
    i.name = std::move(name);
    i.ip = ip;
    i.netmask = 0xffffff00;
    i.broadcast = ip | 0xff;
    i.mtu_bytes = 1500;
    i.up = i.carrier = i.multicast = true;
    return i;
}

Interface made_v6(std::string name, const char* ip, int index = 7) {
    Interface i = made(std::move(name), 0);
    i.index = index;
    i.ip = *env::parse_ip(ip);
    i.netmask = i.broadcast = 0;
    return i;
}

Interface loopback(const char* ip) {
    Interface i = made("lo", 0);
    i.ip = *env::parse_ip(ip);
    i.loopback = true;
    return i;
}

std::string chosen(const std::vector<Interface>& all, const Wanted& wanted = {8001, ""}) {
    const auto choice = choose_address(all, wanted);
    return choice ? env::to_string(choice->at) : choice.error().message;
}

TEST(Interfaces, LoopbackIsListedWithItsBroadcastAddress) {
    const auto all = interfaces();
    const Interface* lo = find_by_address(all, kLoopbackIp);
    ASSERT_NE(lo, nullptr);
    EXPECT_TRUE(lo->loopback);
    EXPECT_TRUE(lo->up);
    EXPECT_EQ(lo->broadcast, 0x7fffffffu);
    EXPECT_GT(lo->index, 0);
    EXPECT_GE(lo->mtu_bytes, 1500u);
    EXPECT_EQ(find_by_name(all, lo->name), lo);
    EXPECT_EQ(find_by_address(all, 0x7f000909)->name, lo->name) << "all of 127.0.0.0/8 is this machine";
    EXPECT_EQ(find_by_name(all, "no-such-one"), nullptr);
    EXPECT_EQ(find_by_address(all, 0x01020304), nullptr);
}

TEST(Interfaces, DefaultAddressIsTheFirstUsefulOne) {
    Interface lo = loopback("127.0.0.1");
    Interface down = made("eth0", 0x0a000001);
    down.up = false;
    Interface line = made("ppp0", 0x0a000002);
    line.broadcast = 0;
    Interface unplugged = made("eth2", 0x0a000004);
    unplugged.carrier = false;
    const Interface eth1 = made("eth1", 0x0a000003);

    EXPECT_EQ(chosen({lo, down, line, unplugged, eth1}), "10.0.0.3:8001");
    EXPECT_EQ(chosen({lo, down, unplugged, line}), "10.0.0.2:8001");
    EXPECT_EQ(chosen({lo, down, unplugged}), "10.0.0.4:8001");
    EXPECT_EQ(chosen({lo, down}), "127.0.0.1:8001");
    lo.up = false;
    EXPECT_THAT(chosen({lo, down}), ::testing::HasSubstr("no network interface that is up"));
    EXPECT_EQ(choose_address(interfaces(), {8001, ""})->at.port, 8001);
}

TEST(Interfaces, ThoseOfContainersAndVpnsAreTakenOnlyWhenTheyAreNamedOrAlone) {
    const Interface lo = loopback("127.0.0.1");
    const Interface eth9 = made("eth9", 0x0a000009);
    for (const char* name : {"docker0", "br-1f2e3d4a5b6c", "veth12ab", "virbr0", "tun0", "tap3", "wg0", "cni0",
                             "flannel.1", "podman1", "ztabc", "tailscale0"}) {
        const Interface inner = made(name, 0xac110001);
        EXPECT_TRUE(inner.is_inner()) << name;
        EXPECT_EQ(chosen({inner, lo}), "172.17.0.1:8001") << name << ": there is no other network";
        EXPECT_EQ(chosen({inner, eth9, lo}), "10.0.0.9:8001") << name;
        EXPECT_EQ(chosen({inner, eth9, lo}, {8001, name}), "172.17.0.1:8001");
        const Interface other = made("docker7", 0xac120001);
        EXPECT_EQ(chosen({other, inner, lo}, {8001, "", Family::kAny, name}), "172.17.0.1:8001");
        EXPECT_THAT(choose_address(std::vector{inner, eth9, lo}, {8001, ""})->why,
                    ::testing::HasSubstr(fmt::format("used only on request: 172.17.0.1 ({})", name)));
    }
    for (const char* name :
         {"eth0", "enp3s0", "br0", "br-ex", "br-lan", "bond0", "wlan0", "wwan0", "ppp0", "ib0", "eth0.17"})
        EXPECT_FALSE(made(name, 1).is_inner()) << name;
}

TEST(Interfaces, Ipv6IsTakenWhereThereIsNoIpv4OrItIsWanted) {
    const Interface lo4 = loopback("127.0.0.1"), lo6 = loopback("::1");
    const Interface v4 = made("eth0", 0x0a000001);
    const Interface global = made_v6("eth0", "fd00::1"), local = made_v6("eth0", "fe80::1");
    Interface temporary = made_v6("eth0", "fd00::aaaa");
    temporary.passing = true;
    EXPECT_EQ(chosen({lo4, lo6, global, local, v4}), "10.0.0.1:8001");
    EXPECT_EQ(chosen({lo4, lo6, local, temporary, global}), "[fd00::1]:8001");
    EXPECT_EQ(chosen({lo4, lo6, local}), "[fe80::1%7]:8001");
    EXPECT_EQ(chosen({lo4, lo6, v4, local, global}, {8001, "", Family::kIpv6}), "[fd00::1]:8001");
    EXPECT_EQ(chosen({lo4, lo6, v4}, {8001, "", Family::kIpv6}), "[::1]:8001");
    EXPECT_EQ(chosen({lo6}), "[::1]:8001");
    EXPECT_EQ(chosen({lo4, v4, local, global}, {8001, "eth0", Family::kIpv6}), "[fd00::1]:8001");
    EXPECT_THAT(chosen({lo4, v4}, {8001, "eth0", Family::kIpv6}),
                ::testing::HasSubstr("there is no interface 'eth0' that is up and has an IPv6 address"));
    Interface doubled = global;
    doubled.check = Interface::Check::kTaken;
    EXPECT_EQ(chosen({lo4, doubled, local}), "[fe80::1%7]:8001") << "another machine has the first one";
}

TEST(Interfaces, LinkLocalAddressesAreToldApartByTheirScope) {
    const std::vector all{made_v6("eth0", "fe80::1", 2), made_v6("eth1", "fe80::1", 3), made_v6("eth1", "fd00::1", 3)};
    EXPECT_EQ(find_by_address(all, *env::parse_ip("fe80::1"))->name, "eth0");
    EXPECT_EQ(find_by_address(all, *env::parse_ip("fe80::1"), 3)->name, "eth1");
    EXPECT_EQ(find_by_address(all, *env::parse_ip("fe80::1"), 4), nullptr);
    EXPECT_EQ(find_by_name(all, "eth1", Family::kIpv4), nullptr);
    EXPECT_EQ(find_by_name(all, "eth1", Family::kIpv6), &all[1]);
}

TEST(Interfaces, AreDescribedForPeople) {
    Interface down = made("eth0", 0x0a000001);
    down.up = false;
    EXPECT_EQ(describe_addresses(std::vector{down, made("eth1", 0x0a000003)}),
              "10.0.0.1 (eth0, down), 10.0.0.3 (eth1)");
    EXPECT_EQ(describe_addresses({}), "none");
}

}  // namespace
}  // namespace logstream::net
