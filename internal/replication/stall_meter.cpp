#include "internal/replication/stall_meter.h"

#include <algorithm>

namespace logstream::replication {

void StallMeter::update(std::optional<NodeId> holder, TimePoint now) {
    const Duration elapsed = now - since_;
    since_ = now;
    for (auto& [node, level] : levels_)
        level = node == holder_ ? level + elapsed : std::max(level - elapsed, Duration{});
    holder_ = holder;
    if (holder) levels_.try_emplace(*holder);
}

std::optional<NodeId> StallMeter::over(TimePoint now) {
    update(holder_, now);
    const auto found = std::ranges::find_if(levels_, [&](const auto& entry) { return entry.second > limit_; });
    return found == levels_.end() ? std::nullopt : std::optional(found->first);
}

}  // namespace logstream::replication
