#include "internal/storage/stream_log.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "internal/storage/recovery.h"
#include "internal/storage/room.h"
#include "internal/storage/store_context.h"

namespace logstream::storage {
namespace {

// Offsets and positions within a segment fit in 32 bits (the index), with room for a last batch.
constexpr std::int64_t kMaxSegmentOffsets = std::int64_t{1} << 30;
// So much of a segment's size is made room for at once.
constexpr std::uint64_t kRoomShare = 2;
constexpr std::uint64_t kBlockBytes = 4096;
constexpr std::uint64_t kLittle = 64u << 10;
constexpr std::chrono::seconds kQuiet{10};  // nothing appended: the log's end is written down

}  // namespace

StreamLog::StreamLog(StoreContext& context, StreamId id, std::string dir)
    : context_(context),
      id_(id),
      dir_(std::move(dir)),
      seed_(stream_seed(id)),
      history_(context.table_limits()),
      cached_(context.cache) {}

StreamLog::~StreamLog() { set_log_end(Offset(0)); }

void StreamLog::set_log_end(Offset to) {
    context_.log_end_total += to.value - log_end_.value;
    log_end_ = to;
}

Segment& StreamLog::add_segment(Offset base) {
    Segment& segment = segments_.emplace_back();
    segment.base = base;
    segment.stem = segment_stem(dir_, base, 0);
    segment.index = SparseIndex(base, context_.options.index_interval_bytes);
    return segment;
}

void StreamLog::start_new() {
    context_.commit.add(MakeDirOp{dir_});
    context_.commit.add(CreateOp{add_segment(Offset(0)).log_path()});
}

void StreamLog::start_recovered(RecoveredStream&& recovered) {
    segments_ = std::move(recovered.segments);
    set_log_end(recovered.log_end);
    written_end_ = synced_end_ = grown_end_ = log_end_;
    history_.start(std::move(recovered.tables), log_end_);
    cached_.set_written_end(log_end_);
    tail_damage_ = recovered.tail_damage;
    tables_incomplete_ = recovered.tables_incomplete;
    slots_ = recovered.snapshot_slots;
    snapshot_serial_ = recovered.snapshot_serial;
    next_slot_ = recovered.oldest_slot;
    if (recovered.snapshot_due) save_snapshot();
    // All is repaired, and the process stopped before the tables were.
    if (tables_incomplete_ && !damage()) rebuild_tables([](const Result<void>&) {});
}

Offset StreamLog::durable_end() const {
    return context_.options.fsync == FsyncPolicy::kGroup ? synced_end_ : written_end_;
}

std::uint64_t StreamLog::size_bytes() const {
    std::uint64_t total = 0;
    for (const Segment& segment : segments_) total += segment.size;
    return total;
}

Result<void> StreamLog::check_append(const std::vector<ParsedBatch>& batches) const {
    Offset expected = log_end_;
    ViewNumber view = epochs().last_view();
    for (const ParsedBatch& batch : batches) {
        if (batch.info.base != expected) {
            return protocol::fail(ErrorCode::kInvalid,
                                  "a batch with base offset {} cannot follow offset {} of stream {}", batch.info.base,
                                  expected, to_string(id_));
        }
        if (batch.info.view < view || batch.info.view == ViewNumber()) {
            return protocol::fail(ErrorCode::kInvalid, "a batch of view {} cannot follow view {} in stream {}",
                                  batch.info.view, view, to_string(id_));
        }
        if (batch.bytes > context_.options.max_batch_bytes) {
            return protocol::fail(ErrorCode::kTooLarge, "a batch of {} bytes exceeds the limit of {}", batch.bytes,
                                  context_.options.max_batch_bytes);
        }
        expected = batch.info.next;
        view = batch.info.view;
    }
    return {};
}

Result<void> StreamLog::append(Bytes bytes, std::int64_t appended_ms) {
    const GroupCommit& commit = context_.commit;
    if (commit.failed()) return std::unexpected(commit.failure());
    if (changing_) return protocol::fail(ErrorCode::kBusy, "stream {} is being truncated", to_string(id_));
    if (tail_damage_ || tables_incomplete_) {
        return protocol::fail(ErrorCode::kCorrupt, "stream {} is damaged and waits for repair", to_string(id_));
    }
    if (!commit.has_room(claim_of(id_), bytes.size()))
        return protocol::fail(ErrorCode::kDiskFull, "the disk of {} is full", context_.options.dir);
    if (commit.unwritten_bytes() + bytes.size() > context_.options.unwritten_bytes && commit.unwritten_bytes() > 0) {
        return protocol::fail(ErrorCode::kBusy, "{} bytes are already waiting for the disk", commit.unwritten_bytes());
    }
    auto batches = parse_batches(bytes);
    if (!batches) return std::unexpected(std::move(batches.error()));
    if (auto ok = check_append(*batches); !ok) return ok;
    take_batches(bytes, *batches, appended_ms);
    return {};
}

void StreamLog::take_batches(const Bytes& bytes, const std::vector<ParsedBatch>& batches, std::int64_t appended_ms) {
    const std::int64_t kept_ms = kept_append_time(appended_ms);
    Bytes headers = Bytes::allocate(batches.size() * kEntryHeaderBytes);
    std::vector<Bytes> pieces;  // for the newest segment, from `position` on
    std::uint64_t position = segments_.back().size;
    const auto write_pieces = [&] {
        if (pieces.empty()) return;
        context_.commit.write(shared_from_this(), version_, log_end_, segments_.back().log_path(), position,
                              std::exchange(pieces, {}));
    };
    std::size_t at = 0;
    for (std::size_t i = 0; i < batches.size(); ++i) {
        const ParsedBatch& batch = batches[i];
        const std::uint64_t size_now = segments_.back().size;
        if (size_now > 0 && (size_now >= context_.options.segment_bytes ||
                             batch.info.next - segments_.back().base > kMaxSegmentOffsets)) {
            write_pieces();
            roll();
            position = 0;
        }
        Segment& segment = segments_.back();
        encode_entry_header(
            headers.mutable_data() + i * kEntryHeaderBytes,
            {batch.info.base, static_cast<std::uint32_t>(batch.bytes), batch.info.view, synced_end_, kept_ms}, seed_);
        const Bytes slice = bytes.slice(at, batch.bytes);
        at += batch.bytes;
        pieces.push_back(headers.slice(i * kEntryHeaderBytes, kEntryHeaderBytes));
        pieces.push_back(slice);
        segment.index.add(batch.info.base, segment.size, batch.max_timestamp_ms,
                          kept_ms == kNoTimestamp ? batch.max_timestamp_ms : kept_ms);
        segment.appended = segment.index.appended();
        cached_.append({batch.info.base, batch.info.next, slice, segment.size, 0});
        segment.size += kEntryHeaderBytes + batch.bytes;
        bytes_since_snapshot_ += kEntryHeaderBytes + batch.bytes;
        history_.append(batch.info);
        set_log_end(batch.info.next);
    }
    write_pieces();
    make_room();
    if (bytes_since_snapshot_ >= context_.options.snapshot_bytes && !due_snapshot_) {
        due_snapshot_ = DueSnapshot{log_end_, encode_snapshot(snapshot_at_end())};
        bytes_since_snapshot_ = 0;
        if (context_.options.fsync == FsyncPolicy::kNever) context_.commit.request_sync();
    }
}

// Only while little waits for the disk: then each flush counts, and else each byte.
void StreamLog::make_room() {
    Segment& segment = segments_.back();
    if (segment.size <= segment.file_end) return;
    segment.file_end = segment.size;
    if (context_.options.fsync != FsyncPolicy::kGroup || context_.commit.unwritten_bytes() > kLittle) return;
    const std::uint64_t size = std::min<std::uint64_t>(segment.size / kRoomShare, kMaxRoomBytes);
    const std::uint64_t end = (segment.size + size) / kBlockBytes * kBlockBytes;
    if (end <= segment.size || !context_.commit.has_room(Claim::kRecords, end - segment.size)) return;
    context_.commit.add(WriteOp{segment.log_path(), segment.size, {room(segment.size, end - segment.size)}});
    segment.file_end = end;
}

void StreamLog::roll() {
    Segment& closed = segments_.back();
    if (closed.file_end > closed.size) {
        context_.commit.add(TruncateOp{closed.log_path(), closed.size});
        closed.file_end = closed.size;
    }
    context_.commit.add(CreateOp{closed.index_path()});
    context_.commit.add(WriteOp{closed.index_path(), 0, {closed.index.encode(closed.size)}});
    context_.indexes.put(closed.stem, std::make_shared<const SparseIndex>(std::move(closed.index)));
    Segment& open = add_segment(log_end_);
    open.tables_written = false;
    due_tables_.push_back({log_end_, encode_snapshot(snapshot_at_end())});
    context_.commit.add(CreateOp{open.log_path()});
    if (context_.options.fsync == FsyncPolicy::kNever) context_.commit.request_sync();
}

Snapshot StreamLog::snapshot_at_end() {
    const Segment& segment = segments_.back();
    Snapshot snapshot{id_,      log_end_, segment.base,       segment.generation, segment.size,
                      log_end_, 0,        tables_incomplete_, history_.current(), segment.index,
                      {}};
    snapshot.serial = ++snapshot_serial_;
    if (tail_damage_) snapshot.known_end = tail_damage_->to;
    for (const Segment& s : segments_) {
        for (const SegmentDamage& damage : s.damage) snapshot.damage.push_back({s.base, damage});
    }
    return snapshot;
}

void StreamLog::save_snapshot() {
    due_snapshot_.reset();
    bytes_since_snapshot_ = 0;
    write_due_tables(log_end_);  // recovery takes them for written when a snapshot lies behind them
    write_slot(log_end_, encode_snapshot(snapshot_at_end()));
}

void StreamLog::tick(TimePoint now) {
    if (tables_incomplete_ && !damage() && !changing_ && !compacting_ && swaps_ == 0)
        rebuild_tables([](const Result<void>&) {});
    if (log_end_ != quiet_end_) {
        quiet_end_ = log_end_;
        quiet_since_ = now;
    } else if (now - quiet_since_ >= kQuiet && synced_end_ == log_end_ && !damage()) {
        quiet_since_ = now;
        if (save_snapshot_if_behind()) context_.commit.flush([](const auto&) {});
    }
}

bool StreamLog::save_snapshot_if_behind() {
    if (std::max(slots_[0], slots_[1]) == log_end_) return false;
    save_snapshot();
    return true;
}

std::vector<std::string> StreamLog::all_files() const {
    std::vector<std::string> files{snapshot_slot_path(dir_, 0), snapshot_slot_path(dir_, 1)};
    for (const Segment& segment : segments_) {
        files.insert(files.end(), {segment.log_path(), segment.index_path(), segment_tables_path(dir_, segment.base)});
    }
    return files;
}

void StreamLog::write_slot(Offset offset, Bytes bytes) {
    const std::string path = snapshot_slot_path(dir_, next_slot_);
    context_.commit.add(CreateOp{path});
    context_.commit.add(WriteOp{path, 0, {std::move(bytes)}});
    slots_[next_slot_] = offset;
    next_slot_ = 1 - next_slot_;
}

void StreamLog::on_written(std::uint64_t version, Offset end) {
    if (version != version_) return;
    written_end_ = end;
    cached_.set_written_end(end);
    for (std::size_t i = segments_.size(); i-- > 0;) {
        Segment& segment = segments_[i];
        if (segment.base >= end && segment.size > 0 && i > 0) continue;
        if (end_of(i) <= end) {
            if (segment.written == segment.size && segment.size > 0) break;
            segment.written = segment.size;
        } else if (const CachedBatch* next = cached_.find(end)) {
            segment.written = next->position;
        }
    }
    context_.cache.evict();
}

void StreamLog::on_synced(std::uint64_t version, Offset end) {
    if (version != version_) return;
    synced_end_ = end;
    // Only now: a file with tables says that everything before them is flushed, and recovery begins there.
    write_due_tables(synced_end_);
    if (due_snapshot_ && due_snapshot_->offset <= synced_end_) {
        write_slot(due_snapshot_->offset, std::move(due_snapshot_->bytes));
        due_snapshot_.reset();
    }
}

void StreamLog::write_due_tables(Offset end) {
    while (!due_tables_.empty() && due_tables_.front().offset <= end) {
        write_tables(std::move(due_tables_.front()));
        due_tables_.pop_front();
    }
}

void StreamLog::write_tables(DueSnapshot tables) {
    const std::string path = segment_tables_path(dir_, tables.offset);
    context_.commit.add(CreateOp{path});
    context_.commit.add(WriteOp{path, 0, {std::move(tables.bytes)}}, [self = weak_from_this(), base = tables.offset,
                                                                      version = version_](const Result<void>& status) {
        const auto log = self.lock();
        if (!log || !status || log->version_ != version || base < log->log_start()) return;
        log->segments_[log->segment_index(base)].tables_written = true;
    });
}

std::size_t StreamLog::segment_index(Offset offset) const {
    const auto after = std::ranges::upper_bound(segments_, offset, {}, &Segment::base);
    LS_ASSERT(after != segments_.begin());
    return static_cast<std::size_t>(after - segments_.begin()) - 1;
}

Offset StreamLog::end_of(std::size_t segment) const {
    return segment + 1 < segments_.size() ? segments_[segment + 1].base : log_end_;
}

std::optional<DamageRange> StreamLog::damage() const {
    for (const Segment& segment : segments_) {
        if (const SegmentDamage* first = segment.first_damage()) return DamageRange{first->from, first->to};
    }
    return tail_damage_;
}

std::vector<DamageRange> StreamLog::damages() const {
    std::vector<DamageRange> out;
    for (const Segment& segment : segments_)
        for (const SegmentDamage& damage : segment.damage)
            if (damage.from < damage.to) out.push_back({damage.from, damage.to});
    if (tail_damage_) out.push_back(*tail_damage_);
    return out;
}

void StreamLog::remove_segment_files(const Segment& segment, std::vector<DiskOp>& ops) const {
    context_.indexes.erase(segment.stem);
    for (const std::string& path :
         {segment.log_path(), segment.index_path(), segment_tables_path(dir_, segment.base)}) {
        ops.emplace_back(RemoveOp{path});
    }
    ops.emplace_back(SyncOp{{}, {dir_}});
}

}  // namespace logstream::storage
