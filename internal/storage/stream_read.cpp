// StreamLog: reading. LogReader carries one read from memory or disk through to its callback.
#include <algorithm>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "internal/storage/compacted_batches.h"
#include "internal/storage/segment_scan.h"
#include "internal/storage/store_context.h"
#include "internal/storage/stream_log.h"

namespace logstream::storage {
namespace {

constexpr std::size_t kLeastReadBytes = 64u << 10;
constexpr std::size_t kChecksumReadBytes = 1u << 20;

}  // namespace

// One read. It starts again from the beginning when the log changed under it.
class LogReader : public std::enable_shared_from_this<LogReader> {
public:
    LogReader(const std::shared_ptr<StreamLog>& log, Offset from, Offset limit, std::size_t max_bytes,
              ReadBatchesCallback callback)
        : log_(log),
          waiting_(log->context_.reads_waiting),
          from_(from),
          limit_(limit),
          max_bytes_(max_bytes),
          callback_(std::move(callback)) {
        ++*waiting_;
    }
    ~LogReader() { --*waiting_; }
    LogReader(const LogReader&) = delete;
    LogReader& operator=(const LogReader&) = delete;

    void start() {
        const auto log = log_.lock();
        if (!log) return;
        const Offset limit = std::min(limit_, log->log_end_);
        if (from_ < log->log_start() || from_ > log->log_end_) {
            return finish(protocol::fail(ErrorCode::kOffsetOutOfRange, "offset {} is not in [{}, {}) of stream {}",
                                         from_, log->log_start(), log->log_end_, to_string(log->id_)));
        }
        if (from_ >= limit) return finish(Batches());
        if (auto cached = log->read_cached(from_, limit, max_bytes_)) return finish(std::move(*cached));
        const Segment& segment = log->segments_[log->segment_index(from_)];
        segment_base_ = segment.base;
        layout_ = log->layout_;
        if (&segment == &log->segments_.back()) return read_at(*log, segment.index.position_of(from_), kLeastReadBytes);
        log->with_index(segment.base, [self = shared_from_this()](std::shared_ptr<const SparseIndex> index) {
            const auto l = self->log_.lock();
            if (!l) return;
            if (l->layout_ != self->layout_) return self->start();
            self->read_at(*l, index ? index->position_of(self->from_) : 0, kLeastReadBytes);
        });
    }

private:
    void finish(Result<Batches> result) {
        if (!callback_) return;
        std::exchange(callback_, nullptr)(std::move(result));
    }

    // Reads from a place where an entry begins.
    void read_at(StreamLog& log, std::uint64_t position, std::size_t least_bytes) {
        const Segment& segment = log.segments_[log.segment_index(from_)];
        for (const SegmentDamage& damage : segment.damage) {
            if (from_ >= damage.from && from_ < damage.to) return finish(damaged(log));
            if (from_ >= damage.to && position < damage.to_position) position = damage.to_position;
        }
        if (position >= segment.written) return look_closer(log);  // the index said so, and yet nothing is there
        const std::uint64_t wanted =
            std::max<std::uint64_t>(least_bytes, max_bytes_ + log.context_.options.index_interval_bytes);
        position_ = position;
        length_ = static_cast<std::size_t>(std::min(wanted, segment.written - position));
        log.context_.disk.read(segment.log_path(), position_, length_, [self = shared_from_this()](Result<Bytes> data) {
            const auto l = self->log_.lock();
            if (!l) return;
            if (l->layout_ != self->layout_) return self->start();
            if (!data) return self->finish(std::unexpected(std::move(data.error())));
            self->walk(*l, *data);
        });
    }

    void walk(StreamLog& log, const Bytes& data) {
        const Segment& segment = log.segments_[log.segment_index(from_)];
        const Offset limit = std::min(limit_, log.log_end_);
        const Offset end = log.end_of(log.segment_index(from_));
        Batches batches;
        std::size_t total = 0;
        std::size_t at = 0;
        std::optional<Offset> expected;
        while (true) {
            EntryResult next = read_entry(data, at, position_, log.seed_);
            const bool out_of_order =
                next.status == EntryStatus::kOk &&
                ((expected && next.entry.header.base != *expected) || next.entry.batch.info.next > end);
            const bool ends_here = position_ + data.size() >= segment.written || data.size() < length_;
            if (next.status == EntryStatus::kBad || out_of_order || (next.status != EntryStatus::kOk && ends_here)) {
                if (!batches.empty()) break;
                return look_closer(log);
            }
            if (next.status != EntryStatus::kOk) {
                if (!batches.empty()) break;
                // The batch at `from_` is larger than was read, or begins later.
                return read_at(log, position_ + at, std::max(next.bytes_needed, kLeastReadBytes));
            }
            const Entry& entry = next.entry;
            expected = entry.batch.info.next;
            at = static_cast<std::size_t>(entry.end() - position_);
            if (entry.batch.info.next <= from_) continue;
            if (batches.empty() && entry.header.base > from_) return look_closer(log);
            if (entry.batch.info.next > limit) break;
            if (!batches.empty() && total + entry.bytes.size() > max_bytes_) break;
            total += entry.bytes.size();
            batches.push_back(batches.empty() ? trim_batch(entry.bytes, from_) : entry.bytes);
        }
        finish(std::move(batches));
    }

    // Something is damaged before or at `from_`: learn what, and try again around it.
    void look_closer(StreamLog& log) {
        log.inspect(segment_base_, ViewNumber(), [self = shared_from_this()](StreamLog::Inspection seen) {
            const auto l = self->log_.lock();
            if (!l) return;
            if (seen == StreamLog::Inspection::kNews || l->layout_ != self->layout_) return self->start();
            if (seen == StreamLog::Inspection::kNothingNew && !std::exchange(self->index_distrusted_, true)) {
                return self->read_without_index(*l);
            }
            self->finish(damaged(*l));
        });
    }

    // No new damage was found in the entries, so the index must be wrong: it is rebuilt. That of the newest segment is
    // in memory, and left as it is.
    void read_without_index(StreamLog& log) {
        const Segment& segment = log.segments_[log.segment_index(from_)];
        if (&segment == &log.segments_.back()) return read_at(log, 0, kLeastReadBytes);
        log.rebuild_index(segment, [self = shared_from_this()](const std::shared_ptr<const SparseIndex>&) {
            const auto l = self->log_.lock();
            if (!l) return;
            if (l->layout_ != self->layout_) return self->start();
            self->read_at(*l, 0, kLeastReadBytes);
        });
    }

    static std::unexpected<Error> damaged(const StreamLog& log) {
        const auto damage = log.damage();
        if (!damage) return protocol::fail(ErrorCode::kDisk, "stream {} cannot be read now", to_string(log.id_));
        return protocol::fail(ErrorCode::kCorrupt, "stream {} is damaged at offset {} on this broker",
                              to_string(log.id_), damage->from);
    }

    std::weak_ptr<StreamLog> log_;
    std::shared_ptr<std::size_t> waiting_;
    Offset from_;
    Offset limit_;
    std::size_t max_bytes_;
    ReadBatchesCallback callback_;
    Offset segment_base_;
    std::uint64_t layout_{};
    std::uint64_t position_{};  // of what was read last
    std::size_t length_{};
    bool index_distrusted_{};
};

std::optional<Batches> StreamLog::read_cached(Offset from, Offset limit, std::size_t max_bytes) {
    const CachedBatch* first = cached_.find(from);
    if (first == nullptr) return std::nullopt;
    Batches batches;
    std::size_t total = 0;
    const auto& all = cached_.batches();
    for (auto at = std::ranges::lower_bound(all, first->base, {}, &CachedBatch::base); at != all.end(); ++at) {
        if (at->next > limit) break;
        if (!batches.empty() && total + at->bytes.size() > max_bytes) break;
        total += at->bytes.size();
        batches.push_back(batches.empty() ? trim_batch(at->bytes, from) : at->bytes);
    }
    return batches;
}

void StreamLog::read(Offset from, Offset limit, std::size_t max_bytes, ReadBatchesCallback callback) {
    if (*context_.reads_waiting >= context_.options.max_reads) {
        context_.disk.post([callback = std::move(callback)]() mutable {
            callback(protocol::fail(ErrorCode::kBusy, "too many reads wait for the disk"));
        });
        return;
    }
    auto reader = std::make_shared<LogReader>(shared_from_this(), from, limit, max_bytes, std::move(callback));
    context_.disk.post([reader = std::move(reader)] { reader->start(); });
}

void StreamLog::with_index(Offset segment_base, IndexUse use) {
    Segment& segment = segments_[segment_index(segment_base)];
    if (&segment == &segments_.back()) return use(std::make_shared<const SparseIndex>(segment.index));
    if (auto index = context_.indexes.find(segment.stem)) {
        if (!segment.appended_known) {
            segment.appended = index->appended();
            segment.appended_known = true;
        }
        return use(std::move(index));
    }
    context_.disk.read(segment.index_path(), 0, kMaxSmallFileBytes,
                       [self = weak_from_this(), base = segment.base, layout = layout_,
                        use = std::move(use)](Result<Bytes> bytes) mutable {
                           const auto log = self.lock();
                           if (!log) return;
                           if (log->layout_ != layout) return use(nullptr);
                           Segment& s = log->segments_[log->segment_index(base)];
                           std::optional<SparseIndex> index;
                           if (bytes) index = SparseIndex::decode(bytes->span(), base, s.size);
                           if (!index) return log->rebuild_index(s, std::move(use));
                           auto shared = std::make_shared<const SparseIndex>(std::move(*index));
                           s.appended = shared->appended();
                           s.appended_known = true;
                           log->context_.indexes.put(s.stem, shared);
                           use(std::move(shared));
                       });
}

void StreamLog::rebuild_index(const Segment& segment, IndexUse use) {
    // Only what is written and closed comes here: a segment's last bytes are written before its index leaves memory.
    context_.disk.read(segment.log_path(), 0, segment.size,
                       [self = weak_from_this(), base = segment.base, layout = layout_,
                        use = std::move(use)](Result<Bytes> data) mutable {
                           const auto log = self.lock();
                           if (!log) return;
                           if (log->layout_ != layout || !data) return use(nullptr);
                           Segment& s = log->segments_[log->segment_index(base)];
                           const SegmentScan scan = scan_segment(*data, 0, base, log->seed_);
                           auto index = std::make_shared<const SparseIndex>(
                               index_of(scan, base, log->context_.options.index_interval_bytes));
                           s.appended = index->appended();
                           s.appended_known = true;
                           log->context_.indexes.put(s.stem, index);
                           // Torn by a crash it does not match its checksum and is made again.
                           log->context_.commit.background(
                               {CreateOp{s.index_path()}, WriteOp{s.index_path(), 0, {index->encode(s.size)}}},
                               [](const Result<void>&) {});
                           use(std::move(index));
                       });
}

void StreamLog::inspect(Offset segment_base, ViewNumber least_view, std::move_only_function<void(Inspection)> done) {
    const std::size_t at = segment_index(segment_base);
    const Segment& segment = segments_[at];
    const Offset end = std::min(end_of(at), written_end_);
    context_.disk.read(
        segment.log_path(), 0, segment.written,
        [self = weak_from_this(), base = segment.base, end, layout = layout_, written = segment.written, least_view,
         done = std::move(done)](Result<Bytes> data) mutable {
            const auto log = self.lock();
            if (!log) return;
            if (log->layout_ != layout) return done(Inspection::kNotRead);
            // What cannot be read now may be whole; only a file that is gone is damaged.
            if (!data && !is_missing(data.error())) return done(Inspection::kNotRead);
            Segment& s = log->segments_[log->segment_index(base)];
            const Bytes bytes = data ? *data : Bytes();
            const SegmentScan scan = scan_segment(bytes, 0, base, log->seed_, {least_view, end});
            std::vector<SegmentDamage> found;
            for (const ScanGap& gap : scan.gaps) {
                found.push_back({gap.from, gap.to.value_or(end), gap.position, gap.to ? gap.to_position : written});
            }
            const bool to_the_end = !scan.gaps.empty() && !scan.gaps.back().to;
            if (!to_the_end && scan.end < end) found.push_back({scan.end, end, scan.end_position, written});
            if (found == s.damage) return done(Inspection::kNothingNew);
            for (const SegmentDamage& damage : found) {
                log->context_.log.error("STORAGE damage stream={} offsets=[{}, {}) file={} position={}",
                                        to_string(log->id_), damage.from, damage.to, s.log_path(),
                                        damage.from_position);
            }
            s.damage = std::move(found);
            if (log->written_end_ == log->log_end_ && log->synced_end_ == log->log_end_) log->save_snapshot();
            done(Inspection::kNews);
        });
}

void StreamLog::offset_for_timestamp(std::int64_t timestamp_ms,
                                     std::move_only_function<void(Result<Offset>)> callback) {
    using Callback = std::move_only_function<void(Result<Offset>)>;
    // Walks segments by their indexes, then batches.
    struct Search : std::enable_shared_from_this<Search> {
        std::weak_ptr<StreamLog> self;
        std::int64_t timestamp_ms{};
        Callback callback;
        Offset at;

        void next_segment() {
            const auto log = self.lock();
            if (!log) return;
            at = std::max(at, log->log_start());
            if (at >= log->log_end()) return callback(log->log_end());
            const std::size_t i = log->segment_index(at);
            const Offset base = log->segments_[i].base;
            const Offset end = log->end_of(i);
            log->with_index(base, [search = shared_from_this(), end](std::shared_ptr<const SparseIndex> index) {
                if (index && index->max_timestamp_ms() < search->timestamp_ms) {
                    search->at = end;
                } else if (index) {
                    search->at = std::max(search->at, index->offset_of_time(search->timestamp_ms));
                    return search->next_batches();
                } else {
                    return search->next_batches();
                }
                search->next_segment();
            });
        }
        void next_batches() {
            const auto log = self.lock();
            if (!log) return;
            log->read(at, log->log_end(), kChecksumReadBytes, [search = shared_from_this()](Result<Batches> batches) {
                if (!batches) return search->callback(std::unexpected(batches.error()));
                if (batches->empty()) return search->callback(search->at);
                for (const Bytes& bytes : *batches) {
                    const auto parsed = parse_batches(bytes);
                    if (!parsed) continue;
                    if (parsed->front().max_timestamp_ms >= search->timestamp_ms) {
                        return search->callback(parsed->front().info.base);
                    }
                    search->at = parsed->front().info.next;
                }
                search->next_segment();
            });
        }
    };
    auto search = std::make_shared<Search>();
    search->self = weak_from_this();
    search->timestamp_ms = timestamp_ms;
    search->callback = std::move(callback);
    search->at = log_start();
    context_.disk.post([search] { search->next_segment(); });
}

void StreamLog::checksum(Offset from, Offset to, std::move_only_function<void(Result<std::uint64_t>)> callback) {
    struct Sum : std::enable_shared_from_this<Sum> {
        std::weak_ptr<StreamLog> self;
        Offset at;
        Offset to;
        std::move_only_function<void(Result<std::uint64_t>)> callback;
        XXH3_state_t state{};

        void next() {
            const auto log = self.lock();
            if (!log) return;
            if (at >= to) return callback(XXH3_64bits_digest(&state));
            log->read(at, to, kChecksumReadBytes, [sum = shared_from_this()](Result<Batches> batches) {
                if (!batches) return sum->callback(std::unexpected(batches.error()));
                for (const Bytes& bytes : *batches) {
                    const auto parsed = parse_batches(bytes);
                    if (!parsed || parsed->front().info.base != sum->at) break;
                    XXH3_64bits_update(&sum->state, bytes.data(), bytes.size());
                    sum->at = parsed->front().info.next;
                }
                if (batches->empty() || sum->at == sum->start_of_round) {
                    return sum->callback(protocol::fail(ErrorCode::kInvalid, "{} is not a batch boundary", sum->at));
                }
                sum->start_of_round = sum->at;
                sum->next();
            });
        }
        Offset start_of_round;
    };
    auto sum = std::make_shared<Sum>();
    sum->self = weak_from_this();
    sum->at = sum->start_of_round = from;
    sum->to = to;
    sum->callback = std::move(callback);
    XXH3_64bits_reset(&sum->state);
    context_.disk.post([sum] { sum->next(); });
}

}  // namespace logstream::storage
