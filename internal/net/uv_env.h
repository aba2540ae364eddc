// The real Env: clock, chance and timers of this machine, TCP by libuv, datagrams by sendmmsg and recvmmsg.
#pragma once

#include <memory>
#include <span>

#include "internal/env/env.h"
#include "internal/net/counters.h"
#include "internal/net/interfaces.h"
#include "internal/net/loop.h"
#include "internal/net/net_options.h"

namespace logstream::net {

// Belongs to the loop's thread. Handlers and the logger outlive it; the Loop outlives it too. Destroying it drops every
// connection and timer at once, without callbacks; to let the last answers out, `close` the connections and run the
// loop until open_connections() is 0.
class UvEnv final : public env::Env {
public:
    // Opens all sockets. Fails with a message that says what to do when an address is not this machine's or is taken.
    // Multicast that cannot be joined is only a warning, see `multicast_ready`: replication can go by TCP.
    static protocol::Result<std::unique_ptr<UvEnv>> open(Loop& loop, NetOptions options,
                                                         std::shared_ptr<spdlog::logger> logger);
    ~UvEnv() override;

    // Set these before the loop runs. Without an accept handler connections are refused; without a frame handler
    // datagrams are dropped.
    void on_accept(env::AcceptHandler handler);
    void on_frame(env::FrameHandler handler);
    // Frames of this sender are our own, heard back, and dropped.
    void set_self(protocol::NodeId self);

    // Where this node is reached: `listen` with its real port, its scope being 0. A client has no ip, and the port of
    // its UDP socket.
    env::Endpoint local_address() const;
    // The interface of `local_address`; nullopt for a client that named none.
    const std::optional<Interface>& interface() const;
    // The group was joined. (Whether multicast arrives is another question: the join handshake tests it.)
    bool multicast_ready() const;
    // Connections that hold a socket: connecting, open, or closing with bytes to send.
    std::size_t open_connections() const;
    const Counters& counters() const;

    protocol::TimePoint now() override;
    std::int64_t wall_clock_ms() override;
    std::uint64_t random() override;
    spdlog::logger& log() override;

    env::TimerId set_timer(protocol::Duration after, std::move_only_function<void()> task) override;
    void cancel_timer(env::TimerId timer) override;

    env::ConnectionId connect(env::Endpoint to, protocol::Duration timeout, env::ConnectionHandler& handler) override;
    env::SendStatus send(env::ConnectionId connection, protocol::OutMessage message) override;
    std::size_t queued_bytes(env::ConnectionId connection) override;
    void pause_reading(env::ConnectionId connection) override;
    void resume_reading(env::ConnectionId connection) override;
    void close(env::ConnectionId connection) override;
    env::Endpoint peer_of(env::ConnectionId connection) override;

    void broadcast(env::OutFrame frame) override;
    void multicast(std::span<const env::OutFrame> frames) override;
    void send_datagram(env::Endpoint to, env::OutFrame frame) override;
    env::DatagramLimits datagram_limits() override;
    std::vector<env::Counter> counted() override;

private:
    struct State;
    explicit UvEnv(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace logstream::net
