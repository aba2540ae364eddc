// What bounds connections: peers that do not read, too many of them, silent ones, garbage.
#include "tests/unit/net_tcp_fixture.h"

namespace logstream::net {
namespace {

using protocol::ErrorCode;
using ::testing::HasSubstr;

TEST_F(Tcp, FullQueueSaysSoAndOnWritableFollows) {
    NetOptions options = client();
    options.send_queue_mark_bytes = 1 << 20;
    start(broker(), options);
    const ConnectionId c = connect_and_wait();
    server->pause_reading(accepted[0]);
    const std::string body(64 << 10, 'x');
    std::size_t sent = 0;
    SendStatus status = SendStatus::kOk;
    client_side.in_call = true;
    while (status == SendStatus::kOk && sent < 4000) {
        status = user->send(c, text_message("bulk", body));
        ++sent;
        if (sent % 16 == 0) {
            client_side.in_call = false;
            settle();
            client_side.in_call = true;
        }
    }
    client_side.in_call = false;
    ASSERT_EQ(status, SendStatus::kFull);
    EXPECT_GT(user->queued_bytes(c), 0u);
    settle();
    EXPECT_EQ(client_side.writable, 0u);
    server->resume_reading(accepted[0]);
    ASSERT_TRUE(eventually([&] { return client_side.writable == 1; }));
    EXPECT_LT(user->queued_bytes(c), (1u << 20) / 2);
    ASSERT_TRUE(eventually([&] { return server_side.messages.size() == sent; }));
    EXPECT_EQ(client_side.writable, 1u);
    EXPECT_EQ(user->queued_bytes(c), 0u);
}

TEST_F(Tcp, APeerThatDoesNotReadIsCutOffAtTheLimit) {
    NetOptions options = broker();
    options.send_queue_limit_bytes = 2 << 20;
    start(options);
    const Fd deaf = connect_raw();
    ASSERT_TRUE(eventually([&] { return accepted.size() == 1; }));
    const std::string body(256 << 10, 'x');
    SendStatus status = SendStatus::kOk;
    std::size_t most_queued = 0;
    for (int i = 0; i < 1000 && status != SendStatus::kClosed; ++i) {
        server_side.in_call = true;
        status = server->send(accepted[0], text_message("unread", body));
        server_side.in_call = false;
        most_queued = std::max(most_queued, server->queued_bytes(accepted[0]));
    }
    ASSERT_EQ(status, SendStatus::kClosed);
    EXPECT_LE(most_queued, (2u << 20) + (300u << 10));
    ASSERT_TRUE(eventually([&] { return server_side.closed.size() == 1; }));
    EXPECT_EQ(server_side.closed[0].second.code, ErrorCode::kBusy);
    EXPECT_EQ(server->counters().send_queue_overflows, 1u);
    EXPECT_EQ(server->open_connections(), 0u);
}

TEST_F(Tcp, TinyMessagesReachTheLimitToo) {
    NetOptions options = client();
    options.send_queue_limit_bytes = 1 << 20;
    options.send_queue_mark_bytes = 1 << 10;
    start(broker(), options);
    const ConnectionId c = connect();  // stays in the queue until the loop runs
    int taken = 0;
    while (user->send(c, text_message("")) != SendStatus::kClosed) ++taken;
    EXPECT_LT(taken, (1 << 20) / 64);
}

TEST_F(Tcp, ConnectionsOverTheMostAreClosedAtOnce) {
    NetOptions options = broker();
    options.max_connections = 2;
    start(options);
    const ConnectionId first = connect_and_wait();
    connect_and_wait();
    std::vector<ConnectionId> more;
    for (int i = 0; i < 5; ++i) more.push_back(connect());
    ASSERT_TRUE(eventually([&] { return client_side.closed.size() == 5; }));
    EXPECT_EQ(server->counters().connections_refused, 5u);
    EXPECT_EQ(accepted.size(), 2u);
    EXPECT_THAT(log_text.str(), HasSubstr("2 are open, the maximum allowed (1 refused"));
    EXPECT_EQ(std::ranges::count(log_text.str(), '\n'), 1) << "one line a second";
    user->close(first);  // makes room
    ASSERT_TRUE(eventually([&] { return server->open_connections() == 1; }));
    connect_and_wait();
}

TEST_F(Tcp, TheOldestSilentConnectionGivesWay) {
    NetOptions options = broker();
    options.max_connections = 2;
    options.silent_connection_patience = {};
    start(options);
    const ConnectionId speaker = connect_and_wait();
    user->send(speaker, text_message("here"));
    ASSERT_TRUE(eventually([&] { return server_side.messages.size() == 1; }));
    const ConnectionId silent = connect_and_wait();
    connect_and_wait();
    ASSERT_TRUE(eventually([&] { return client_side.closed.size() == 1; }));
    EXPECT_EQ(client_side.closed.front().first, silent);
    ASSERT_TRUE(eventually([&] { return server_side.closed.size() == 1; })) << "its handler is told";
    EXPECT_EQ(server->counters().connections_refused, 0u);
    EXPECT_EQ(server->open_connections(), 2u);
}

TEST_F(Tcp, WithoutAHandlerConnectionsAreRefused) {
    server = open(broker());
    user = open(client());
    connect();
    ASSERT_TRUE(eventually([&] { return client_side.closed.size() == 1; }));
    server->on_accept([](ConnectionId, env::Endpoint) { return nullptr; });
    connect();
    ASSERT_TRUE(eventually([&] { return client_side.closed.size() == 2; }));
    EXPECT_EQ(server->counters().connections_refused, 2u);
    EXPECT_EQ(server->open_connections(), 0u);
}

TEST_F(Tcp, TheAcceptHandlerMaySendPauseAndClose) {
    server = open(broker());
    user = open(client());
    server->on_accept([&](ConnectionId c, env::Endpoint) -> env::ConnectionHandler* {
        server->send(c, text_message("welcome"));
        server->close(c);
        return &server_side;
    });
    connect();
    ASSERT_TRUE(eventually([&] { return !client_side.messages.empty() && !client_side.closed.empty(); }));
    EXPECT_EQ(client_side.messages[0].message.header.view(), "welcome");
    EXPECT_TRUE(server_side.closed.empty());
}

TEST_F(Tcp, ASilentConnectionIsClosed) {
    NetOptions options = broker();
    options.first_message_timeout = 30ms;
    start(options);
    const ConnectionId silent = connect_and_wait();
    const ConnectionId talking = connect_and_wait();
    user->send(talking, text_message("here I am"));
    ASSERT_TRUE(eventually([&] { return !client_side.closed.empty(); }));
    ASSERT_TRUE(eventually([&] { return !server_side.closed.empty(); }));
    EXPECT_EQ(client_side.closed[0].first, silent);
    EXPECT_EQ(server_side.closed[0].first, accepted[0]);
    EXPECT_EQ(server_side.closed[0].second.code, ErrorCode::kTimeout);
    EXPECT_FALSE(loop.run_until([&] { return client_side.closed.size() > 1; }, 100ms)) << "the other one has spoken";
}

TEST_F(Tcp, GarbageEndsTheConnectionAndIsCountedByKind) {
    start();
    const auto send_raw = [&](std::string bytes) {
        const Fd raw = connect_raw();
        ::send(raw.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        const std::size_t before = server_side.closed.size();
        EXPECT_TRUE(eventually([&] { return server_side.closed.size() > before; }));
        return server_side.closed.empty() ? ErrorCode::kNone : server_side.closed.back().second.code;
    };
    EXPECT_EQ(send_raw("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"), ErrorCode::kInvalid);
    EXPECT_EQ(
        send_raw(std::string(protocol::encode_message_head(text_message("x"), protocol::cluster_tag("other")).view())),
        ErrorCode::kWrongCluster);
    std::string damaged(
        protocol::encode_message_head(text_message("damaged"), protocol::cluster_tag("net-test")).view());
    damaged.back() ^= 1;
    EXPECT_EQ(send_raw(damaged), ErrorCode::kCorrupt);
    std::string huge(protocol::encode_message_head(text_message("x"), protocol::cluster_tag("net-test")).view());
    huge[27] = 0x7f;  // claims a header of 2 GB
    EXPECT_EQ(send_raw(huge), ErrorCode::kTooLarge);
    const Counters& counters = server->counters();
    EXPECT_EQ(counters.messages_garbage, 1u);
    EXPECT_EQ(counters.messages_other_cluster, 1u);
    EXPECT_EQ(counters.messages_bad_checksum, 1u);
    EXPECT_EQ(counters.messages_too_large, 1u);
    EXPECT_TRUE(server_side.messages.empty());
    EXPECT_THAT(server_side.closed[0].second.message, HasSubstr("127.0.0.1:"));
}

}  // namespace
}  // namespace logstream::net
