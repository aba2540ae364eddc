#include "tests/sim/checkers/retention.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "internal/node/clocks.h"

namespace logstream::sim {

namespace {
// Clocks that agree may differ by so much, at the append and when it is asked for its age; and ticks are coarse.
constexpr Duration kSlack = 2 * std::chrono::milliseconds(node::Clocks::kToleranceMs) + std::chrono::seconds(2);
}  // namespace

std::int64_t RetentionChecker::wall_error_ms(Machine& machine) { return machine.host().clock.wall_off_ms; }

// A broker that is alone with its clock, or in company of one that is as wrong, cannot know better.
bool RetentionChecker::nobody_could_tell(Machine& machine) const {
    const auto& view = machine.node().current_view();
    if (!view || view->members.size() == 1) return true;
    return std::ranges::any_of(machines_, [&](const auto& other) {
        return other.get() != &machine && other->running() && wall_error_ms(machine) != 0 &&
               std::abs(wall_error_ms(*other) - wall_error_ms(machine)) <= 3 * node::Clocks::kToleranceMs;
    });
}

void RetentionChecker::on_tick() {
    if (keep_ == Duration{}) return;
    for (const auto& machine : machines_) {
        if (!machine->running()) continue;
        const ClusterId cluster = machine->node().core().record.cluster;
        for (const auto& [id, stream] : machine->node().core().streams.all()) {
            if (protocol::is_internal(id)) continue;
            std::vector<Reached>& reached = reached_[{cluster, id}];
            const Offset end = stream.log->log_end();
            if (reached.empty() || reached.back().end < end) reached.push_back({end, world_.now()});
        }
    }
    for (const auto& machine : machines_) {
        if (!machine->running()) continue;
        const Blame blame = nobody_could_tell(*machine) ? Blame::kNobody : Blame::kBroker;
        const ClusterId cluster = machine->node().core().record.cluster;
        for (const auto& [id, stream] : machine->node().core().streams.all())
            if (!protocol::is_internal(id)) look(*machine, {cluster, id}, *stream.log, blame);
    }
}

// What was removed since the last look, as far as any machine has removed it.
void RetentionChecker::look(const Machine& machine, const LogKey& log, const storage::StreamLog& stream, Blame blame) {
    Offset& start = starts_.try_emplace({machine.index(), log}, stream.log_start()).first->second;
    const Offset before = std::exchange(start, stream.log_start());
    // Who is fed the log of another one begins where that does, and has removed nothing by itself.
    Offset& farthest = farthest_.try_emplace(log, before).first->second;
    const bool others_had = start <= farthest;
    farthest = std::max(farthest, start);
    if (start <= before) return;
    removed_ += static_cast<std::uint64_t>(start - before);
    if (others_had) return;
    const std::vector<Reached>& reached = reached_[log];
    const auto at = std::ranges::lower_bound(reached, start, {}, &Reached::end);
    if (at == reached.end()) return;
    const Duration age = world_.now() - at->at;
    if (blame == Blame::kBroker && age + kSlack < keep_)
        violations_.report("retention",
                           "{} removed {} up to offset {}, whose records are {:.1f} s old; they are kept "
                           "for {:.1f} s",
                           machine.name(), protocol::to_string(log.second), start,
                           std::chrono::duration<double>(age).count(), std::chrono::duration<double>(keep_).count());
}

}  // namespace logstream::sim
