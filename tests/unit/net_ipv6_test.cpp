// What differs with IPv6, on its loopback. Groups need a network: tests/integration has them.
#include "internal/net/udp_socket.h"
#include "tests/unit/net_tcp_fixture.h"

namespace logstream::net {
namespace {

using ::testing::HasSubstr;

class Ipv6 : public NetTest {
protected:
    void SetUp() override {
        if (find_by_address(interfaces(), protocol::kLoopbackV6) == nullptr) GTEST_SKIP() << "this machine has no ::1";
    }
    static NetOptions six() {
        NetOptions options = broker();
        options.listen = env::Endpoint{protocol::kLoopbackV6, 0};
        options.broadcast_port = bound_address(open_own_socket({0, 0})->get()).port;
        options.listen_broadcast = true;
        return options;
    }
    static env::OutFrame frame(std::uint64_t sender, std::string_view text) {
        protocol::FrameHeader header;
        header.type = protocol::MessageType::kJoin;
        header.cluster = protocol::cluster_tag("net-test");
        header.sender = protocol::NodeId{sender};
        return {protocol::encode_frame(header, std::as_bytes(std::span(text))), {}};
    }
};

TEST_F(Ipv6, DatagramsAndConnectionsComeFromTheNodesOwnAddress) {
    Recorder server_side, client_side;
    NetOptions options = six();
    auto a = open(options), b = open(options);
    EXPECT_EQ(a->local_address().ip, protocol::kLoopbackV6);
    std::vector<env::ReceivedFrame> got;
    b->on_frame([&](env::ReceivedFrame f) { got.push_back(std::move(f)); });
    std::vector<env::Endpoint> from;
    b->on_accept([&](ConnectionId, env::Endpoint at) {
        from.push_back(at);
        return &server_side;
    });
    a->send_datagram(b->local_address(), frame(1, "hello"));
    ASSERT_TRUE(eventually([&] { return got.size() == 1; }));
    EXPECT_EQ(got[0].from, a->local_address());
    a->connect(b->local_address(), 5s, client_side);
    ASSERT_TRUE(eventually([&] { return from.size() == 1 && !client_side.connected.empty(); }));
    EXPECT_EQ(from[0].ip, protocol::kLoopbackV6);
}

// IPv6 has no broadcast, and its loopback no multicast.
TEST_F(Ipv6, BrokersAndClientsFindEachOtherOnLoopback) {
    const NetOptions options = six();
    auto a = open(options), b = open(options);
    a->set_self(protocol::NodeId{1});
    b->set_self(protocol::NodeId{2});
    std::vector<env::ReceivedFrame> at_a, at_b, at_user;
    a->on_frame([&](env::ReceivedFrame f) { at_a.push_back(std::move(f)); });
    b->on_frame([&](env::ReceivedFrame f) { at_b.push_back(std::move(f)); });
    a->broadcast(frame(1, "join"));
    ASSERT_TRUE(eventually([&] { return at_b.size() == 1; }));
    EXPECT_EQ(at_b[0].channel, env::Channel::kBroadcast);

    NetOptions anywhere = client();
    anywhere.broadcast_port = options.broadcast_port;
    auto user = open(anywhere);
    user->on_frame([&](env::ReceivedFrame f) { at_user.push_back(std::move(f)); });
    user->broadcast(frame(0, "who is there?"));
    ASSERT_TRUE(eventually([&] { return at_a.size() == 1; }));
    a->send_datagram(at_a[0].from, frame(1, "I am"));
    ASSERT_TRUE(eventually([&] { return at_user.size() == 1; }));
    EXPECT_EQ(at_user[0].from, a->local_address());
}

TEST_F(Ipv6, AClientTalksToBothFamilies) {
    Recorder four_side, six_side, client_side;
    auto four = open_server(four_side);
    auto other = open(six());
    other->on_accept([&](ConnectionId, env::Endpoint) { return &six_side; });
    auto user = open(client());
    std::vector<env::ReceivedFrame> got;
    four->on_frame([&](env::ReceivedFrame f) { got.push_back(std::move(f)); });
    other->on_frame([&](env::ReceivedFrame f) { got.push_back(std::move(f)); });
    user->connect(four->local_address(), 5s, client_side);
    user->connect(other->local_address(), 5s, client_side);
    ASSERT_TRUE(eventually([&] { return client_side.connected.size() == 2; }));
    user->send_datagram(four->local_address(), frame(0, "4"));
    user->send_datagram(other->local_address(), frame(0, "6"));
    ASSERT_TRUE(eventually([&] { return got.size() == 2; }));
    for (const env::ReceivedFrame& each : got) {
        EXPECT_TRUE(each.from.is_loopback()) << env::to_string(each.from);
        EXPECT_EQ(each.from.ip.is_v4(), each.payload.view() == "4") << "one socket, and each sees its own kind";
    }
}

TEST_F(Ipv6, TheNameOfAnAddressThatIsNotHereIsToldInItsForm) {
    NetOptions options = six();
    options.listen = env::parse_endpoint("[2001:db8::1]:8001").value();
    const auto opened = UvEnv::open(loop, options, logger());
    ASSERT_FALSE(opened.has_value());
    EXPECT_THAT(opened.error().message, HasSubstr("2001:db8::1 is not an address of this machine; its addresses are "));
}

TEST_F(Ipv6, GroupAndAddressAreOfOneFamily) {
    NetOptions options = six();
    options.multicast = env::Endpoint{0xef000001, 9999};
    const auto opened = UvEnv::open(loop, options, logger());
    ASSERT_FALSE(opened.has_value());
    EXPECT_THAT(opened.error().message,
                HasSubstr("the multicast group 239.0.0.1:9999 is IPv4, and the address [::1]:0 is IPv6: choose"));
}

TEST(HeaderBytes, OfIpv6AreTwentyMore) {
    EXPECT_EQ(ip_and_udp_bytes(0x0a000001), 28u);
    EXPECT_EQ(ip_and_udp_bytes(protocol::kLoopbackV6), 48u);
}

}  // namespace
}  // namespace logstream::net
