#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal/net/polled_fd.h"
#include "internal/net/udp_socket.h"
#include "tests/unit/net_tcp_fixture.h"

namespace logstream::net {
namespace {

using protocol::ErrorCode;
using ::testing::HasSubstr;

TEST_F(Tcp, MessagesGoBothWaysInOrder) {
    start();
    server_side.then = [&](ConnectionId c, const protocol::Message& m) {
        EXPECT_EQ(server->send(c, text_message(m.header.view(), m.body.view(), m.correlation.value)), SendStatus::kOk);
    };
    const ConnectionId c = connect();
    for (std::uint64_t i = 1; i <= 500; ++i)
        user->send(c,
                   text_message(fmt::format("header {}", i), i % 3 == 0 ? std::string() : std::string(i * 7, 'x'), i));
    ASSERT_TRUE(eventually([&] { return client_side.messages.size() == 500; }));
    for (std::uint64_t i = 1; i <= 500; ++i) {
        const protocol::Message& m = client_side.messages[i - 1].message;
        EXPECT_EQ(m.correlation.value, i);
        EXPECT_EQ(m.header.view(), fmt::format("header {}", i));
        EXPECT_EQ(m.body.size(), i % 3 == 0 ? 0 : i * 7);
    }
    EXPECT_EQ(user->peer_of(c), server->local_address());
    EXPECT_EQ(server->peer_of(accepted.at(0)).ip, kLoopbackIp);
    EXPECT_EQ(user->queued_bytes(c), 0u);
    EXPECT_EQ(server->counters().messages_received, 500u);
    EXPECT_EQ(server->counters().message_bytes_received, user->counters().message_bytes_sent);
}

TEST_F(Tcp, BigBodiesOfManyPiecesArriveWhole) {
    start();
    protocol::OutMessage message = text_message("big");
    std::string expected;
    for (int i = 0; i < 3000; ++i) {
        const std::string piece(static_cast<std::size_t>(i % 9000), static_cast<char>('a' + i % 26));
        expected += piece;
        message.body.push_back(Bytes::copy_of(piece));
    }
    const ConnectionId c = connect();
    user->send(c, std::move(message));
    ASSERT_TRUE(eventually([&] { return server_side.messages.size() == 1; }));
    EXPECT_TRUE(server_side.messages[0].message.body.view() == expected);
}

TEST_F(Tcp, MessagesQueuedInOneTurnGoOutInOneRead) {
    start();
    const ConnectionId c = connect_and_wait();
    for (int i = 0; i < 100; ++i) user->send(c, text_message("small"));
    EXPECT_GT(user->queued_bytes(c), 0u) << "waits for the end of the turn";
    ASSERT_TRUE(eventually([&] { return !server_side.messages.empty(); }));
    EXPECT_EQ(server_side.messages.size(), 100u) << "one system call, one read";
}

TEST_F(Tcp, NobodyListensIsToldOnce) {
    user = open(client());
    const Fd taken(::socket(AF_INET, SOCK_STREAM, 0));  // bound, so nobody else gets the port, but not listening
    const SocketAddress any({kLoopbackIp, 0});
    ASSERT_EQ(::bind(taken.get(), any.get(), any.size()), 0);
    client_side.in_call = true;
    const ConnectionId c = user->connect(bound_address(taken.get()), 5s, client_side);
    client_side.in_call = false;
    ASSERT_TRUE(eventually([&] { return !client_side.closed.empty(); }));
    settle();
    ASSERT_EQ(client_side.closed.size(), 1u);
    EXPECT_EQ(client_side.closed[0].first, c);
    EXPECT_EQ(client_side.closed[0].second.code, ErrorCode::kNetwork);
    EXPECT_THAT(client_side.closed[0].second.message, HasSubstr("nothing is listening on 127.0.0.1:"));
    EXPECT_EQ(user->send(c, text_message("late")), SendStatus::kClosed);
    EXPECT_EQ(user->open_connections(), 0u);
}

TEST_F(Tcp, ConnectTimesOut) {
    user = open(client());
    // A listener whose backlog is full drops further handshakes without a word.
    const Fd silent(::socket(AF_INET, SOCK_STREAM, 0));
    const SocketAddress any({kLoopbackIp, 0});
    ASSERT_EQ(::bind(silent.get(), any.get(), any.size()), 0);
    ASSERT_EQ(::listen(silent.get(), 0), 0);
    const env::Endpoint at = bound_address(silent.get());
    std::vector<Fd> fill;
    for (int i = 0; i < 4; ++i) {
        fill.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
        const SocketAddress to(at);
        ::connect(fill.back().get(), to.get(), to.size());
    }
    const ConnectionId c = user->connect(at, 40ms, client_side);
    user->send(c, text_message("never sent"));
    ASSERT_TRUE(eventually([&] { return !client_side.closed.empty(); }));
    EXPECT_EQ(client_side.closed[0].second.code, ErrorCode::kTimeout);
    EXPECT_THAT(client_side.closed[0].second.message, HasSubstr("within 40 ms"));
    EXPECT_TRUE(client_side.connected.empty());
}

TEST_F(Tcp, CloseSendsWhatIsQueuedFirst) {
    start();
    const ConnectionId c = connect();
    const std::string body(3 << 20, 'b');
    user->send(c, text_message("last words", body));
    user->close(c);  // not even connected yet
    EXPECT_EQ(user->send(c, text_message("too late")), SendStatus::kClosed);
    ASSERT_TRUE(eventually([&] { return server_side.messages.size() == 1 && server_side.closed.size() == 1; }));
    EXPECT_EQ(server_side.messages[0].message.body.size(), body.size());
    ASSERT_TRUE(eventually([&] { return user->open_connections() == 0; }));
    EXPECT_TRUE(client_side.closed.empty()) << "never after our own close";
    EXPECT_TRUE(client_side.connected.empty());
}

// Closing with unread bytes would reset the connection, and the reset would overtake the answer.
TEST_F(Tcp, TheLastAnswerIsNotDestroyedByWhatThePeerStillSends) {
    start();
    server_side.then = [&](ConnectionId c, const protocol::Message&) {
        server->send(c, text_message("refused", std::string(1 << 20, 'r')));
        server->close(c);
    };
    const ConnectionId c = connect();
    for (int i = 0; i < 200; ++i) user->send(c, text_message("pipelined", std::string(20000, 'p')));
    ASSERT_TRUE(eventually([&] { return !client_side.messages.empty() && !client_side.closed.empty(); }));
    EXPECT_EQ(client_side.messages[0].message.header.view(), "refused");
    EXPECT_EQ(server_side.messages.size(), 1u) << "nothing is delivered after our own close";
    EXPECT_TRUE(server_side.closed.empty());
}

TEST_F(Tcp, CloseGivesUpOnAPeerThatDoesNotRead) {
    NetOptions impatient = broker();
    impatient.close_timeout = 30ms;
    start(impatient);
    const Fd deaf = connect_raw();
    ASSERT_TRUE(eventually([&] { return accepted.size() == 1; }));
    server->send(accepted[0], text_message("unheard", std::string(32 << 20, 'u')));
    server->close(accepted[0]);
    ASSERT_TRUE(eventually([&] { return server->open_connections() == 0; }));
    EXPECT_TRUE(server_side.closed.empty());
}

TEST_F(Tcp, CloseInEveryPhaseIsSilentAndFinal) {
    start();
    const ConnectionId connecting = connect();
    user->close(connecting);
    user->close(connecting);
    user->close(ConnectionId{987654});
    const ConnectionId open_one = connect_and_wait();
    user->close(open_one);
    user->pause_reading(open_one);
    user->resume_reading(open_one);
    ASSERT_TRUE(eventually([&] { return user->open_connections() == 0; }));
    EXPECT_TRUE(client_side.closed.empty());
    EXPECT_EQ(user->peer_of(open_one), env::Endpoint{});
}

TEST_F(Tcp, ThePeersEndIsToldOnce) {
    start();
    const ConnectionId c = connect_and_wait();
    server.reset();
    ASSERT_TRUE(eventually([&] { return !client_side.closed.empty(); }));
    settle();
    ASSERT_EQ(client_side.closed.size(), 1u);
    EXPECT_EQ(client_side.closed[0].first, c);
    EXPECT_THAT(client_side.closed[0].second.message, HasSubstr("closed the connection"));
}

TEST_F(Tcp, ClosingInOnMessageStopsTheRestOfTheRead) {
    start();
    server_side.then = [&](ConnectionId c, const protocol::Message&) {
        server_side.in_call = true;
        server->close(c);
        server_side.in_call = false;
    };
    const ConnectionId c = connect();
    for (int i = 0; i < 10; ++i) user->send(c, text_message("one read"));
    ASSERT_TRUE(eventually([&] { return !client_side.closed.empty(); }));
    EXPECT_EQ(server_side.messages.size(), 1u);
}

TEST_F(Tcp, PauseHoldsBackWhatOneReadBrought) {
    start();
    server_side.then = [&](ConnectionId c, const protocol::Message&) {
        if (server_side.messages.size() == 3) server->pause_reading(c);
    };
    const ConnectionId c = connect();
    for (std::uint64_t i = 0; i < 50; ++i) user->send(c, text_message("m", {}, i));
    ASSERT_TRUE(eventually([&] { return server_side.messages.size() == 3; }));
    settle();
    EXPECT_EQ(server_side.messages.size(), 3u);
    user->send(c, text_message("m", {}, 50));
    settle();
    EXPECT_EQ(server_side.messages.size(), 3u);

    server_side.then = [&](ConnectionId on, const protocol::Message&) {
        if (server_side.messages.size() == 20) server->pause_reading(on);  // again, among the held ones
    };
    server_side.in_call = true;
    server->resume_reading(accepted[0]);
    server_side.in_call = false;
    ASSERT_TRUE(eventually([&] { return server_side.messages.size() == 20; }));
    settle();
    EXPECT_EQ(server_side.messages.size(), 20u);
    server->resume_reading(accepted[0]);
    ASSERT_TRUE(eventually([&] { return server_side.messages.size() == 51; }));
    for (std::uint64_t i = 0; i < 51; ++i) EXPECT_EQ(server_side.messages[i].message.correlation.value, i);
}

TEST_F(Tcp, WhatIsHeldComesBeforeTheGarbageThatFollows) {
    start();
    server_side.then = [&](ConnectionId c, const protocol::Message&) {
        if (server_side.messages.size() == 1) server->pause_reading(c);
    };
    const Fd raw = connect_raw();
    std::string bytes;
    const auto head = protocol::encode_message_head(text_message("good"), protocol::cluster_tag("net-test"));
    for (int i = 0; i < 3; ++i) bytes += head.view();
    bytes += std::string(100, '?');
    ASSERT_EQ(::send(raw.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    ASSERT_TRUE(eventually([&] { return server_side.messages.size() == 1; }));
    settle();
    EXPECT_TRUE(server_side.closed.empty());
    server->resume_reading(accepted[0]);
    ASSERT_TRUE(eventually([&] { return !server_side.closed.empty(); }));
    EXPECT_EQ(server_side.messages.size(), 3u);
    EXPECT_EQ(server->counters().messages_garbage, 1u);
}

TEST_F(Tcp, DestroyingAnEnvIsSilentAndFreesEverything) {
    start();
    const ConnectionId c = connect_and_wait();
    server->pause_reading(accepted[0]);
    user->send(c, text_message("big", std::string(20 << 20, 'x')));
    settle();  // a write is under way
    connect();
    user->set_timer(1ms, [] { FAIL(); });
    user.reset();
    settle();
    EXPECT_TRUE(client_side.closed.empty());
}

TEST_F(Tcp, AnAddressInUseIsSaid) {
    start();
    NetOptions same = broker();
    same.listen = server->local_address();
    const auto second = UvEnv::open(loop, same, logger());
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code, ErrorCode::kNetwork);
    EXPECT_EQ(second.error().message,
              fmt::format("address {} (TCP) is in use by another program; choose another with --address",
                          env::to_string(server->local_address())));
}

TEST_F(Tcp, AnUdpPortInUseIsSaid) {
    for (int attempt = 0; attempt < 20; ++attempt) {
        const auto taken = open_own_socket({kLoopbackIp, 0});
        NetOptions options = broker();
        options.listen = bound_address(taken->get());
        const auto second = UvEnv::open(loop, options, logger());
        ASSERT_FALSE(second.has_value());
        if (second.error().message.contains("(TCP)")) continue;  // somebody has that TCP port: another one
        EXPECT_THAT(second.error().message,
                    HasSubstr("(UDP) is in use by another program; choose another with --address"));
        return;
    }
    FAIL() << "no port of 20 was free for TCP";
}

TEST_F(Tcp, AnAddressOfAnotherMachineIsSaid) {
    NetOptions options = broker();
    options.listen = env::Endpoint{0xc6336401, 8001};  // 198.51.100.1: documentation only
    const auto env = UvEnv::open(loop, options, logger());
    ASSERT_FALSE(env.has_value());
    EXPECT_THAT(env.error().message, HasSubstr("198.51.100.1 is not an address of this machine; its addresses are "));
    EXPECT_THAT(env.error().message, HasSubstr("127.0.0.1 (lo)"));
}

TEST_F(Tcp, RandomNumbersAndClocksAreThere) {
    user = open(client());
    EXPECT_NE(user->random(), user->random());
    const auto now = user->now();
    EXPECT_GE(user->now(), now);
    EXPECT_GT(user->wall_clock_ms(), 1'700'000'000'000);
}

// Many connections that come, talk and go in any order: every message arrives, every end is told once.
TEST_F(Tcp, RandomConnectionsMatchTheModel) {
    start();
    server_side.then = [&](ConnectionId c, const protocol::Message& m) {
        server->send(c, text_message(m.header.view(), m.body.view(), m.correlation.value));
    };
    std::mt19937 random(11);
    std::map<std::uint64_t, std::size_t> asked;  // connection, requests
    std::size_t total = 0;
    for (int i = 0; i < 200; ++i) {
        const ConnectionId c = connect();
        for (std::size_t n = random() % 20; n > 0; --n) {
            user->send(c, text_message("r", std::string(random() % 30000, 'r'), ++asked[c.value]));
            ++total;
        }
        if (random() % 4 == 0) settle();
    }
    ASSERT_TRUE(eventually([&] { return client_side.messages.size() == total; }));
    std::map<std::uint64_t, std::uint64_t> answered;
    for (const auto& got : client_side.messages)
        EXPECT_EQ(got.message.correlation.value, ++answered[got.connection.value]);
    for (const ConnectionId c : client_side.connected) user->close(c);
    ASSERT_TRUE(eventually([&] { return server_side.closed.size() == 200 && user->open_connections() == 0; }));
    EXPECT_TRUE(client_side.closed.empty());
    EXPECT_EQ(server->open_connections(), 0u);
}

}  // namespace
}  // namespace logstream::net
