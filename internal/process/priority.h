// How much of the processor a process gets beside others.
#pragma once

namespace logstream::process {

// For whom the others wait: a broker that does not get to run for half a second is taken for dead. Gives this thread,
// and those that it starts, nice -10, where that is allowed (root, CAP_SYS_NICE, LimitNICE of systemd) and the process
// was started with the usual priority: `nice` of the caller stands.
void take_precedence();

}  // namespace logstream::process
