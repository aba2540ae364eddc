#include "tests/sim/checkers/readers.h"

#include <algorithm>

namespace logstream::sim {

namespace {
constexpr Duration kPatience = std::chrono::seconds(10);
}

Machine* ReaderChecker::source(protocol::StreamId stream, Endpoint client) const {
    Machine* newest = nullptr;
    for (const auto& machine : machines_) {
        if (!machine->running() || !machine->node().settled()) continue;
        if (newest == nullptr || machine->node().current_view()->number > newest->node().current_view()->number)
            newest = machine.get();
    }
    if (newest == nullptr) return nullptr;
    const view::Member* owner = newest->node().owner_of(stream);
    for (const auto& machine : machines_) {
        if (!machine->running() || machine->node().id() != owner->id) continue;
        const bool tells = machine->node().settled() && !machine->host().paused() && !machine->faults.reads_fail &&
                           machine->node().current_view()->number == newest->node().current_view()->number &&
                           !machine->store().damaged();
        const Endpoint at = machine->address();
        return tells && world_.passes(at, client) && world_.passes(client, at) ? machine.get() : nullptr;
    }
    return nullptr;
}

void ReaderChecker::on_tick(const std::vector<std::unique_ptr<ConsumerClient>>& consumers, std::uint32_t partitions) {
    const TimePoint now = world_.now();
    for (const auto& consumer : consumers) {
        if (consumer->in_group() || consumer->topic().value == 0) continue;
        for (std::uint32_t partition = 0; partition < partitions; ++partition) {
            const protocol::StreamId stream{consumer->topic(), partition};
            Standing& standing = standing_[{consumer->address(), stream}];
            Machine* owner = source(stream, consumer->address());
            const node::Stream* told = owner == nullptr ? nullptr : owner->node().core().streams.find(stream);
            const std::int64_t position = consumer->position(partition);
            const bool behind = told != nullptr && told->high_watermark > told->log->log_start() &&
                                told->high_watermark.value > position;
            if (!behind || position != standing.position || consumer->instance() != standing.instance) {
                standing = {consumer->instance(), position, now};
                continue;
            }
            if (now - standing.since < kPatience) continue;
            violations_.report("readers go on",
                               "the reader at {} has stood at offset {} of {} for {:.1f} s, though {} owns the stream "
                               "in view {}, is in its reach and has {}",
                               env::to_string(consumer->address()), position, protocol::to_string(stream),
                               std::chrono::duration<double>(now - standing.since).count(), owner->name(),
                               owner->node().current_view()->number, told->high_watermark);
            return;
        }
    }
}

}  // namespace logstream::sim
