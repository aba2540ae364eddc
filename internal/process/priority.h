// The process's CPU priority.
#pragma once

#include <cstdint>

namespace logstream::process {

enum class Precedence : std::uint8_t {
    kTaken,         // this process runs before others that want the CPU
    kLeft,          // the caller chose another nice value, which stands
    kNotPermitted,  // see take_precedence()
};

// A broker that cannot run for half a second is taken for dead by its peers. Sets nice -10 for this thread and those
// that it starts, if that is permitted (root, CAP_SYS_NICE, LimitNICE of systemd) and the process has the default
// priority; a nice value set by the caller is kept. Linux weighs nice values only within a session where it groups
// tasks by session (sched_autogroup): a process that leads a session of its own sets that session's nice value, too.
Precedence take_precedence();

}  // namespace logstream::process
