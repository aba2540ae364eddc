#include "internal/replication/loss_detector.h"

#include <algorithm>

namespace logstream::replication {

LossDetector::LossDetector(const Options& options) : options_(options) {
    LS_ASSERT(options.min_delay > Duration::zero() && options.min_delay <= options.max_delay);
    LS_ASSERT(options.linger > Duration::zero() && options.linger <= options.max_linger);
    LS_ASSERT(options.max_ranges >= 1);
}

std::vector<SequenceRange> LossDetector::poll(const ReceiveWindow& window, TimePoint now, std::uint64_t random) {
    if (!window.has_gap()) {
        gaps_.clear();
        return {};
    }
    std::erase_if(gaps_, [&](const Gap& gap) { return gap.range.last <= window.received(); });
    // While gaps_ is empty nothing that is missing is known, whatever was looked at before.
    scanned_ = gaps_.empty() ? window.received() : std::max(scanned_, window.received());

    const bool any_due = std::ranges::any_of(gaps_, [&](const Gap& gap) { return gap.due <= now; });
    if (any_due) drop_filled(window);
    const auto spread = static_cast<std::uint64_t>((options_.max_delay - options_.min_delay).count()) + 1;
    find_new_gaps(window, now + options_.min_delay + Duration(random % spread));
    if (!any_due) return {};

    std::vector<SequenceRange> ranges;
    const Duration jitter(random % static_cast<std::uint64_t>(options_.max_delay.count()));
    for (Gap& gap : gaps_) {
        if (gap.due > now) continue;
        if (!ranges.empty() && ranges.back().last + 1 == gap.range.first) {
            ranges.back().last = gap.range.last;
        } else {
            ranges.push_back(gap.range);
        }
        gap.due = now + gap.linger + jitter;
        gap.linger = std::min(2 * gap.linger, options_.max_linger);
    }
    if (!ranges.empty()) ++counters_.nacks;
    return ranges;
}

TimePoint LossDetector::next_deadline() const {
    TimePoint next = TimePoint::max();
    for (const Gap& gap : gaps_) next = std::min(next, gap.due);
    return next;
}

// Looks at what lies between scanned_ and the highest sequence seen; stops where no further gap can be followed.
void LossDetector::find_new_gaps(const ReceiveWindow& window, TimePoint due) {
    bool extend = false;
    while (scanned_ < window.highest_seen()) {
        const Sequence s = scanned_ + 1;
        if (!window.is_missing(s)) {
            extend = false;
        } else if (extend) {
            gaps_.back().range.last = s;
        } else {
            if (gaps_.size() == options_.max_ranges) return;
            gaps_.push_back(Gap{{s, s}, due, options_.linger});
            ++counters_.gaps;
            extend = true;
        }
        scanned_ = s;
    }
}

// Cuts what arrived since out of the gaps; the pieces keep the gap's times. Pieces beyond the bound are forgotten and
// found again later.
void LossDetector::drop_filled(const ReceiveWindow& window) {
    scratch_.clear();
    for (const Gap& gap : gaps_) {
        bool extend = false;
        for (Sequence s = std::max(gap.range.first, window.received() + 1); s <= gap.range.last; ++s) {
            if (!window.is_missing(s)) {
                extend = false;
            } else if (extend) {
                scratch_.back().range.last = s;
            } else {
                if (scratch_.size() == options_.max_ranges) {
                    scanned_ = before(s);
                    gaps_.swap(scratch_);
                    return;
                }
                scratch_.push_back(Gap{{s, s}, gap.due, gap.linger});
                extend = true;
            }
        }
    }
    gaps_.swap(scratch_);
}

}  // namespace logstream::replication
