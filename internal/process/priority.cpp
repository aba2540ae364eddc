#include "internal/process/priority.h"

#include <sys/resource.h>

#include <cerrno>

namespace logstream::process {

void take_precedence() {
    constexpr int kNice = -10;
    errno = 0;
    if (getpriority(PRIO_PROCESS, 0) == 0 && errno == 0) (void)setpriority(PRIO_PROCESS, 0, kNice);
}

}  // namespace logstream::process
