// Bounded: connections, queues and timers of each process, and no storm of timers.
#pragma once

#include <map>

#include "tests/sim/checkers/violations.h"
#include "tests/sim/machine.h"

namespace logstream::sim {

class BoundsChecker {
public:
    explicit BoundsChecker(Violations& violations) : violations_(violations) {}

    // About once a second.
    void on_second(Machine& machine);

private:
    Violations& violations_;
    std::map<std::pair<std::size_t, std::uint64_t>, std::uint64_t> timers_;  // by process
};

}  // namespace logstream::sim
