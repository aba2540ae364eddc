// One-shot timers of nanosecond resolution: libuv's own count whole milliseconds, too coarse for a NACK delay.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>

#include "internal/env/env.h"
#include "internal/net/loop.h"

namespace logstream::net {

class PolledFd;

// A queue ordered by deadline, driven by one timerfd that is armed at most once per loop turn. Timers of one deadline
// run in the order in which they were set.
class Timers {
public:
    static protocol::Result<std::unique_ptr<Timers>> open(Loop& loop);
    ~Timers();

    // Runs `task` once, from the loop, not before `after` has passed. A timer that a timer sets with no delay runs in a
    // later turn, so that timers cannot keep the loop from its sockets.
    env::TimerId set(protocol::Duration after, std::move_only_function<void()> task);
    // An id that has run, or is unknown, does nothing. A timer may cancel another that is due in the same turn.
    void cancel(env::TimerId timer);
    std::size_t size() const { return queue_.size(); }

private:
    using Key = std::pair<protocol::TimePoint, env::TimerId>;
    explicit Timers(Loop& loop);
    void end_of_turn();
    void run_due();
    void arm();

    Loop& loop_;
    std::unique_ptr<PolledFd> clock_;
    std::map<Key, std::move_only_function<void()>> queue_;
    std::unordered_map<env::TimerId, protocol::TimePoint> deadlines_;  // of every timer in queue_
    protocol::TimePoint armed_ = protocol::TimePoint::max();           // what the timerfd is set to; max: nothing
    env::TimerId next_{1};
    Deferred turn_;
};

}  // namespace logstream::net
