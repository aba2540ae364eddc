// StreamLog: what goes by age and size, and the closing of a segment by age, so that a stream that is hardly written to
// does not keep its records for ever.
#include <algorithm>
#include <chrono>
#include <utility>

#include "internal/storage/store_context.h"
#include "internal/storage/stream_log.h"

namespace logstream::storage {
namespace {

// Segments that one call of `retain` drops: a state save waits for no more.
constexpr std::size_t kRetainAtOnce = 8;
// An append may be so far in the future: clocks that agree differ a little, and times of append are rounded up.
constexpr std::int64_t kSlackMs = 10'000;

// What the clock would say now if it had not been set since.
std::int64_t without_jumps(const WallClock& then, const WallClock& now) {
    return then.ms + std::chrono::duration_cast<std::chrono::milliseconds>(now.steady - then.steady).count();
}

// Whether all of the segment was appended more than `keep_ms` ago: by the clock as it is, and by what it said when the
// segment was last seen to grow. So a clock that is set forward takes no record that has just come.
bool is_older(const Segment& segment, const WallClock& clock, std::int64_t keep_ms) {
    std::int64_t now_ms = clock.ms;
    if (segment.grown_at) now_ms = std::min(now_ms, without_jumps(*segment.grown_at, clock));
    return segment.appended.last_ms < now_ms - keep_ms;
}

}  // namespace

void StreamLog::retain(Offset below, const RetainLimits& limits) {
    if (changing_ || tail_damage_ || tables_incomplete_ || context_.commit.failed()) return;
    if (limits.clock) {
        note_growth(*limits.clock);
        bound_append_times(*limits.clock);
        if (limits.roll_after_ms) roll_if_due(*limits.clock, *limits.roll_after_ms);
    }
    if (compacting_ || swaps_ > 0) return;
    std::vector<DiskOp> ops = take_owed_removals();
    for (std::size_t dropped = 0; dropped < kRetainAtOnce && may_drop_oldest(below, limits); ++dropped) {
        // The tables as of the new start must be safe before what they were made of goes.
        ops.emplace_back(SyncOp{{segment_tables_path(dir_, segments_[1].base)}, {dir_}});
        // Oldest first, each for good before the next: the log never gets a hole.
        remove_segment_files(segments_.front(), ops);
        segments_.pop_front();
        ++layout_;
    }
    if (ops.empty()) return;
    ++swaps_;
    auto again = ops;
    context_.commit.background(std::move(ops),
                               [self = weak_from_this(), again = std::move(again)](const Result<void>& status) mutable {
                                   const auto log = self.lock();
                                   if (!log) return;
                                   if (!status) {
                                       log->context_.log.warn("STORAGE retention stream={} {}; retrying",
                                                              to_string(log->id_), status.error().message);
                                       log->owed_removals_ = std::move(again);
                                   }
                                   log->end_swap();
                               });
}

bool StreamLog::may_drop_oldest(Offset below, const RetainLimits& limits) {
    if (segments_.size() < 2) return false;
    const Segment& oldest = segments_.front();
    const Offset end = segments_[1].base;
    if (end > below || end > synced_end_ || !segments_[1].tables_written) return false;
    if (limits.max_bytes && size_bytes() > *limits.max_bytes) return true;
    if (!limits.clock || !limits.keep_ms) return false;
    if (!oldest.appended_known) {
        with_index(oldest.base, [](const auto&) {});  // the next call knows
        return false;
    }
    return is_older(oldest, *limits.clock, *limits.keep_ms);
}

void StreamLog::note_growth(const WallClock& clock) {
    for (std::size_t i = segments_.size(); log_end_ > grown_end_ && i-- > 0 && end_of(i) > grown_end_;)
        segments_[i].grown_at = clock;
    grown_end_ = log_end_;
}

// What was appended while the owner's clock was ahead would stay until that time has come. It was appended before now,
// which is written down for closed segments; of the newest one the next snapshot tells.
void StreamLog::bound_append_times(const WallClock& clock) {
    for (Segment& segment : segments_) {
        if (!segment.appended_known || segment.appended.last_ms <= clock.ms + kSlackMs) continue;
        context_.log.warn(
            "STORAGE retention stream={} file={}: records were appended {} s in the future, by their owner's "
            "clock; they are kept as if appended now",
            to_string(id_), segment.log_path(), (segment.appended.last_ms - clock.ms) / 1000);
        if (&segment == &segments_.back()) {
            segment.index.bound_append_times(clock.ms);
            segment.appended = segment.index.appended();
            continue;
        }
        segment.appended.first_ms = std::min(segment.appended.first_ms, clock.ms);
        segment.appended.last_ms = clock.ms;
        with_index(segment.base, [self = weak_from_this(), base = segment.base,
                                  ms = clock.ms](const std::shared_ptr<const SparseIndex>& index) {
            const auto log = self.lock();
            if (!log || !index || base < log->log_start()) return;
            Segment& s = log->segments_[log->segment_index(base)];
            auto bounded = std::make_shared<SparseIndex>(*index);
            bounded->bound_append_times(ms);
            log->context_.indexes.put(s.stem, bounded);
            // Torn by a crash it does not match its checksum and is made again.
            log->context_.commit.background(
                {CreateOp{s.index_path()}, WriteOp{s.index_path(), 0, {bounded->encode(s.size)}}},
                [](const Result<void>&) {});
        });
    }
}

void StreamLog::roll_if_due(const WallClock& clock, std::int64_t roll_after_ms) {
    const Segment& newest = segments_.back();
    if (newest.size == 0 || newest.appended.first_ms >= clock.ms - roll_after_ms) return;
    roll();
    if (synced_end_ == log_end_) write_due_tables(synced_end_);  // no flush of records will bring the news
}

std::int64_t StreamLog::appended_ms(Offset offset) const {
    if (offset < log_start()) return 0;
    const Segment& segment = segments_[segment_index(offset)];
    return segment.appended_known && segment.appended.last_ms != kNoTimestamp ? segment.appended.last_ms : 0;
}

std::int64_t StreamLog::newest_append_ms() const {
    const bool empty = segments_.back().size == 0;
    if (empty && segments_.size() == 1) return 0;
    return appended_ms(segments_[segments_.size() - (empty ? 2 : 1)].base);
}

}  // namespace logstream::storage
