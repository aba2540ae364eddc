// One process in the virtual world: its Env.
#pragma once

#include <deque>
#include <map>
#include <set>

#include "tests/sim/world.h"

namespace logstream::sim {

// How a machine's clocks differ from the world's.
struct ClockFault {
    double rate = 1;             // how fast the monotonic clock runs
    Duration behind{};           // what it missed while the machine was suspended
    std::int64_t wall_off_ms{};  // the wall clock's error; may jump
};

class Host final : public env::Env {
public:
    Host(World& world, Endpoint address, std::shared_ptr<spdlog::logger> log)
        : world_(world), address_(address), log_(std::move(log)) {}

    env::AcceptHandler accept;
    env::FrameHandler frame;
    bool alive() const { return alive_; }
    // A connection has just come up: what is sent now may have waited for it.
    bool greeting() const { return greeting_; }
    bool paused() const { return world_.now() < paused_until_; }
    Endpoint address() const { return address_; }
    // Any tag of the owner's.
    std::size_t index = ~std::size_t{0};
    ClockFault clock;
    // The monotonic clock goes on from where it stands, at another rate.
    void set_clock_rate(double rate);
    std::size_t connections() const { return connections_.size(); }
    std::size_t timers() const { return timers_.size(); }
    std::uint64_t timers_set() const { return last_timer_; }
    std::size_t greatest_queue_bytes() const;

    TimePoint now() override;
    std::int64_t wall_clock_ms() override;
    std::uint64_t random() override { return world_.random(); }
    spdlog::logger& log() override { return *log_; }
    TimerId set_timer(Duration after, std::move_only_function<void()> task) override;
    void cancel_timer(TimerId timer) override { timers_.erase(timer); }
    ConnectionId connect(Endpoint to, Duration timeout, env::ConnectionHandler& handler) override;
    env::SendStatus send(ConnectionId connection, protocol::OutMessage message) override;
    std::size_t queued_bytes(ConnectionId connection) override;
    void pause_reading(ConnectionId) override {}
    void resume_reading(ConnectionId) override {}
    void close(ConnectionId connection) override;
    Endpoint peer_of(ConnectionId connection) override;
    void broadcast(env::OutFrame frame) override;
    void multicast(std::span<const env::OutFrame> frames) override;
    void send_datagram(Endpoint to, env::OutFrame frame) override;
    env::DatagramLimits datagram_limits() override { return {4u << 20, 1472}; }

private:
    friend class World;
    struct Connection {
        Endpoint peer;
        ConnectionId peer_id;
        env::ConnectionHandler* handler{};
        bool up{};
        TimePoint last_delivery{};  // messages of a connection stay in order
        TimePoint stalled_until{};
        std::deque<protocol::Message> on_the_way{};
        std::size_t queued_bytes{};
        bool full{};  // on_writable is owed
    };
    // Runs the task when this process's own clock shows `due`.
    void arm(TimerId id, TimePoint due, std::move_only_function<void()> task);
    void established(ConnectionId id, Host& peer, ConnectionId peer_id);
    void deliver_next(ConnectionId connection);
    void closed_by_peer(ConnectionId connection, protocol::ErrorCode code, const std::string& reason);
    void later(Duration after, std::move_only_function<void()> task) {
        world_.at(world_.now() + after, std::move(task), this);
    }

    World& world_;
    Endpoint address_;
    std::shared_ptr<spdlog::logger> log_;
    bool alive_ = true;
    bool greeting_{};
    TimePoint paused_until_{};
    std::uint64_t last_timer_{};
    std::set<TimerId> timers_;
    std::map<ConnectionId, Connection> connections_;
};

}  // namespace logstream::sim
