#include "internal/replication/retransmit_handler.h"

#include <algorithm>

namespace logstream::replication {

RetransmitHandler::RetransmitHandler(const Options& options, TimePoint now)
    : options_(options),
      tokens_bytes_(static_cast<double>(options.burst_bytes)),
      refilled_(now),
      next_send_(TimePoint::max()) {
    LS_ASSERT(options.max_frames_per_nack >= 1 && options.max_queued_frames >= 1);
    LS_ASSERT(options.bytes_per_second >= 1 && options.burst_bytes >= 1);
}

std::optional<Sequence> RetransmitHandler::on_nack(std::span<const SequenceRange> ranges, const SendRing& ring,
                                                   TimePoint now) {
    const Sequence available = ring.first_available();
    make_room(ring);
    // Ranges of a correct receiver are disjoint, so they hold no more frames than are in flight; others get no more
    // work.
    Budget budget{.queue = options_.max_frames_per_nack, .examine = ring.frames_in_flight()};
    bool gone = false;
    bool whole = true;
    for (SequenceRange range : ranges) {
        if (range.first > range.last || range.last > ring.last_sent()) {
            ++counters_.invalid;
            continue;
        }
        if (range.first < available) {
            gone = true;
            if (range.last < available) continue;
            range.first = available;
        }
        whole = whole && queue_range(range, budget, now);
    }
    if (!whole) ++counters_.cut_off;
    if (!queue_.empty()) refill(now);
    if (!gone) return std::nullopt;
    ++counters_.gone;
    return available;
}

// False when a bound left something out.
bool RetransmitHandler::queue_range(SequenceRange range, Budget& budget, TimePoint now) {
    for (Sequence s = range.first; s <= range.last; ++s) {
        if (budget.examine == 0) return false;
        --budget.examine;
        Mark& mark = marks_[s];
        if (mark.sequence == s && now < mark.quiet_until) {
            ++counters_.suppressed;
            continue;
        }
        if (budget.queue == 0 || queue_.size() == options_.max_queued_frames) return false;
        --budget.queue;
        mark = Mark{s, TimePoint::max()};
        queue_.push_back(s);
    }
    return true;
}

void RetransmitHandler::poll(const SendRing& ring, TimePoint now, std::vector<OutFrame>& out) {
    if (queue_.empty()) return;
    make_room(ring);
    refill(now);
    for (; !queue_.empty() && tokens_bytes_ > 0; queue_.pop_front()) {
        const Sequence sequence = queue_.front();
        const OutFrame* frame = ring.find(sequence);
        if (frame == nullptr) continue;
        out.push_back(*frame);
        marks_[sequence] = Mark{sequence, now + options_.linger};
        tokens_bytes_ -= static_cast<double>(frame->size());
        ++counters_.resent_frames;
        counters_.resent_bytes += frame->size();
    }
    refill(now);
}

void RetransmitHandler::make_room(const SendRing& ring) {
    const Sequence begin = ring.first_available();
    const Sequence end = std::max(begin, marks_end_);
    marks_end_ = std::max(end, ring.last_sent() + 1);
    marks_.reserve(begin, end, marks_end_);
}

// The bucket may run into debt by one frame, so that a frame larger than the burst can pass.
void RetransmitHandler::refill(TimePoint now) {
    const auto rate = static_cast<double>(options_.bytes_per_second);
    if (now > refilled_) {
        const double seconds = std::chrono::duration<double>(now - refilled_).count();
        tokens_bytes_ = std::min(static_cast<double>(options_.burst_bytes), tokens_bytes_ + rate * seconds);
        refilled_ = now;
    }
    next_send_ = now;
    if (tokens_bytes_ <= 0) {
        const std::chrono::duration<double> wait((1 - tokens_bytes_) / rate);
        next_send_ += std::chrono::ceil<Duration>(wait);
    }
}

}  // namespace logstream::replication
