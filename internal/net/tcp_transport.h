// All TCP connections of a node and the socket that accepts them. Internal to net.
#pragma once

#include <spdlog/logger.h>

#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "internal/env/env.h"
#include "internal/net/counters.h"
#include "internal/net/log_throttle.h"
#include "internal/net/loop.h"
#include "internal/net/net_options.h"
#include "internal/net/tcp_connection.h"
#include "internal/net/timers.h"

namespace logstream::net {

// The connection calls of Env, by id. One end-of-turn serves all connections that something happened to.
class TcpTransport {
public:
    TcpTransport(Loop& loop, Timers& timers, const NetOptions& options, Counters& counters, spdlog::logger& log);
    ~TcpTransport();

    // Listens at `at`, port 0 for a free one, and returns where. Connections are accepted as soon as the loop runs.
    protocol::Result<env::Endpoint> listen(const env::Endpoint& at);
    void stop_listening();
    void on_accept(env::AcceptHandler handler) { accept_handler_ = std::move(handler); }

    env::ConnectionId connect(env::Endpoint to, protocol::Duration timeout, env::ConnectionHandler& handler);
    env::SendStatus send(env::ConnectionId id, protocol::OutMessage message);
    std::size_t queued_bytes(env::ConnectionId id) const;
    void pause_reading(env::ConnectionId id);
    void resume_reading(env::ConnectionId id);
    void close(env::ConnectionId id);
    env::Endpoint peer_of(env::ConnectionId id) const;
    std::size_t size() const { return connections_.size(); }

private:
    TcpConnection* find(env::ConnectionId id) const;
    env::ConnectionId next_id();
    bool make_room();
    void wake(env::ConnectionId id);
    void end_of_turn();
    void accept(int status);
    void forget(env::ConnectionId id);

    Loop& loop_;
    const NetOptions& options_;
    Counters& counters_;
    spdlog::logger& log_;
    env::AcceptHandler accept_handler_;
    Handle<uv_tcp_t> listener_;
    env::Endpoint listening_at_;
    std::size_t accepted_ = 0;  // of the connections
    env::ConnectionId last_id_;
    LogThrottle refused_said_;
    LogThrottle accept_failed_said_;
    std::vector<env::ConnectionId> woken_;
    std::vector<env::ConnectionId> turn_ids_;
    Deferred turn_;
    TcpConnection::Context context_;
    std::unordered_map<env::ConnectionId, std::unique_ptr<TcpConnection>> connections_;  // they use the context
};

}  // namespace logstream::net
