// A virtual world behind env::Env: one clock, one queue of events, one seed. Whole clusters of the real broker code run
// in it on virtual time; the same seed gives the same run.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "internal/env/env.h"

namespace logstream::sim {

using env::ConnectionId;
using env::Endpoint;
using env::TimerId;
using protocol::Bytes;
using protocol::Duration;
using protocol::TimePoint;

class Host;

// What the network does to what is sent.
struct NetworkFaults {
    Duration min_delay = std::chrono::microseconds(50);
    Duration max_delay = std::chrono::microseconds(300);
    double datagram_loss = 0;  // 0 to 1
    double datagram_duplication = 0;
};

class World {
public:
    explicit World(std::uint64_t seed);
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    TimePoint now() const { return now_; }
    std::uint64_t random() { return random_(); }
    bool chance(double probability) { return std::uniform_real_distribution<>(0, 1)(random_) < probability; }
    NetworkFaults faults;

    // A machine with this address. A second call for the same one is the process started again.
    Host& host(Endpoint address, std::shared_ptr<spdlog::logger> log);
    // The process is gone: no callback of it runs any more, its connections close at the other side.
    void kill(Host& host);

    // Nothing sent from `a` to `b` arrives, until healed. One way.
    void cut(Endpoint a, Endpoint b) { cut_.insert({a, b}); }
    void heal() { cut_.clear(); }

    // Runs events until `done`, which is asked after each, or until `limit` has passed. True if done.
    bool run_until(const std::function<bool()>& done, Duration limit);
    void run_for(Duration time) {
        run_until([] { return false; }, time);
    }

    void at(TimePoint when, std::move_only_function<void()> task);

private:
    friend class Host;
    struct Event {
        TimePoint when;
        std::uint64_t order;
        std::move_only_function<void()> task;
    };
    struct Later {
        bool operator()(const std::unique_ptr<Event>& a, const std::unique_ptr<Event>& b) const {
            return std::pair(a->when, a->order) > std::pair(b->when, b->order);
        }
    };
    Duration delay();
    bool passes(Endpoint from, Endpoint to) const { return !cut_.contains({from, to}); }
    void deliver_datagram(Endpoint from, Host& to, env::Channel channel, Bytes datagram);

    TimePoint now_{};
    std::uint64_t order_{};
    std::mt19937_64 random_;
    std::priority_queue<std::unique_ptr<Event>, std::vector<std::unique_ptr<Event>>, Later> events_;
    std::map<Endpoint, std::unique_ptr<Host>> hosts_;
    std::vector<std::unique_ptr<Host>> dead_;  // kept, since events may still name them
    std::set<std::pair<Endpoint, Endpoint>> cut_;
    std::uint64_t last_connection_{};
};

// One process: its Env.
class Host final : public env::Env {
public:
    Host(World& world, Endpoint address, std::shared_ptr<spdlog::logger> log)
        : world_(world), address_(address), log_(std::move(log)) {}

    env::AcceptHandler accept;
    env::FrameHandler frame;
    bool alive() const { return alive_; }
    Endpoint address() const { return address_; }
    // Runs `task` from the loop of this process, if it still lives.
    void post(std::move_only_function<void()> task) { set_timer(Duration{0}, std::move(task)); }

    TimePoint now() override { return world_.now(); }
    std::int64_t wall_clock_ms() override;
    std::uint64_t random() override { return world_.random(); }
    spdlog::logger& log() override { return *log_; }
    TimerId set_timer(Duration after, std::move_only_function<void()> task) override;
    void cancel_timer(TimerId timer) override { timers_.erase(timer); }
    ConnectionId connect(Endpoint to, Duration timeout, env::ConnectionHandler& handler) override;
    env::SendStatus send(ConnectionId connection, protocol::OutMessage message) override;
    std::size_t queued_bytes(ConnectionId) override { return 0; }
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
        std::deque<protocol::Message> on_the_way;
    };
    void deliver_next(ConnectionId connection);
    void closed_by_peer(ConnectionId connection, protocol::ErrorCode code, std::string reason);

    World& world_;
    Endpoint address_;
    std::shared_ptr<spdlog::logger> log_;
    bool alive_ = true;
    std::uint64_t last_timer_{};
    std::set<TimerId> timers_;
    std::map<ConnectionId, Connection> connections_;
};

}  // namespace logstream::sim
