// What a service manager that supervises this process is told: systemd's notification protocol, sd_notify(3). Started
// by anything else, or by hand, a process has nobody to tell, and every call does nothing.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "internal/env/env.h"

namespace logstream::process {

class Supervisor {
public:
    // Whoever started the process has said in its environment whether and how often it wants to hear.
    Supervisor();

    // It has not begun its work, and has not stopped trying; said at most once a second.
    void still_starting();
    // The process does its work: what waits for it may go on.
    void ready();
    // From now on, on the loop of `env`: tells that the loop turns, twice in each span that the supervisor allows
    // between two such signs before it ends the process and starts another; and `state`, one line for people, when it
    // has changed, which is looked at once a second. `env` outlives this object, or `stop_watching` is called.
    void watch(env::Env& env, std::function<std::string()> state);
    void stop_watching();
    // The process is about to end.
    void stopping();
    ~Supervisor();
    Supervisor(const Supervisor&) = delete;
    Supervisor& operator=(const Supervisor&) = delete;

private:
    void look();
    void tell_state();

    bool listens_{};
    protocol::TimePoint said_starting_;
    std::optional<protocol::Duration> watchdog_;  // a process that is silent for so long is ended
    env::Env* env_{};
    std::function<std::string()> state_;
    std::string told_;  // the last state
    env::TimerId timer_;
};

}  // namespace logstream::process
