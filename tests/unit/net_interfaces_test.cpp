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
    Interface lo = made("lo", kLoopbackIp);
    lo.loopback = true;
    Interface down = made("eth0", 0x0a000001);
    down.up = false;
    Interface tunnel = made("wg0", 0x0a000002);
    tunnel.broadcast = 0;
    Interface unplugged = made("docker0", 0x0a000004);
    unplugged.carrier = false;
    const Interface eth1 = made("eth1", 0x0a000003);

    const auto chosen = [](std::vector<Interface> all) { return default_address(all, 8001)->ip; };
    EXPECT_EQ(chosen({lo, down, tunnel, unplugged, eth1}), eth1.ip);
    EXPECT_EQ(chosen({lo, down, unplugged, tunnel}), tunnel.ip);
    EXPECT_EQ(chosen({lo, down, unplugged}), unplugged.ip);
    EXPECT_EQ(chosen({lo, down}), kLoopbackIp);
    lo.up = false;
    EXPECT_FALSE(default_address(std::vector{lo, down}, 8001).has_value());
    EXPECT_EQ(default_address(8001)->port, 8001);
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
