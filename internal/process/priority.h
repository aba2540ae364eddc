// The process's CPU priority.
#pragma once

namespace logstream::process {

// A broker that cannot run for half a second is taken for dead by its peers. Sets nice -10 for this thread and those
// that it starts, if that is permitted (root, CAP_SYS_NICE, LimitNICE of systemd) and the process has the default
// priority; a nice value set by the caller is kept.
void take_precedence();

}  // namespace logstream::process
