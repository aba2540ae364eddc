#include "internal/replication/nack_timing.h"

#include <algorithm>

namespace logstream::replication {

namespace {
constexpr std::size_t kMaxAnswered = 16;
// Networks duplicate a frame now and then. It is the asking that is to blame when at least so many came twice, and one
// of so many that were asked for.
constexpr std::size_t kMinRepeated = 4;
constexpr std::size_t kBlamedShare = 4;
}  // namespace

void NackTiming::filled(Sequence sequence, const Missing& missing, TimePoint now) {
    if (missing.asks == 0) return reorder_.raise(now - missing.seen, now);
    if (!answered_.empty()) {
        Answered& last = answered_.back();
        if (last.range.last + 1 == sequence && last.missing.seen == missing.seen && last.missing.asks == missing.asks) {
            last.range.last = sequence;
            last.filled = now;
            return;
        }
    }
    if (answered_.size() == kMaxAnswered) answered_.pop_front();
    answered_.push_back({{sequence, sequence}, missing, now});
}

void NackTiming::repeated(Sequence sequence, TimePoint now) {
    const auto found = std::ranges::find_if(
        answered_, [&](const Answered& each) { return each.range.first <= sequence && sequence <= each.range.last; });
    if (found == answered_.end()) return;
    ++found->repeated;
    if (!asks_in_vain()) return;
    // Asked for once: the frame itself was still on its way. More often: its resend was.
    for (const Answered& each : answered_) {
        if (2 * each.repeated < each.frames()) continue;
        if (each.missing.asks == 1) {
            reorder_.raise(each.filled - each.missing.seen, now);
        } else {
            answer_.raise(each.filled - each.missing.first_asked, now);
        }
    }
    answered_.clear();
}

bool NackTiming::asks_in_vain() const {
    std::size_t frames = 0;
    std::size_t repeated = 0;
    for (const Answered& each : answered_) {
        frames += each.frames();
        repeated += each.repeated;
    }
    return repeated >= kMinRepeated && kBlamedShare * repeated >= frames;
}

void NackTiming::RecentMax::raise(Duration value, TimePoint now) {
    if (now - since_ >= kMemory) {
        previous_ = now - since_ < 2 * kMemory ? current_ : Duration{0};
        current_ = Duration{0};
        since_ = now;
    }
    current_ = std::max(current_, value);
}

Duration NackTiming::RecentMax::at(TimePoint now) const {
    const Duration age = now - since_;
    if (age < kMemory) return std::max(current_, previous_);
    return age < 2 * kMemory ? current_ : Duration{0};
}

}  // namespace logstream::replication
