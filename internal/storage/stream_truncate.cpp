// StreamLog: going back (truncate) and starting over (reset).
#include <algorithm>
#include <utility>

#include "internal/storage/segment_scan.h"
#include "internal/storage/store_context.h"
#include "internal/storage/stream_log.h"

namespace logstream::storage {
namespace {

constexpr Offset kNothing{-1};

}  // namespace

void StreamLog::end_change(FlushCallback callback, const Result<void>& status) {
    changing_ = cutting_ = false;
    callback(status);
}

void StreamLog::end_swap() {
    LS_ASSERT(swaps_ > 0);
    if (--swaps_ > 0) return;
    for (auto& task : std::exchange(after_swaps_, {})) task();
}

void StreamLog::truncate(Offset to, FlushCallback callback) {
    const auto refuse = [&](Error error) {
        context_.disk.post([callback = std::move(callback), error = std::move(error)]() mutable {
            callback(std::unexpected(std::move(error)));
        });
    };
    if (changing_) return refuse({ErrorCode::kBusy, "stream " + to_string(id_) + " is being cut back already"});
    if (to < log_start() || to > log_end_) {
        return refuse({ErrorCode::kInvalid, fmt::format("cannot truncate stream {} at {}: it holds [{}, {})",
                                                        to_string(id_), to, log_start(), log_end_)});
    }
    changing_ = true;
    if (swaps_ > 0) {
        after_swaps_.push_back([this, to, callback = std::move(callback)]() mutable {
            changing_ = false;
            truncate(to, std::move(callback));
        });
        return;
    }
    cutting_ = true;
    if (auto point = find_in_memory(to)) {
        cut(to, std::move(*point), std::move(callback));
        return;
    }
    write_everything([self = weak_from_this(), to, callback = std::move(callback)](Result<void> status) mutable {
        const auto log = self.lock();
        if (!log) return;
        if (!status) return log->end_change(std::move(callback), status);
        log->find_on_disk(to, std::move(callback));
    });
}

void StreamLog::write_everything(FlushCallback callback) {
    context_.commit.add_barrier({},
                                [self = weak_from_this(), callback = std::move(callback)](Result<void> status) mutable {
                                    const auto log = self.lock();
                                    if (!log) return;
                                    if (!status) return callback(std::move(status));
                                    log->context_.commit.add_barrier({}, std::move(callback));
                                });
}

std::optional<StreamLog::TruncatePoint> StreamLog::find_in_memory(Offset to) const {
    if (tables_incomplete_) return std::nullopt;
    TruncatePoint point;
    if (to == log_end_) {
        point.segment = segments_.size() - 1;
        point.position = segments_.back().size;
        return point;
    }
    const CachedBatch* batch = cached_.find(to);
    if (batch == nullptr || batch->base != to) return std::nullopt;
    point.segment = segment_index(to);
    point.position = batch->position;
    if (point.segment + 1 < segments_.size()) {
        const auto index = context_.indexes.find(segments_[point.segment].stem);
        if (!index) return std::nullopt;
        point.index = *index;
    }
    if (!history_.reaches(to)) return std::nullopt;
    return point;
}

void StreamLog::find_on_disk(Offset to, FlushCallback callback) {
    const std::size_t at = segment_index(to);
    const Segment& segment = segments_[at];
    const Offset base = segment.base;
    auto with_tables = [self = weak_from_this(), to, at, base,
                        callback = std::move(callback)](Result<Bytes> tables) mutable {
        const auto log = self.lock();
        if (!log) return;
        TruncatePoint point{at, 0, {}, {}};
        std::optional<Snapshot> snapshot;
        if (tables) snapshot = decode_snapshot(tables->span(), log->id_, log->context_.table_limits());
        if (snapshot && snapshot->offset == base && !snapshot->tables_incomplete) {
            point.tables = std::move(snapshot->tables);
        } else if (base == Offset(0)) {
            point.tables = LogTables(log->context_.table_limits());
        } else if (base > log->log_start() && !log->damage()) {
            // They are a function of the log: made again, and asked for once more.
            return log->rebuild_tables([self, to, callback = std::move(callback)](Result<void> rebuilt) mutable {
                const auto again = self.lock();
                if (!again) return;
                if (!rebuilt) return callback(std::move(rebuilt));
                again->truncate(to, std::move(callback));
            });
        } else {
            return log->end_change(
                std::move(callback),
                protocol::fail(ErrorCode::kCorrupt, "the tables of stream {} at offset {} are damaged",
                               to_string(log->id_), base));
        }
        const Segment& from = log->segments_[at];
        log->context_.disk.read(
            from.log_path(), 0, from.size,
            [self, to, base, point = std::move(point), callback = std::move(callback)](Result<Bytes> data) mutable {
                const auto log = self.lock();
                if (!log) return;
                if (!data) return log->end_change(std::move(callback), std::unexpected(data.error()));
                const ViewNumber least_view = point.tables->epochs.last_view();
                SegmentScan scan = scan_segment(*data, 0, base, log->seed_, {least_view, log->end_of(point.segment)});
                const auto end =
                    std::ranges::find_if(scan.entries, [to](const ScannedEntry& e) { return e.info.base >= to; });
                const bool boundary =
                    end != scan.entries.end()
                        ? end->info.base == to || (end == scan.entries.begin() ? base : std::prev(end)->info.next) == to
                        : scan.end == to;
                const bool in_gap = std::ranges::any_of(scan.gaps, [to](const ScanGap& gap) { return gap.from < to; });
                if (in_gap)  // damage that nobody had read before: from now on it is known
                    return log->inspect(
                        base, least_view, [self, to, callback = std::move(callback)](Inspection) mutable {
                            if (const auto again = self.lock())
                                again->end_change(std::move(callback),
                                                  protocol::fail(ErrorCode::kCorrupt,
                                                                 "offset {} of stream {} lies after a damaged range",
                                                                 to, to_string(again->id_)));
                        });
                if (!boundary)
                    return log->end_change(
                        std::move(callback),
                        protocol::fail(ErrorCode::kInvalid, "offset {} of stream {} lies within a batch", to,
                                       to_string(log->id_)));
                scan.entries.erase(end, scan.entries.end());
                for (const ScannedEntry& entry : scan.entries) point.tables->apply(entry.info);
                point.position = scan.entries.empty() ? 0 : scan.entries.back().end_position;
                point.index = index_of(scan, base, log->context_.options.index_interval_bytes);
                log->cut(to, std::move(point), std::move(callback));
            });
    };
    context_.disk.read(segment_tables_path(dir_, base), 0, kMaxSmallFileBytes, std::move(with_tables));
}

void StreamLog::drop_snapshots_above(Offset to, std::vector<DiskOp>& ops) {
    if (due_snapshot_ && due_snapshot_->offset > to) due_snapshot_.reset();
    bool any = false;
    for (unsigned slot = 0; slot < slots_.size(); ++slot) {
        if (slots_[slot] <= to) continue;
        ops.emplace_back(RemoveOp{snapshot_slot_path(dir_, slot)});
        slots_[slot] = kNothing;
        any = true;
    }
    // For good before the log is cut: a snapshot of records that are gone must not meet others at their offsets.
    if (any) ops.emplace_back(SyncOp{{}, {dir_}});
}

void StreamLog::cut(Offset to, TruncatePoint point, FlushCallback callback) {
    ++version_;
    ++layout_;
    std::vector<DiskOp> ops = take_owed_removals();
    // Damage that snapshots know of may lie above; they are written anew when it matters.
    const bool damaged = damage().has_value();
    drop_snapshots_above(damaged ? kNothing : to, ops);
    std::erase_if(due_tables_, [to](const DueSnapshot& tables) { return tables.offset > to; });
    while (segments_.size() > point.segment + 1) {
        // From the last one back, each for good before the next: the log never gets a hole.
        remove_segment_files(segments_.back(), ops);
        segments_.pop_back();
    }
    Segment& segment = segments_.back();
    ops.emplace_back(RemoveOp{segment.index_path()});
    context_.indexes.erase(segment.stem);
    ops.emplace_back(TruncateOp{segment.log_path(), point.position});
    if (point.index) segment.index = std::move(*point.index);
    segment.index.truncate(point.position);
    segment.size = segment.written = segment.file_end = point.position;
    segment.appended = segment.index.appended();
    segment.appended_known = true;
    std::erase_if(segment.damage, [to](const SegmentDamage& damage) { return damage.from >= to; });
    tail_damage_.reset();
    if (!damage()) tables_incomplete_ = false;
    cached_.truncate(to);
    if (point.tables) {
        history_.start(std::move(*point.tables), to);
    } else {
        LS_ASSERT(history_.truncate(to));
    }
    set_log_end(to);
    compacted_end_ = std::min(compacted_end_, to);
    written_end_ = std::min(written_end_, to);
    synced_end_ = std::min(synced_end_, to);
    const bool snapshot = damaged;
    context_.commit.add_barrier(std::move(ops), [self = weak_from_this(), to, snapshot,
                                                 callback = std::move(callback)](Result<void> status) mutable {
        const auto log = self.lock();
        if (!log) return;
        if (status) {
            log->written_end_ = log->synced_end_ = to;
            log->cached_.set_written_end(to);
            for (Segment& s : log->segments_) {
                s.written = s.size;
                s.tables_written =
                    std::ranges::find(log->due_tables_, s.base, &DueSnapshot::offset) == log->due_tables_.end();
            }
            log->write_due_tables(to);  // the news of their flush was of the version before
            if (snapshot) log->save_snapshot();
        }
        log->end_change(std::move(callback), status);
    });
}

void StreamLog::reset(Offset start, Bytes tables, FlushCallback callback) {
    const auto refuse = [&](Error error) {
        context_.disk.post([callback = std::move(callback), error = std::move(error)]() mutable {
            callback(std::unexpected(std::move(error)));
        });
    };
    if (changing_) return refuse({ErrorCode::kBusy, "stream " + to_string(id_) + " is being cut back already"});
    if (swaps_ > 0) {
        changing_ = true;
        after_swaps_.push_back([this, start, tables = std::move(tables), callback = std::move(callback)]() mutable {
            changing_ = false;
            reset(start, std::move(tables), std::move(callback));
        });
        return;
    }
    if (start < Offset(0)) return refuse({ErrorCode::kInvalid, "a log cannot start below 0"});
    LogTables decoded(context_.table_limits());
    if (!tables.empty()) {
        ByteReader in(tables.span());
        if (!decoded.decode(in) || !in.at_end()) return refuse({ErrorCode::kInvalid, "the tables make no sense"});
        const auto epochs = decoded.epochs.entries();
        if (!epochs.empty() && epochs.back().first >= start) {
            return refuse({ErrorCode::kInvalid, "the tables are not those of a log that ends at the start asked for"});
        }
    }
    changing_ = cutting_ = true;
    ++version_;
    ++layout_;
    std::vector<DiskOp> ops = take_owed_removals();
    drop_snapshots_above(kNothing, ops);
    due_tables_.clear();
    while (!segments_.empty()) {
        remove_segment_files(segments_.back(), ops);
        segments_.pop_back();
    }
    cached_.clear();
    history_.start(std::move(decoded), start);
    set_log_end(start);
    written_end_ = synced_end_ = start;
    compacted_end_ = Offset(0);
    cached_.set_written_end(start);
    tail_damage_.reset();
    tables_incomplete_ = false;
    Segment& segment = add_segment(start);
    const std::string path = segment_tables_path(dir_, start);
    ops.emplace_back(CreateOp{path});
    ops.emplace_back(WriteOp{path, 0, {encode_snapshot(snapshot_at_end())}});
    ops.emplace_back(SyncOp{{path}, {}});
    ops.emplace_back(CreateOp{segment.log_path()});
    context_.commit.add_barrier(std::move(ops),
                                [self = weak_from_this(), callback = std::move(callback)](Result<void> status) mutable {
                                    if (const auto log = self.lock()) log->end_change(std::move(callback), status);
                                });
}

void StreamLog::start_tables(std::move_only_function<void(Result<StartTables>)> callback) {
    const Offset start = log_start();
    write_everything([self = weak_from_this(), start, callback = std::move(callback)](Result<void> status) mutable {
        const auto log = self.lock();
        if (!log) return;
        if (!status) return callback(std::unexpected(status.error()));
        auto use = [self, start, callback = std::move(callback)](Result<Bytes> bytes) mutable {
            const auto log = self.lock();
            if (!log) return;
            LogTables tables(log->context_.table_limits());
            if (bytes) {
                auto snapshot = decode_snapshot(bytes->span(), log->id_, log->context_.table_limits());
                if (!snapshot)
                    return callback(protocol::fail(ErrorCode::kCorrupt, "the tables at offset {} are damaged", start));
                tables = std::move(snapshot->tables);
            } else if (start > Offset(0)) {
                return callback(std::unexpected(bytes.error()));
            }
            ByteWriter out;
            tables.encode(out);
            callback(StartTables{start, out.take()});
        };
        log->context_.disk.read(segment_tables_path(log->dir_, start), 0, kMaxSmallFileBytes, std::move(use));
    });
}

}  // namespace logstream::storage
