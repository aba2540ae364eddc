#include "tests/sim/checkers/bounds.h"

namespace logstream::sim {

namespace {
constexpr std::size_t kMaxTimers = 20'000;  // at once
constexpr std::uint64_t kMaxTimersASecond = 50'000;
constexpr std::size_t kMaxConnections = 512;
constexpr std::size_t kMaxQueueBytes = 80u << 20;
}  // namespace

void BoundsChecker::on_second(Machine& machine) {
    const Host& host = machine.host();
    std::uint64_t& before = timers_[{machine.index(), machine.run()}];
    const std::uint64_t set = host.timers_set() - before;
    before = host.timers_set();
    if (set > kMaxTimersASecond) violations_.report("bounds", "{} set {} timers within a second", machine.name(), set);
    if (host.timers() > kMaxTimers) violations_.report("bounds", "{} has {} timers", machine.name(), host.timers());
    if (host.connections() > kMaxConnections)
        violations_.report("bounds", "{} has {} connections", machine.name(), host.connections());
    if (host.greatest_queue_bytes() > kMaxQueueBytes)
        violations_.report("bounds", "{} has {} bytes queued on one connection", machine.name(),
                           host.greatest_queue_bytes());
    if (machine.store().unwritten_bytes() > machine.options().store.unwritten_bytes + (8u << 20))
        violations_.report("bounds", "{} has {} bytes that are not written", machine.name(),
                           machine.store().unwritten_bytes());
}

}  // namespace logstream::sim
