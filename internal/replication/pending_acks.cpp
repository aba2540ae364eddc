#include "internal/replication/pending_acks.h"

#include <algorithm>
#include <limits>

namespace logstream::replication {

bool PendingAcks::add(AckLevel level, Sequence sequence, Cookie cookie) {
    if (full()) return false;
    std::deque<Entry>& queue = levels_[static_cast<std::size_t>(level)];
    const Entry entry{sequence, next_age_++, cookie};
    // Nearly always at the end; a retry of something still in flight goes further forward.
    auto at = queue.end();
    while (at != queue.begin() && entry < *std::prev(at)) --at;
    queue.insert(at, entry);
    return true;
}

std::vector<Cookie> PendingAcks::take_ready(Sequence own_durable, Sequence committed, Sequence stable) {
    const Limits limits{own_durable, committed, stable};
    std::vector<Cookie> out;
    for (std::size_t level; (level = next_ready(limits)) != kAckLevels; levels_[level].pop_front()) {
        out.push_back(levels_[level].front().cookie);
    }
    return out;
}

std::vector<PendingAck> PendingAcks::take_all() {
    constexpr Sequence kAll{std::numeric_limits<Sequence::rep>::max()};
    std::vector<PendingAck> out;
    for (std::size_t level; (level = next_ready({kAll, kAll, kAll})) != kAckLevels; levels_[level].pop_front()) {
        const Entry& entry = levels_[level].front();
        out.push_back(PendingAck{static_cast<AckLevel>(level), entry.sequence, entry.cookie});
    }
    return out;
}

std::size_t PendingAcks::size() const {
    std::size_t sum = 0;
    for (const auto& queue : levels_) sum += queue.size();
    return sum;
}

std::size_t PendingAcks::next_ready(const Limits& limits) const {
    std::size_t best = kAckLevels;
    for (std::size_t level = 0; level < kAckLevels; ++level) {
        if (levels_[level].empty() || levels_[level].front().sequence > limits[level]) continue;
        if (best == kAckLevels || levels_[level].front() < levels_[best].front()) best = level;
    }
    return best;
}

}  // namespace logstream::replication
