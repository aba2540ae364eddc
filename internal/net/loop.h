// The event loop: one thread runs protocol, sockets and timers; other threads hand their results in by `post`.
//
// `net` is the one room that knows libuv, and its public headers (loop.h, net_options.h, counters.h, interfaces.h,
// uv_env.h) do not include uv.h. It knows nothing of brokers, views or logs.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "internal/protocol/time.h"

struct uv_loop_s;

namespace logstream::net {

class Deferred;

// Owns a libuv loop. Everything but `post` and `stop` belongs to the one thread that calls `run`. Outlives whatever
// uses it. SIGPIPE is ignored in the whole process from the first Loop on: a vanished reader is an error of one
// connection.
class Loop {
public:
    Loop();
    ~Loop();
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    // Runs until `stop`.
    void run();
    // Makes `run` return after the turn it is in. Any thread.
    void stop();
    // Runs until `done`, which is asked after every turn, or until `limit` has passed. Returns what `done` said last.
    // For tools that wait for one thing, and for the last seconds of a program that closes its connections.
    bool run_until(const std::function<bool()>& done, protocol::Duration limit);

    // Runs `task` in a turn of the loop, in the order of the calls. Any thread. Tasks that are still waiting when the
    // Loop is destroyed are dropped.
    void post(std::move_only_function<void()> task);

    // Calls `task` from the loop for every `signal` (SIGTERM, SIGINT, SIGHUP, …) that the process gets, in place of the
    // default action. A later call for the same signal replaces the task.
    void on_signal(int signal, std::function<void(int)> task);

    protocol::TimePoint now() const {
        return std::chrono::time_point_cast<protocol::Duration>(std::chrono::steady_clock::now());
    }
    // Milliseconds since 1970, as this turn of the loop saw them first: a reading costs a tenth of what it takes to
    // send a record of 100 bytes.
    std::int64_t wall_clock_ms();
    uv_loop_s* handle();

private:
    friend class Deferred;
    struct State;
    std::unique_ptr<State> state_;
};

// A task that runs once at the end of the loop turn in which it was scheduled, before the loop waits: what collects the
// work of one turn (flush every queue once, tell handlers what happened) without re-entering anybody. Loop thread only.
class Deferred {
public:
    Deferred(Loop& loop, std::function<void()> task) : loop_(loop), task_(std::move(task)) {}
    ~Deferred();
    Deferred(const Deferred&) = delete;
    Deferred& operator=(const Deferred&) = delete;

    // Scheduling again before it ran changes nothing; scheduling from within the task runs it again, soon, but never so
    // that sockets and timers starve.
    void schedule();

private:
    friend class Loop;
    Loop& loop_;
    std::function<void()> task_;
    bool scheduled_{};
};

}  // namespace logstream::net
