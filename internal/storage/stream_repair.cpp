// StreamLog: putting bytes from a peer in the place of damaged ones, and making the tables right again after it.
#include <algorithm>
#include <cstring>
#include <utility>

#include "internal/protocol/record_batch.h"
#include "internal/storage/segment_rewrite.h"
#include "internal/storage/segment_scan.h"
#include "internal/storage/store_context.h"
#include "internal/storage/stream_log.h"

namespace logstream::storage {
namespace {

Result<std::vector<ParsedBatch>> parse_checked(const Bytes& bytes, Offset from) {
    auto views = protocol::split_batches(bytes);
    if (!views) return std::unexpected(std::move(views.error()));
    if (views->empty()) return protocol::fail(ErrorCode::kInvalid, "no batches to repair with");
    Offset expected = from;
    ViewNumber view;
    for (const protocol::BatchView& batch : *views) {
        const bool fits =
            batch.base_offset() == expected && batch.leader_epoch() >= view && batch.leader_epoch() != ViewNumber();
        if (!fits)
            return protocol::fail(ErrorCode::kInvalid, "a batch at offset {} does not fit at {}", batch.base_offset(),
                                  expected);
        if (!batch.crc_ok())
            return protocol::fail(ErrorCode::kCorrupt, "the batch at offset {} is itself damaged", expected);
        expected = batch.next_offset();
        view = batch.leader_epoch();
    }
    return parse_batches(bytes);
}

Bytes join(const std::vector<std::span<const std::byte>>& parts) {
    std::size_t total = 0;
    for (const auto part : parts) total += part.size();
    Bytes all = Bytes::allocate(total);
    std::size_t at = 0;
    for (const auto part : parts) {
        if (!part.empty()) std::memcpy(all.mutable_data() + at, part.data(), part.size());
        at += part.size();
    }
    return all;
}

}  // namespace

void StreamLog::repair(Bytes bytes, std::int64_t appended_ms, FlushCallback callback) {
    const auto refuse = [&](Error error) {
        context_.disk.post([callback = std::move(callback), error = std::move(error)]() mutable {
            callback(std::unexpected(std::move(error)));
        });
    };
    if (changing_ || compacting_) return refuse({ErrorCode::kBusy, "stream " + to_string(id_) + " is being rewritten"});
    const auto range = damage();
    if (!range) return refuse({ErrorCode::kInvalid, "stream " + to_string(id_) + " is not damaged"});
    auto batches = parse_checked(bytes, range->from);
    if (!batches) return refuse(batches.error());
    const auto damaged = std::ranges::find_if(segments_, [](const Segment& s) { return s.first_damage() != nullptr; });
    if (damaged != segments_.end() && batches->back().info.next > range->to) {
        return refuse(
            {ErrorCode::kInvalid, fmt::format("the damage of stream {} ends at {}", to_string(id_), range->to)});
    }
    changing_ = true;
    Repair repair{std::move(bytes), std::move(*batches), appended_ms, std::move(callback)};
    if (damaged == segments_.end()) return repair_tail(std::move(repair));
    // The newest segment is closed first, so that nothing is written to what is rewritten.
    if (&*damaged == &segments_.back()) roll();
    const Offset base = damaged->base;
    context_.commit.add_barrier(
        {}, [self = weak_from_this(), base, repair = std::move(repair)](Result<void> status) mutable {
            const auto log = self.lock();
            if (!log) return;
            if (!status) return log->end_change(std::move(repair.callback), status);
            log->repair_segment(base, std::move(repair));
        });
}

void StreamLog::repair_tail(Repair repair) {
    // The snapshot that knows how far the log went is flushed first, so that a crash in between forgets nothing.
    context_.commit.add_barrier({}, [self = weak_from_this(), repair = std::move(repair)](Result<void> status) mutable {
        const auto log = self.lock();
        if (!log) return;
        if (!status) return log->end_change(std::move(repair.callback), status);
        Segment& segment = log->segments_.back();
        segment.file_end = segment.size;
        auto append = [self, repair = std::move(repair)](Result<void> cut) mutable {
            const auto l = self.lock();
            if (!l) return;
            if (!cut) return l->end_change(std::move(repair.callback), cut);
            if (auto ok = l->check_append(repair.batches); !ok) return l->end_change(std::move(repair.callback), ok);
            l->take_batches(repair.bytes, repair.batches, repair.appended_ms);
            l->context_.commit.add_barrier({},
                                           [self, callback = std::move(repair.callback)](Result<void> done) mutable {
                                               const auto log2 = self.lock();
                                               if (!log2) return;
                                               if (done) {
                                                   const Offset to = log2->tail_damage_->to;
                                                   log2->tail_damage_.reset();
                                                   if (log2->log_end_ < to)
                                                       log2->tail_damage_ = DamageRange{log2->log_end_, to};
                                                   log2->save_snapshot();
                                               }
                                               log2->end_change(std::move(callback), done);
                                           });
        };
        log->context_.commit.add_barrier({TruncateOp{segment.log_path(), segment.size}}, std::move(append));
    });
}

void StreamLog::repair_segment(Offset base, Repair repair) {
    const Segment& segment = segments_[segment_index(base)];
    context_.disk.read(segment.log_path(), 0, segment.size,
                       [self = weak_from_this(), base, repair = std::move(repair)](Result<Bytes> data) mutable {
                           const auto log = self.lock();
                           if (!log) return;
                           auto& [bytes, batches, appended_ms, callback] = repair;
                           // What cannot be read now may be whole: it must not be replaced by nothing.
                           if (!data && !is_missing(data.error()))
                               return log->end_change(std::move(callback), std::unexpected(data.error()));
                           const Segment& s = log->segments_[log->segment_index(base)];
                           // A file that is gone is damaged as a whole.
                           const Bytes old = data ? *data : Bytes();
                           const SegmentDamage damage = *s.first_damage();
                           const std::size_t from = std::min<std::size_t>(damage.from_position, old.size());
                           const std::size_t to = std::min<std::size_t>(damage.to_position, old.size());
                           std::vector<std::span<const std::byte>> parts{old.span().first(from)};
                           Bytes headers = Bytes::allocate(batches.size() * kEntryHeaderBytes);
                           std::size_t at = 0;
                           for (std::size_t i = 0; i < batches.size(); ++i) {
                               const ParsedBatch& batch = batches[i];
                               std::byte* header = headers.mutable_data() + i * kEntryHeaderBytes;
                               encode_entry_header(header,
                                                   {batch.info.base, static_cast<std::uint32_t>(batch.bytes),
                                                    batch.info.view, log->synced_end_, appended_ms},
                                                   log->seed_);
                               parts.emplace_back(header, kEntryHeaderBytes);
                               parts.push_back(bytes.span().subspan(at, batch.bytes));
                               at += batch.bytes;
                           }
                           parts.push_back(old.span().subspan(to));
                           SegmentRewrite::start(log, base, join(parts),
                                                 [self, callback = std::move(callback)](Result<void> status) mutable {
                                                     const auto l = self.lock();
                                                     if (!l) return;
                                                     if (!status) return l->end_change(std::move(callback), status);
                                                     // Damage at the end hides nothing that the tables should know.
                                                     if (!l->tables_incomplete_ || l->damage() != l->tail_damage_) {
                                                         l->save_snapshot();
                                                         return l->end_change_after_flush(std::move(callback));
                                                     }
                                                     l->rebuild_tables(std::move(callback));
                                                 });
                       });
}

void StreamLog::end_change_after_flush(FlushCallback callback) {
    context_.commit.add_barrier({},
                                [self = weak_from_this(), callback = std::move(callback)](Result<void> status) mutable {
                                    if (const auto log = self.lock()) log->end_change(std::move(callback), status);
                                });
}

// Of a segment in which no record of the log is.
void StreamLog::cut_to_nothing(Segment& segment) {
    context_.log.warn("STORAGE stream={} file={}: it has entries beyond the end of the log; emptying it",
                      to_string(id_), segment.log_path());
    segment.size = segment.written = segment.file_end = 0;
    segment.index = SparseIndex(segment.base, context_.options.index_interval_bytes);
    segment.appended = segment.index.appended();
    context_.commit.add(TruncateOp{segment.log_path(), 0});
}

// Its entries are sound, and are not those of which the log knows: all of it is to be fetched again. False: none is of
// the log, and it is emptied.
bool StreamLog::distrust_segment(std::size_t at) {
    Segment& segment = segments_[at];
    const Offset end = end_of(at);
    if (segment.base == end) {
        cut_to_nothing(segment);
        return false;
    }
    context_.log.error("STORAGE damage stream={} offsets=[{}, {}) file={}: its entries differ from those known",
                       to_string(id_), segment.base, end, segment.log_path());
    segment.damage = {{segment.base, end, 0, segment.size}};
    save_snapshot();
    return true;
}

// Reads the whole log from its first segment on: rare, and the log takes no appends meanwhile. Damage that it meets is
// known afterwards, and the tables stay as they are until it is repaired.
void StreamLog::rebuild_tables(FlushCallback callback) {
    changing_ = true;
    struct Rebuild : std::enable_shared_from_this<Rebuild> {
        std::weak_ptr<StreamLog> self;
        LogTables tables;
        std::size_t at{0};
        FlushCallback callback;
        std::vector<DiskOp> ops;

        // Nobody had read it before. Tables without what stands there would lie: those that lack something stay.
        void met_damage(StreamLog& log, Offset base) {
            log.inspect(base, tables.epochs.last_view(), [me = shared_from_this(), base](Inspection seen) {
                const auto l = me->self.lock();
                if (!l) return;
                if (!l->damage() && seen != Inspection::kNotRead && !l->distrust_segment(l->segment_index(base)))
                    return me->next();
                l->end_change(std::move(me->callback),
                              l->damage() ? Result<void>{}
                                          : protocol::fail(ErrorCode::kDisk, "stream {} cannot be read as a whole",
                                                           to_string(l->id_)));
            });
        }

        bool is_whole(const StreamLog& log, const SegmentScan& found) const {
            return found.whole_until(log.end_of(at), at + 1 < log.segments_.size());
        }

        // Tables of a view that is greater than the log's first one speak of another log: the log is what counts.
        SegmentScan scan(const StreamLog& log, const Bytes& data) {
            EntryBounds bounds{.least_view = tables.epochs.last_view(), .limit = log.end_of(at)};
            const Offset base = log.segments_[at].base;
            SegmentScan found = scan_segment(data, 0, base, log.seed_, bounds);
            if (at > 0 || is_whole(log, found) || bounds.least_view == ViewNumber()) return found;
            bounds.least_view = {};
            SegmentScan alone = scan_segment(data, 0, base, log.seed_, bounds);
            if (!is_whole(log, alone)) return found;
            log.context_.log.warn("STORAGE stream={} tables before offset {} contradict the log and are dropped",
                                  to_string(log.id_), base);
            tables = LogTables(log.context_.table_limits());
            return alone;
        }

        void next() {
            const auto log = self.lock();
            if (!log) return;
            if (at == log->segments_.size()) {
                log->history_.start(std::move(tables), log->log_end_);
                log->tables_incomplete_ = false;
                for (DiskOp& op : ops) log->context_.commit.add(std::move(op));
                log->save_snapshot();
                return log->end_change_after_flush(std::move(callback));
            }
            const Segment& segment = log->segments_[at];
            log->context_.disk.read(segment.log_path(), 0, segment.size, [me = shared_from_this()](Result<Bytes> data) {
                const auto l = me->self.lock();
                if (!l) return;
                if (!data && !is_missing(data.error()))
                    return l->end_change(std::move(me->callback), std::unexpected(data.error()));
                const Segment& s = l->segments_[me->at];
                const SegmentScan found = me->scan(*l, data ? *data : Bytes());
                if (!me->is_whole(*l, found)) return me->met_damage(*l, s.base);
                if (me->at > 0) {
                    Snapshot snapshot{l->id_, s.base, s.base, 0, 0, s.base, 0, false, me->tables, {}, {}};
                    snapshot.index = SparseIndex(s.base, l->context_.options.index_interval_bytes);
                    const std::string path = segment_tables_path(l->dir_, s.base);
                    me->ops.emplace_back(CreateOp{path});
                    me->ops.emplace_back(WriteOp{path, 0, {encode_snapshot(snapshot)}});
                }
                for (const ScannedEntry& entry : found.entries) me->tables.apply(entry.info);
                ++me->at;
                me->next();
            });
        }
    };
    auto rebuild = std::make_shared<Rebuild>();
    rebuild->self = weak_from_this();
    rebuild->tables = LogTables(context_.table_limits());
    rebuild->callback = std::move(callback);
    context_.disk.read(segment_tables_path(dir_, log_start()), 0, kMaxSmallFileBytes, [rebuild](Result<Bytes> bytes) {
        const auto log = rebuild->self.lock();
        if (!log) return;
        // Tried again by `tick`.
        if (!bytes && !is_missing(bytes.error()))
            return log->end_change(std::move(rebuild->callback), std::unexpected(bytes.error()));
        if (bytes) {
            auto snapshot = decode_snapshot(bytes->span(), log->id_, log->context_.table_limits());
            if (snapshot && snapshot->offset == log->log_start()) rebuild->tables = std::move(snapshot->tables);
        }
        rebuild->next();
    });
}

}  // namespace logstream::storage
