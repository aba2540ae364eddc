#include "internal/process/priority.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace logstream::process {

namespace {

constexpr int kNice = -10;

// See sched(7). Only where nobody else is in the session: a shell's other programs are none of ours.
void raise_own_session() {
    if (getsid(0) != getpid()) return;
    std::FILE* autogroup = std::fopen("/proc/self/autogroup", "we");
    if (autogroup == nullptr) return;  // a kernel without it
    std::fprintf(autogroup, "%d", kNice);
    std::fclose(autogroup);
}

}  // namespace

Precedence take_precedence() {
    errno = 0;
    if (getpriority(PRIO_PROCESS, 0) != 0 || errno != 0) return Precedence::kLeft;
    if (setpriority(PRIO_PROCESS, 0, kNice) != 0) return Precedence::kNotPermitted;
    raise_own_session();
    return Precedence::kTaken;
}

}  // namespace logstream::process
