// What the tests of net share: envs on loopback with free ports, a recording handler, and waiting for a condition.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "internal/net/uv_env.h"

namespace logstream::net {

using namespace std::chrono_literals;
using env::ConnectionId;
using env::SendStatus;
using protocol::Bytes;

inline constexpr std::uint32_t kLoopbackIp = 0x7f000001;
inline constexpr protocol::Duration kDeadline = 20s;

inline protocol::OutMessage text_message(std::string_view header, std::string_view body = {},
                                         std::uint64_t correlation = 0) {
    protocol::OutMessage m{
        protocol::MessageType::kProduce, 0, protocol::Correlation{correlation}, std::string(header), {}};
    if (!body.empty()) m.body.push_back(Bytes::copy_of(body));
    return m;
}

// Notes everything, and fails the test when it is called from within a call to the env.
class Recorder : public env::ConnectionHandler {
public:
    struct Got {
        ConnectionId connection;
        protocol::Message message;
    };
    std::vector<ConnectionId> connected;
    std::deque<Got> messages;
    std::vector<std::pair<ConnectionId, protocol::Error>> closed;
    std::size_t writable = 0;
    bool in_call = false;  // set around calls to the env
    std::function<void(ConnectionId, const protocol::Message&)> then;

    void on_connected(ConnectionId c) override {
        EXPECT_FALSE(in_call);
        connected.push_back(c);
    }
    void on_message(ConnectionId c, protocol::Message m) override {
        EXPECT_FALSE(in_call);
        messages.push_back({c, std::move(m)});
        if (then) then(c, messages.back().message);
    }
    void on_closed(ConnectionId c, const protocol::Error& reason) override {
        EXPECT_FALSE(in_call);
        closed.emplace_back(c, reason);
    }
    void on_writable(ConnectionId) override {
        EXPECT_FALSE(in_call);
        ++writable;
    }
};

class NetTest : public ::testing::Test {
protected:
    Loop loop;
    std::ostringstream log_text;

    std::shared_ptr<spdlog::logger> logger() {
        return std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_st>(log_text));
    }
    static NetOptions broker() {
        NetOptions options;
        options.cluster = "net-test";
        options.listen = env::Endpoint{kLoopbackIp, 0};
        return options;
    }
    static NetOptions client() {
        NetOptions options;
        options.cluster = "net-test";
        return options;
    }
    std::unique_ptr<UvEnv> open(NetOptions options) {
        auto opened = UvEnv::open(loop, std::move(options), logger());
        EXPECT_TRUE(opened.has_value()) << (opened ? "" : opened.error().message);
        return opened ? std::move(*opened) : nullptr;
    }
    // An env that accepts everything into `handler`.
    std::unique_ptr<UvEnv> open_server(Recorder& handler, NetOptions options = broker()) {
        auto opened = open(std::move(options));
        opened->on_accept([&handler, this](ConnectionId c, env::Endpoint from) {
            accepted.push_back(c);
            EXPECT_EQ(from.ip, kLoopbackIp);
            return &handler;
        });
        return opened;
    }
    ::testing::AssertionResult eventually(const std::function<bool()>& condition) {
        if (loop.run_until(condition, kDeadline)) return ::testing::AssertionSuccess();
        return ::testing::AssertionFailure() << "not within the deadline; log:\n" << log_text.str();
    }
    // So many turns of the loop as it takes for what is under way on loopback to have happened.
    void settle() {
        for (int turn = 0; turn < 20; ++turn) {
            bool ran = false;
            loop.post([&] { ran = true; });
            ASSERT_TRUE(loop.run_until([&] { return ran; }, kDeadline));
        }
    }

    std::vector<ConnectionId> accepted;
};

}  // namespace logstream::net
