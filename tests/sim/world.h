// A virtual world behind env::Env: one clock, one queue of events, one seed. Whole clusters of the real broker code run
// in it on virtual time; the same seed gives the same run.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <vector>

#include "internal/env/env.h"
#include "tests/sim/random.h"

namespace logstream::sim {

using env::ConnectionId;
using env::Endpoint;

// Whether a world's addresses are of IPv4 or of IPv6.
enum class AddressFamily : bool { kIpv4, kIpv6 };
// 10.0.0.1 and its like by their number, or fd00::a00:1.
inline Endpoint address_of(AddressFamily family, std::uint32_t number, std::uint16_t port) {
    if (family == AddressFamily::kIpv4) return {number, port};
    return {protocol::IpAddress(0xfd00'0000'0000'0000, number), port};
}
using env::TimerId;
using protocol::Bytes;
using protocol::Duration;
using protocol::TimePoint;

class Host;

// What the network does to what is sent. Probabilities are 0 to 1.
struct NetworkFaults {
    Duration min_delay = std::chrono::microseconds(50);
    Duration max_delay = std::chrono::microseconds(300);
    double datagram_loss = 0;
    double datagram_duplication = 0;
    double datagram_reorder = 0;  // comes up to 20 ms late
    double datagram_corrupt = 0;  // one bit flips
};

// What happened in the network, for the report of a run.
struct NetworkCounts {
    std::uint64_t events{};
    std::uint64_t datagrams{};
    std::uint64_t lost{};
    std::uint64_t duplicated{};
    std::uint64_t reordered{};
    std::uint64_t corrupted{};
    std::uint64_t deaf{};  // multicast that one receiver missed
    std::uint64_t cut{};
};

class World {
public:
    explicit World(std::uint64_t seed);
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    TimePoint now() const { return now_; }
    Random& chance_of() { return random_; }
    std::uint64_t random() { return random_.next(); }
    bool chance(double probability) { return random_.chance(probability); }
    NetworkFaults faults;
    NetworkCounts counts;
    // Sees every message that a process hands to a connection, before it travels.
    std::function<void(Host& from, Endpoint to, const protocol::OutMessage& message)> on_send;
    // Runs after every event that ran in a process.
    std::function<void(Host& host)> on_event;
    // Every event's time, place and order went into it: two runs that differ anywhere differ here.
    std::uint64_t fingerprint() const { return fingerprint_; }

    // A machine with this address. A second call for the same one is the process started again.
    Host& host(Endpoint address, std::shared_ptr<spdlog::logger> log);
    // The process is gone: no callback of it runs any more, its connections close at the other side.
    void kill(Host& host);
    // The process stands still for a while; what comes in waits.
    void pause(Host& host, Duration time);

    // Nothing sent from `a` to `b` arrives, until healed. One way.
    void cut(Endpoint a, Endpoint b) { cut_.insert({a, b}); }
    void mend(Endpoint a, Endpoint b) { cut_.erase({a, b}); }
    // The same both ways and apart from cuts: neither `mend` nor `heal` ends it.
    void bar(Endpoint a, Endpoint b) { barred_.insert({{a, b}, {b, a}}); }
    void unbar(Endpoint a, Endpoint b) {
        barred_.erase({a, b});
        barred_.erase({b, a});
    }
    // Multicast from `a` does not arrive at `b`; all else does.
    void deafen(Endpoint a, Endpoint b) { deaf_.insert({a, b}); }
    void undeafen(Endpoint a, Endpoint b) { deaf_.erase({a, b}); }
    // Datagrams pass, and what is sent on connections from `a` to `b` waits.
    void hang(Endpoint a, Endpoint b) { hung_.insert({a, b}); }
    void unhang(Endpoint a, Endpoint b) { hung_.erase({a, b}); }
    // What is sent on some of the connections that are there, from `a` to `b`, waits so long.
    void stall(Endpoint a, Endpoint b, Duration time);
    // Everything from `a` to `b` takes so much longer.
    void slow(Endpoint a, Endpoint b, Duration by);
    // All connections between the two are reset.
    void reset_connections(Endpoint a, Endpoint b);
    void heal();
    bool healed() const { return cut_.empty() && deaf_.empty() && hung_.empty() && slow_.empty(); }
    bool passes(Endpoint from, Endpoint to) const {
        return !cut_.contains({from, to}) && !barred_.contains({from, to});
    }

    // Runs events until `done`, which is asked after each, or until `limit` has passed. True if done.
    bool run_until(const std::function<bool()>& done, Duration limit);
    void run_for(Duration time);

    // `owner`: the process it runs in; it does not run once that is gone, and waits while it is paused.
    void at(TimePoint when, std::move_only_function<void()> task, Host* owner = nullptr);
    void after(Duration time, std::move_only_function<void()> task) { at(now_ + time, std::move(task)); }

private:
    friend class Host;
    struct Event {
        TimePoint when;
        std::uint64_t order;
        Host* owner;
        std::move_only_function<void()> task;
    };
    struct Later {
        bool operator()(const std::unique_ptr<Event>& a, const std::unique_ptr<Event>& b) const {
            return std::pair(a->when, a->order) > std::pair(b->when, b->order);
        }
    };
    // Runs the next event that is due by `end`; false if there is none.
    bool step(TimePoint end);
    Duration delay(Endpoint from, Endpoint to);
    bool stream_passes(Endpoint from, Endpoint to) const { return passes(from, to) && !hung_.contains({from, to}); }
    void deliver_datagram(Endpoint from, Host& to, env::Channel channel, const Bytes& datagram);
    void arrive(Endpoint from, Host& to, env::Channel channel, Bytes datagram, Duration after);

    using Pair = std::pair<Endpoint, Endpoint>;
    TimePoint now_{};
    std::uint64_t order_{};
    std::uint64_t fingerprint_{14695981039346656037ULL};
    Random random_;
    std::priority_queue<std::unique_ptr<Event>, std::vector<std::unique_ptr<Event>>, Later> events_;
    std::map<Endpoint, std::unique_ptr<Host>> hosts_;
    std::vector<std::unique_ptr<Host>> dead_;  // kept, since events may still name them
    std::set<Pair> cut_;
    std::set<Pair> barred_;
    std::set<Pair> deaf_;
    std::set<Pair> hung_;
    std::map<Pair, Duration> slow_;
    std::uint64_t last_connection_{};
};

}  // namespace logstream::sim
