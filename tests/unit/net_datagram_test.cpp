#include <sys/socket.h>

#include <cerrno>

#include "internal/net/frame_receiver.h"
#include "internal/net/frame_sender.h"
#include "internal/net/polled_fd.h"
#include "internal/net/udp_socket.h"
#include "tests/unit/net_fixture.h"

namespace logstream::net {
namespace {

using env::Channel;
using protocol::NodeId;
using ::testing::HasSubstr;

// A free UDP port, and a group that no other test run uses at the same time.
std::uint16_t free_port() {
    const auto fd = open_own_socket({0, 0});
    return bound_address(fd->get()).port;
}
env::Endpoint random_group() {
    std::random_device random;
    return {0xef000000u | (random() & 0x00ffffffu) | 0x00010000u, free_port()};
}

class Datagrams : public NetTest {
protected:
    struct Node {
        std::unique_ptr<UvEnv> env;
        std::vector<env::ReceivedFrame> got;
    };

    NetOptions options = [] {
        NetOptions o = broker();
        o.multicast = random_group();
        o.broadcast_port = free_port();
        o.listen_broadcast = true;
        return o;
    }();

    std::unique_ptr<Node> node(std::uint64_t id) {
        auto n = std::make_unique<Node>();
        n->env = open(options);
        n->env->set_self(NodeId{id});
        n->env->on_frame([raw = n.get()](env::ReceivedFrame f) { raw->got.push_back(std::move(f)); });
        return n;
    }
    static env::OutFrame frame(std::uint64_t sender, std::uint64_t sequence, std::string_view head,
                               std::string_view tail = {}, std::string_view cluster = "net-test") {
        const protocol::FrameHeader header{
            protocol::MessageType::kReplicate, protocol::kFirstFragment, protocol::cluster_tag(cluster),
            protocol::ViewNumber{7},           NodeId{sender},           protocol::Sequence{sequence}};
        const auto fixed =
            protocol::encode_frame_header(header, std::as_bytes(std::span(head)), std::as_bytes(std::span(tail)));
        Bytes front = Bytes::allocate(fixed.size() + head.size());
        std::memcpy(front.mutable_data(), fixed.data(), fixed.size());
        std::memcpy(front.mutable_data() + fixed.size(), head.data(), head.size());
        return {front, tail.empty() ? Bytes{} : Bytes::copy_of(tail)};
    }
};

TEST_F(Datagrams, UnicastComesFromTheNodesOwnAddress) {
    auto a = node(1), b = node(2);
    a->env->send_datagram(b->env->local_address(), frame(1, 42, "head ", "tail"));
    ASSERT_TRUE(eventually([&] { return !b->got.empty(); }));
    const env::ReceivedFrame& f = b->got[0];
    EXPECT_EQ(f.channel, Channel::kUnicast);
    EXPECT_EQ(f.from, a->env->local_address());
    EXPECT_EQ(f.header.type, protocol::MessageType::kReplicate);
    EXPECT_EQ(f.header.view, protocol::ViewNumber{7});
    EXPECT_EQ(f.header.sender, NodeId{1});
    EXPECT_EQ(f.header.sequence, protocol::Sequence{42});
    EXPECT_EQ(f.payload.view(), "head tail");
}

TEST_F(Datagrams, MulticastReachesEveryOtherNodeOnThisHostInOrder) {
    auto a = node(1), b = node(2), c = node(3);
    ASSERT_TRUE(a->env->multicast_ready()) << log_text.str();
    std::vector<env::OutFrame> frames;
    for (std::uint64_t i = 1; i <= 300; ++i) frames.push_back(frame(1, i, "h", std::string(i * 5, 'x')));
    a->env->multicast(frames);
    ASSERT_TRUE(eventually([&] { return b->got.size() == 300 && c->got.size() == 300; }));
    for (std::uint64_t i = 1; i <= 300; ++i) {
        EXPECT_EQ(b->got[i - 1].header.sequence.value, i);
        EXPECT_EQ(b->got[i - 1].payload.size(), i * 5 + 1);
        EXPECT_EQ(b->got[i - 1].channel, Channel::kMulticast);
        EXPECT_EQ(c->got[i - 1].from, a->env->local_address());
    }
    EXPECT_TRUE(eventually([&] { return a->env->counters().datagrams_own == 300; })) << "heard back and dropped";
    EXPECT_TRUE(a->got.empty());
    EXPECT_EQ(a->env->counters().datagrams_sent, 300u);
    EXPECT_EQ(b->env->counters().datagram_bytes_received, a->env->counters().datagram_bytes_sent);
}

TEST_F(Datagrams, FramesThatShareAPacketArriveOneByOne) {
    auto a = node(1), b = node(2);
    const std::size_t largest = a->env->datagram_limits().max_datagram_bytes - protocol::kFrameHeaderBytes;
    std::vector<env::OutFrame> frames;
    for (std::uint64_t i = 1; i <= 2000; ++i) {
        const std::size_t size = i % 100 == 0 ? i % 7 : i <= 1000 ? 700 : largest;
        frames.push_back(frame(1, i, "", std::string(size, static_cast<char>('a' + i % 26))));
    }
    for (std::size_t at = 0; at < frames.size(); at += 250) {
        a->env->multicast(std::span(frames).subspan(at, 250));
        ASSERT_TRUE(eventually([&] { return b->got.size() == at + 250; }));
    }
    for (std::size_t i = 0; i < frames.size(); ++i) {
        EXPECT_EQ(b->got[i].header.sequence.value, i + 1);
        EXPECT_EQ(b->got[i].payload.view(), frames[i].tail.view());
    }
    EXPECT_EQ(b->env->counters().datagrams_received, 2000u);
    EXPECT_EQ(a->env->counters().datagrams_sent, 2000u);
    EXPECT_EQ(b->env->counters().datagram_bytes_received, a->env->counters().datagram_bytes_sent);
}

TEST_F(Datagrams, AnotherGroupOnTheSamePortIsNotHeard) {
    auto a = node(1);
    options.multicast->ip = options.multicast->ip.v4() ^ 1;
    auto other = node(2);
    other->env->multicast(std::vector{frame(2, 1, "not for a")});
    ASSERT_TRUE(eventually([&] { return other->env->counters().datagrams_own == 1; }));
    settle();
    EXPECT_TRUE(a->got.empty());
    EXPECT_EQ(a->env->counters().datagrams_received, 0u);
}

TEST_F(Datagrams, BroadcastReachesEveryNodeOfThisHostAndIsAnsweredByUnicast) {
    auto a = node(1), b = node(2), c = node(3);
    NetOptions no_listener = client();
    no_listener.broadcast_port = options.broadcast_port;
    no_listener.interface = "lo";
    auto user = open(no_listener);
    std::vector<env::ReceivedFrame> answers;
    user->on_frame([&](env::ReceivedFrame f) { answers.push_back(std::move(f)); });

    user->broadcast(frame(0, 0, "who is there?"));
    ASSERT_TRUE(eventually([&] { return a->got.size() == 1 && b->got.size() == 1 && c->got.size() == 1; }));
    EXPECT_EQ(a->got[0].channel, Channel::kBroadcast);
    EXPECT_EQ(a->got[0].from.ip, kLoopbackIp);
    a->env->send_datagram(a->got[0].from, frame(1, 0, "I am"));
    ASSERT_TRUE(eventually([&] { return answers.size() == 1; }));
    EXPECT_EQ(answers[0].channel, Channel::kUnicast);
    EXPECT_EQ(answers[0].from, a->env->local_address());

    b->env->broadcast(frame(2, 0, "join"));
    ASSERT_TRUE(eventually([&] { return a->got.size() == 2 && c->got.size() == 2; }));
    EXPECT_EQ(a->got[1].from, b->env->local_address());
    EXPECT_TRUE(eventually([&] { return b->env->counters().datagrams_own == 1; }));
}

// Discovery without a word about interfaces: the client asks on all of them, loopback too.
TEST_F(Datagrams, AClientThatKnowsNothingFindsALoopbackBroker) {
    auto a = node(1);
    NetOptions anywhere = client();
    anywhere.broadcast_port = options.broadcast_port;
    auto user = open(anywhere);
    user->broadcast(frame(0, 0, "who is there?"));
    ASSERT_TRUE(eventually([&] { return a->got.size() == 1; }));
    EXPECT_EQ(a->got[0].from.ip, kLoopbackIp) << "not what was sent on another interface";
}

TEST_F(Datagrams, WhatDoesNotFitIsCountedByKindAndDropped) {
    auto a = node(1), b = node(2);
    const env::Endpoint to = b->env->local_address();
    a->env->send_datagram(to, frame(1, 1, "x", {}, "another-cluster"));
    a->env->send_datagram(to, {Bytes::copy_of("garbage"), {}});
    a->env->send_datagram(to, {Bytes::copy_of(std::string(8000, 'G')), {}});
    a->env->send_datagram(to, {Bytes{}, {}});
    env::OutFrame damaged = frame(1, 1, "damaged");
    damaged.head.mutable_data()[damaged.head.size() - 1] ^= std::byte{1};
    a->env->send_datagram(to, damaged);
    a->env->send_datagram(to, frame(2, 1, "from itself?"));
    a->env->send_datagram(to, frame(1, 1, "larger than our slots", std::string(20000, 'l')));
    a->env->send_datagram(to, frame(1, 99, "good"));
    ASSERT_TRUE(eventually([&] { return b->got.size() == 1; }));
    EXPECT_EQ(b->got[0].header.sequence.value, 99u);
    const Counters& counters = b->env->counters();
    EXPECT_EQ(counters.datagrams_other_cluster, 1u);
    EXPECT_EQ(counters.datagrams_garbage, 4u);
    EXPECT_EQ(counters.datagrams_bad_checksum, 1u);
    EXPECT_EQ(counters.datagrams_own, 1u);
    EXPECT_EQ(counters.datagrams_received, 1u);
}

TEST_F(Datagrams, WhatTheKernelRefusesIsCountedAndTheRestGoesOn) {
    auto a = node(1), b = node(2);
    a->env->send_datagram(b->env->local_address(), frame(1, 1, "too large for UDP", std::string(70000, 'x')));
    a->env->send_datagram(b->env->local_address(), frame(1, 2, "fine"));
    ASSERT_TRUE(eventually([&] { return b->got.size() == 1; }));
    EXPECT_EQ(a->env->counters().datagrams_send_failed, 1u);
    EXPECT_THAT(log_text.str(), HasSubstr("not sent: Message too long"));
}

TEST_F(Datagrams, LimitsAreWhatTheKernelGave) {
    options.multicast_buffer_bytes = 64 << 10;
    auto a = node(1);
    EXPECT_EQ(a->env->datagram_limits().receive_buffer_bytes, 64u << 10);
    EXPECT_EQ(a->env->datagram_limits().max_datagram_bytes, 7680u);
    options.mtu_bytes = 1500;
    auto b = node(2);
    EXPECT_EQ(b->env->datagram_limits().max_datagram_bytes, 1472u);
    EXPECT_EQ(b->env->interface()->name, "lo");

    // A datagram of the size that is promised to work does.
    const std::size_t room = a->env->datagram_limits().max_datagram_bytes - protocol::kFrameHeaderBytes;
    a->env->multicast(std::vector{frame(1, 1, "", std::string(room, 'm'))});
    ASSERT_TRUE(eventually([&] { return b->got.size() == 1; }));
    EXPECT_EQ(b->got[0].payload.size(), room);
}

// What the replication window rests on: receive_buffer_bytes / max_datagram_bytes frames may be under way without one
// being dropped, whatever their size. (Counted in frames, for the kernel charges a small one for a whole buffer: so
// many bytes of small frames would not fit.)
TEST_F(Datagrams, TheBufferHoldsWhatTheLimitsSay) {
    for (const std::size_t mtu : {0, 1500, 7000}) {
        options.mtu_bytes = mtu;
        options.multicast_buffer_bytes = 1 << 20;
        options.multicast = random_group();
        auto a = node(1), b = node(2);
        const env::DatagramLimits limits = b->env->datagram_limits();
        const std::size_t most = limits.max_datagram_bytes - protocol::kFrameHeaderBytes;
        const std::size_t window = limits.receive_buffer_bytes / limits.max_datagram_bytes;
        std::size_t sent = 0;
        for (const std::size_t payload :
             {most, most * 3 / 4, most / 2, std::size_t{1000}, std::size_t{100}, std::size_t{0}}) {
            a->env->multicast(std::vector(window, frame(1, 1, "", std::string(payload, 'w'))));
            sent += window;  // the loop did not run: nobody read meanwhile
            ASSERT_TRUE(eventually([&] { return a->env->counters().datagrams_own == sent; })) << mtu << ", " << payload;
            settle();
            EXPECT_EQ(b->got.size(), sent) << mtu << ", " << payload;
        }
    }
}

TEST_F(Datagrams, WhatFindsTheBufferFullIsCounted) {
    options.multicast_buffer_bytes = 8 << 10;
    auto a = node(1), b = node(2);
    std::vector<env::OutFrame> flood;
    // Ever larger, so that each is a packet of its own: what the kernel counts is packets.
    for (std::uint64_t i = 0; i < 200; ++i) flood.push_back(frame(1, i, "", std::string(1000 + i, 'f')));
    a->env->multicast(flood);
    settle();
    a->env->multicast(std::vector{frame(1, 1000, "after the flood")});  // brings the kernel's count
    ASSERT_TRUE(eventually([&] { return !b->got.empty() && b->got.back().header.sequence.value == 1000; }));
    const Counters& counters = b->env->counters();
    EXPECT_GT(counters.datagrams_lost_by_kernel, 0u);
    EXPECT_EQ(counters.datagrams_lost_by_kernel + counters.datagrams_received, 201u);
}

TEST_F(Datagrams, SettingsThatCannotWorkAreRefusedWithTheWayOut) {
    const auto error = [&](auto change) {
        NetOptions o = options;
        change(o);
        const auto opened = UvEnv::open(loop, o, logger());
        return opened ? std::string("opened") : opened.error().message;
    };
    EXPECT_THAT(error([](NetOptions& o) { o.multicast->ip = kLoopbackIp; }),
                HasSubstr("choose one of 239.0.0.0/8 with --multicast"));
    EXPECT_THAT(error([](NetOptions& o) { o.multicast->port = 0; }), HasSubstr("--multicast"));
    EXPECT_THAT(error([](NetOptions& o) { o.interface = "eth99"; }), HasSubstr("there is no interface 'eth99'"));
    EXPECT_THAT(error([](NetOptions& o) { o.listen->ip = 0; }), HasSubstr("choose one of "));
    EXPECT_THAT(error([](NetOptions& o) { o.mtu_bytes = 100; }), HasSubstr("too small"));
    const auto taken = open_own_socket({0, 0});
    EXPECT_THAT(error([&](NetOptions& o) { o.broadcast_port = bound_address(taken->get()).port; }),
                HasSubstr("in use by another program; choose another with --broadcast-port"));
}

TEST_F(Datagrams, MulticastThatCannotBeJoinedIsAWarning) {
    const auto taken = open_own_socket({0, options.multicast->port});
    ASSERT_TRUE(taken.has_value());
    auto a = node(1);
    EXPECT_FALSE(a->env->multicast_ready());
    EXPECT_THAT(log_text.str(), HasSubstr("NET no multicast: "));
    a->env->multicast(std::vector{frame(1, 1, "nowhere to go")});
    EXPECT_EQ(a->env->counters().datagrams_send_failed, 1u);
}

TEST_F(Datagrams, AFloodLeavesTimeForTimers) {
    auto a = node(1), b = node(2);
    std::function<void()> flood;
    bool over = false;
    Deferred again(loop, [&] {
        if (over) return;
        std::vector<env::OutFrame> frames(500, frame(1, 1, "", std::string(100, 'f')));
        a->env->multicast(frames);
        flood();
    });
    flood = [&] { again.schedule(); };
    flood();
    bool ran = false;
    b->env->set_timer(1ms, [&] { ran = true; });
    EXPECT_TRUE(eventually([&] { return ran && b->got.size() > 1000; }));
    over = true;
}

TEST(FrameReceiver, ASmallDatagramDoesNotPinALargeBuffer) {
    const auto to = open_own_socket({kLoopbackIp, 0}), from = open_own_socket({kLoopbackIp, 0});
    const SocketAddress address(bound_address(to->get()));
    const auto send = [&](std::size_t size) {
        const std::string text(size, 's');
        ASSERT_EQ(::sendto(from->get(), text.data(), size, 0, address.get(), address.size()),
                  static_cast<ssize_t>(size));
    };
    FrameReceiver receiver(4, 1000, 1000);
    const std::byte* slot = nullptr;
    Bytes kept;
    const auto receive = [&] {
        receiver.receive(to->get(), 1, [&](const FrameReceiver::Arrival& a) {
            slot = a.bytes.data();
            kept = receiver.take(a);
        });
    };
    send(499);
    receive();
    EXPECT_EQ(kept.size(), 499u);
    EXPECT_NE(kept.data(), slot) << "copied out";
    send(500);
    receive();
    EXPECT_EQ(kept.size(), 500u);
    EXPECT_EQ(kept.data(), slot) << "handed over";
    send(500);
    const Bytes before = kept;
    receive();
    EXPECT_NE(kept.data(), before.data()) << "the slot has a buffer of its own again";
    send(0);
    receive();
    EXPECT_EQ(kept.size(), 0u);
}

// The kernel as it behaves when its buffer is full.
struct FakeKernel {
    static inline std::size_t room = 0;  // packets it takes
    static inline int refuse_with = 0;   // the next packet is refused so
    static inline bool segments = true;  // whether it cuts packets into datagrams
    static inline std::vector<std::string> took;

    static void reset() {
        room = 0;
        refuse_with = 0;
        segments = true;
        took.clear();
    }
    static int sendmmsg(int, mmsghdr* messages, unsigned count, int) {
        if (refuse_with != 0) {
            errno = std::exchange(refuse_with, 0);
            return -1;
        }
        if (!segments && messages[0].msg_hdr.msg_controllen > 0) {
            errno = EIO;
            return -1;
        }
        if (room == 0) {
            errno = EAGAIN;
            return -1;
        }
        const std::size_t taken = std::min<std::size_t>(count, room);
        for (std::size_t i = 0; i < taken; ++i) {
            std::string text;
            for (std::size_t p = 0; p < messages[i].msg_hdr.msg_iovlen; ++p)
                text.append(static_cast<const char*>(messages[i].msg_hdr.msg_iov[p].iov_base),
                            messages[i].msg_hdr.msg_iov[p].iov_len);
            took.push_back(text);
        }
        room -= taken;
        return static_cast<int>(taken);
    }
};

TEST(FrameSender, WaitsInOrderWhileTheKernelIsFullAndCountsWhatItDrops) {
    Loop loop;
    Counters counters;
    std::ostringstream log_text;
    spdlog::logger log("test", std::make_shared<spdlog::sinks::ostream_sink_st>(log_text));
    std::unique_ptr<FrameSender> sender;
    auto socket =
        PolledFd::open(loop, std::move(*open_own_socket({kLoopbackIp, 0})), nullptr, [&] { sender->writable(); });
    FakeKernel::reset();
    FakeKernel::room = 10;
    sender = std::make_unique<FrameSender>(loop, **socket, 200, counters, log, FakeKernel::sendmmsg);

    std::vector<std::string> expected;
    const auto send = [&](Destination to, int count) {
        std::vector<env::OutFrame> frames;
        for (int i = 0; i < count; ++i) {
            expected.push_back(fmt::format("frame {}", expected.size()) + std::string(expected.size(), '+'));
            frames.push_back({Bytes::copy_of(expected.back().substr(0, 3)), Bytes::copy_of(expected.back().substr(3))});
        }
        sender->send(to, frames);
    };
    const Destination one{{kLoopbackIp, 1}}, two{{kLoopbackIp, 2}, 1, kLoopbackIp};
    send(one, 100);
    EXPECT_EQ(sender->waiting(), 90u);
    send(two, 3);
    FakeKernel::room = 1;  // does not let anything overtake
    send(one, 1);
    EXPECT_EQ(FakeKernel::took.size(), 10u);
    EXPECT_TRUE(loop.run_until([&] { return FakeKernel::took.size() == 11; }, kDeadline));
    EXPECT_EQ(sender->waiting(), 93u);

    send(two, 150);
    EXPECT_EQ(sender->waiting(), 200u);
    EXPECT_EQ(counters.datagrams_queue_full, 43u);
    EXPECT_NE(log_text.str().find("NET datagrams dropped: 200 are queued"), std::string::npos);
    expected.resize(expected.size() - 43);

    FakeKernel::room = 1000;
    FakeKernel::refuse_with = EPERM;  // concerns one datagram only
    EXPECT_TRUE(loop.run_until([&] { return sender->waiting() == 0; }, kDeadline));
    expected.erase(expected.begin() + 11);
    EXPECT_EQ(FakeKernel::took, expected);
    EXPECT_EQ(counters.datagrams_send_failed, 1u);
    EXPECT_EQ(counters.datagrams_sent, expected.size());
}

class FrameSenderTest : public ::testing::Test {
protected:
    FrameSenderTest() { FakeKernel::reset(); }

    void send(std::initializer_list<std::size_t> sizes) {
        std::vector<env::OutFrame> frames;
        for (const std::size_t size : sizes) frames.push_back({Bytes::copy_of(std::string(size, 's')), {}});
        sender.send({{kLoopbackIp, 1}}, frames);
    }
    static std::vector<std::size_t> packets() {
        std::vector<std::size_t> sizes;
        for (const std::string& packet : FakeKernel::took) sizes.push_back(packet.size());
        return sizes;
    }

    Loop loop;
    Counters counters;
    std::ostringstream log_text;
    spdlog::logger log{"test", std::make_shared<spdlog::sinks::ostream_sink_st>(log_text)};
    std::unique_ptr<PolledFd> socket =
        std::move(*PolledFd::open(loop, std::move(*open_own_socket({kLoopbackIp, 0})), nullptr, nullptr));
    FrameSender sender{loop, *socket, 1000, counters, log, FakeKernel::sendmmsg};
};

TEST_F(FrameSenderTest, AShorterFrameEndsAPacket) {
    FakeKernel::room = 100;
    send({100, 100, 100, 60, 60, 70, 70, 70});
    EXPECT_EQ(packets(), (std::vector<std::size_t>{360, 60, 210}));
    EXPECT_EQ(counters.datagrams_sent, 8u);
    EXPECT_EQ(counters.datagram_bytes_sent, 630u);
}

TEST_F(FrameSenderTest, APacketHasItsLimits) {
    FakeKernel::room = 100;
    send({30000, 30000, 30000, 30000, 30000});
    EXPECT_EQ(packets(), (std::vector<std::size_t>{60000, 60000, 30000}));
    FakeKernel::took.clear();
    sender.send({{kLoopbackIp, 1}},
                std::vector<env::OutFrame>(100, {Bytes::copy_of(std::string_view("ten bytes.")), {}}));
    EXPECT_EQ(packets(), (std::vector<std::size_t>{640, 360}));
}

TEST_F(FrameSenderTest, WhoRefusesPacketsOfSeveralGetsThemOneByOne) {
    FakeKernel::room = 100;
    FakeKernel::segments = false;
    send({10, 10, 10});
    send({20, 20});
    EXPECT_EQ(packets(), (std::vector<std::size_t>{10, 10, 10, 20, 20}));
    EXPECT_EQ(counters.datagrams_send_failed, 0u);
    EXPECT_THAT(log_text.str(), HasSubstr("NET datagrams go to the kernel one by one: "));
}

}  // namespace
}  // namespace logstream::net
