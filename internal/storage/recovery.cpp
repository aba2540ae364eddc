#include "internal/storage/recovery.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

#include "internal/storage/segment_scan.h"
#include "internal/storage/snapshot.h"

namespace logstream::storage {
namespace {

constexpr Offset kNothing{-1};

// One stream's recovery, step by step.
class Recovery {
public:
    Recovery(StoreContext& context, StreamId stream, const std::string& dir, LastStop stop)
        : context_(context), stream_(stream), dir_(dir), stop_(stop), seed_(stream_seed(stream)) {}

    Result<RecoveredStream> run() {
        if (auto ok = find_files(); !ok) return std::unexpected(ok.error());
        if (auto ok = read_snapshots(); !ok) return std::unexpected(ok.error());
        if (auto ok = scan(); !ok) return std::unexpected(ok.error());
        decide();
        apply();
        if (unreadable_) return std::unexpected(*unreadable_);
        if (auto ok = make_durable(); !ok) return std::unexpected(ok.error());
        return std::move(result_);
    }

private:
    struct Scanned {
        std::size_t segment{};
        SegmentScan scan;
        Bytes data;  // from `position` of the segment on
        std::uint64_t position{};
    };
    // A gap in the whole scan, not only in one segment.
    struct Gap {
        ScanGap place;
        std::size_t scanned{};  // index into scans_
        bool damage{false};
    };

    Result<void> find_files();
    Result<void> read_snapshots();
    std::size_t segments_with_tables();
    std::optional<Bytes> read_small(const std::string& path);
    std::optional<Snapshot> read_tables(Offset base);
    void find_start(std::optional<Snapshot> best, std::size_t usable, bool outdated);
    Result<std::optional<SegmentDamage>> still_damaged(const Snapshot::Damage& remembered);
    Result<void> scan();
    void decide();
    void cut(const Gap& gap);
    void apply();
    void cut_file(Segment& segment, std::uint64_t end);
    Result<void> make_durable();

    StoreContext& context_;
    StreamId stream_;
    const std::string& dir_;
    LastStop stop_;
    std::uint32_t seed_;
    std::optional<protocol::Error> unreadable_;
    RecoveredStream result_;
    std::vector<DiskOp> repairs_;
    std::vector<std::string> removals_;
    std::vector<DiskOp> tables_;  // only after what they speak of is flushed

    Snapshot start_;  // where the scan begins
    std::size_t start_segment_{0};
    Offset known_end_;  // everything below it was flushed once
    std::vector<Scanned> scans_;
    std::vector<Gap> gaps_;
};

Result<void> Recovery::find_files() {
    auto entries = context_.disk.list(dir_);
    if (!entries) return std::unexpected(entries.error());
    std::map<Offset, Segment> by_base;
    std::vector<std::pair<FileName, std::string>> others;
    for (const DirEntry& entry : *entries) {
        const std::string path = dir_ + "/" + entry.name;
        const FileName name = parse_file_name(entry.name);
        if (entry.name.ends_with(".tmp")) removals_.push_back(path);
        if (name.kind == FileKind::kIndex || name.kind == FileKind::kTables) others.emplace_back(name, path);
        if (name.kind != FileKind::kLog) continue;
        // The greatest generation is complete: it got its name after its flush.
        Segment& segment = by_base[name.base];
        if (!segment.stem.empty()) {
            removals_.push_back(name.generation > segment.generation ? segment.log_path() : path);
            if (name.generation < segment.generation) continue;
        }
        segment.base = name.base;
        segment.generation = name.generation;
        segment.stem = segment_stem(dir_, name.base, name.generation);
        segment.size = segment.written = segment.file_end = entry.size;
        segment.appended_known = false;
    }
    for (const auto& [name, path] : others) {
        const auto owner = by_base.find(name.base);
        const bool wanted =
            owner != by_base.end() && (name.kind == FileKind::kTables || owner->second.generation == name.generation);
        if (!wanted) removals_.push_back(path);
    }
    for (auto& [base, segment] : by_base) result_.segments.push_back(std::move(segment));
    return {};
}

// None when it is not there. One that cannot be read now must not be taken for that: what it knows would be lost.
std::optional<Bytes> Recovery::read_small(const std::string& path) {
    auto bytes = context_.disk.read_now(path, 0, kMaxSmallFileBytes);
    if (bytes) return *std::move(bytes);
    if (!is_missing(bytes.error())) unreadable_ = bytes.error();
    return std::nullopt;
}

std::optional<Snapshot> Recovery::read_tables(Offset base) {
    const auto bytes = read_small(segment_tables_path(dir_, base));
    if (!bytes) return std::nullopt;
    auto snapshot = decode_snapshot(bytes->span(), stream_, context_.table_limits());
    if (!snapshot || snapshot->offset != base || snapshot->segment_base != base) return std::nullopt;
    return snapshot;
}

// How many segments from the first on have tables, the first one aside: the scan begins no later than in the last of
// them and makes those that lack. Only after a crash of the machine can a snapshot be there and tables before it not
// be.
std::size_t Recovery::segments_with_tables() {
    const std::deque<Segment>& segments = result_.segments;
    if (stop_ != LastStop::kMachine) return segments.size();
    std::size_t n = 1;
    while (n < segments.size() && read_tables(segments[n].base)) ++n;
    return n;
}

Result<void> Recovery::read_snapshots() {
    std::deque<Segment>& segments = result_.segments;
    if (segments.empty()) {
        // A crash between making the directory and its first file, or within a reset.
        Segment& first = segments.emplace_back();
        first.stem = segment_stem(dir_, Offset(0), 0);
        repairs_.emplace_back(CreateOp{first.log_path()});
    }
    result_.snapshot_slots = {kNothing, kNothing};
    const std::size_t usable = segments_with_tables();
    std::array<std::optional<Snapshot>, 2> slots;
    for (unsigned slot = 0; slot < slots.size(); ++slot) {
        const auto bytes = read_small(snapshot_slot_path(dir_, slot));
        if (bytes) slots[slot] = decode_snapshot(bytes->span(), stream_, context_.table_limits());
        if (!slots[slot]) continue;
        known_end_ = std::max(known_end_, slots[slot]->known_end);
        result_.snapshot_slots[slot] = slots[slot]->offset;
        result_.snapshot_serial = std::max(result_.snapshot_serial, slots[slot]->serial);
    }
    const bool first_is_newer = slots[0] && (!slots[1] || slots[0]->serial > slots[1]->serial);
    result_.oldest_slot = first_is_newer ? 1 : 0;
    std::optional<Snapshot>& newest = slots[first_is_newer ? 0 : 1];
    std::vector<Snapshot::Damage> damage = newest ? newest->damage : std::vector<Snapshot::Damage>{};
    // One alone may be the older of two, and speak of what was repaired since.
    bool outdated = false;
    if (!slots[0] || !slots[1]) {
        std::vector<Snapshot::Damage> confirmed;
        for (const Snapshot::Damage& each : damage) {
            const auto now = still_damaged(each);
            if (!now) return std::unexpected(now.error());
            outdated = outdated || !*now;
            if (*now && (confirmed.empty() || confirmed.back().range != **now))
                confirmed.push_back({each.segment_base, **now});
        }
        damage = std::move(confirmed);
    }
    std::optional<Snapshot> best;
    for (std::optional<Snapshot>& snapshot : slots) {
        if (!snapshot || (outdated && snapshot->tables_incomplete)) continue;
        const auto end = segments.begin() + static_cast<std::ptrdiff_t>(usable);
        const auto at = std::ranges::find(segments.begin(), end, snapshot->segment_base, &Segment::base);
        const bool fits = at != end && at->generation == snapshot->segment_generation &&
                          at->size >= snapshot->position &&
                          (at + 1 == segments.end() || snapshot->offset <= (at + 1)->base);
        if (!fits || (best && best->serial > snapshot->serial)) continue;
        start_segment_ = static_cast<std::size_t>(at - segments.begin());
        best = std::move(snapshot);
    }
    find_start(std::move(best), usable, outdated);
    // The scan finds what lies after its start by itself.
    for (const Snapshot::Damage& each : damage) {
        const auto at = std::ranges::find(segments, each.segment_base, &Segment::base);
        if (at != segments.end() && each.range.from < start_.offset) at->damage.push_back(each.range);
    }
    result_.tables_incomplete = start_.tables_incomplete;
    return {};
}

// Where the best snapshot was taken; else the newest segment with tables of its own. The first one of a stream that
// began at 0 needs none. `outdated`: not with tables from before a repair.
void Recovery::find_start(std::optional<Snapshot> best, std::size_t usable, bool outdated) {
    if (best) {
        start_ = *std::move(best);
        return;
    }
    start_segment_ = usable;
    std::optional<Snapshot> tables;
    while (!tables && start_segment_ > 0) {
        tables = read_tables(result_.segments[--start_segment_].base);
        if (tables && outdated && tables->tables_incomplete) tables.reset();
    }
    const Segment& segment = result_.segments[start_segment_];
    if (tables) {
        start_ = std::move(*tables);
    } else {
        if (segment.base > Offset(0)) {
            context_.log.warn("STORAGE stream={} tables before offset {} are lost", to_string(stream_), segment.base);
        }
        start_.tables = LogTables(context_.table_limits());
        start_.offset = start_.segment_base = segment.base;
    }
    start_.position = 0;
    start_.segment_generation = segment.generation;
    start_.index = SparseIndex(segment.base, context_.options.index_interval_bytes);
}

// What the file lacks where a snapshot remembers damage. Entries that are sound and not of this log, all of a
// segment's, stay damage (StreamLog::distrust_segment).
Result<std::optional<SegmentDamage>> Recovery::still_damaged(const Snapshot::Damage& remembered) {
    const auto segment = std::ranges::find(result_.segments, remembered.segment_base, &Segment::base);
    if (segment == result_.segments.end()) return std::nullopt;
    const SegmentDamage& range = remembered.range;
    // What is repaired is closed, and has a file of a new generation since.
    if (segment + 1 == result_.segments.end() || segment->generation == 0) return range;
    const auto data = context_.disk.read_now(segment->log_path(), 0, segment->size);
    if (!data) return range;
    EntryBounds bounds{.limit = (segment + 1)->base};
    if (const auto tables = read_tables(segment->base)) bounds.least_view = tables->tables.epochs.last_view();
    const SegmentScan found = scan_segment(*data, 0, segment->base, seed_, bounds);
    if (range.from == segment->base && range.from_position == 0 && range.to >= found.end)
        return SegmentDamage{range.from, range.to, 0, data->size()};
    for (const ScanGap& gap : found.gaps)
        if (gap.from < range.to && (!gap.to || *gap.to > range.from))
            return SegmentDamage{gap.from, gap.to.value_or(range.to), gap.position, gap.to_position};
    // The file ends well, and too early.
    if (found.end < range.to) return SegmentDamage{found.end, range.to, found.end_position, found.end_position};
    return std::nullopt;
}

Result<void> Recovery::scan() {
    Offset expected = start_.offset;
    EntryBounds bounds{.least_view = start_.tables.epochs.last_view()};
    std::uint64_t position = start_.position;
    for (std::size_t i = start_segment_; i < result_.segments.size(); ++i, position = 0) {
        const Segment& segment = result_.segments[i];
        if (i > start_segment_) {
            // What cannot be read of the segment before, be it offsets or junk behind its last entry, ends where this
            // one begins.
            if (scans_.back().scan.ends_in_gap()) {
                gaps_.back().place.to = segment.base;
            } else if (segment.base > expected) {
                const Scanned& before = scans_.back();
                ScanGap gap{expected,     before.scan.end_position, EntryStatus::kShort, before.scan.entries.size(),
                            segment.base, before.scan.end_position};
                gaps_.push_back({gap, scans_.size() - 1});
            }
            expected = segment.base;
        }
        auto data =
            context_.disk.read_now(segment.log_path(), position, segment.size - std::min(segment.size, position));
        if (!data && !is_missing(data.error())) return std::unexpected(data.error());
        const bool newest = i + 1 == result_.segments.size();
        bounds.limit = newest ? EntryBounds{}.limit : result_.segments[i + 1].base;
        Scanned scanned{i, {}, data ? *data : Bytes(), position};
        scanned.scan = scan_segment(scanned.data, position, expected, seed_, bounds);
        expected = scanned.scan.end;
        if (!scanned.scan.entries.empty()) bounds.least_view = scanned.scan.entries.back().info.view;
        for (const ScannedEntry& entry : scanned.scan.entries) known_end_ = std::max(known_end_, entry.synced_end);
        for (const ScanGap& gap : scanned.scan.gaps) gaps_.push_back({gap, scans_.size()});
        scans_.push_back(std::move(scanned));
    }
    const Scanned& last = scans_.back();
    if (!last.scan.ends_in_gap() && expected < known_end_) {
        // The file ends well and yet too early.
        gaps_.push_back({{expected,
                          last.scan.end_position,
                          EntryStatus::kShort,
                          last.scan.entries.size(),
                          {},
                          last.scan.end_position},
                         scans_.size() - 1});
    }
    return {};
}

void Recovery::decide() {
    result_.log_end = scans_.back().scan.end;
    for (Gap& gap : gaps_) {
        const ScanGap& place = gap.place;
        const bool was_flushed = place.from < known_end_;
        // A killed process leaves a beginning of what it wrote, so nothing follows a torn entry, and what is whole is
        // right.
        const bool in_order = stop_ != LastStop::kMachine;
        gap.damage = was_flushed || (in_order && (place.to.has_value() || place.why == EntryStatus::kBad));
        if (!gap.damage) {
            cut(gap);
            return;
        }
        const Offset to = place.to.value_or(std::max(known_end_, place.from + 1));
        context_.log.error("STORAGE damage stream={} offsets=[{}, {}) file={} position={}", to_string(stream_),
                           place.from, to, result_.segments[scans_[gap.scanned].segment].log_path(), place.position);
        if (place.to) {
            result_.tables_incomplete = true;
            Segment& segment = result_.segments[scans_[gap.scanned].segment];
            segment.damage.push_back({place.from, to, place.position, place.to_position});
        } else {
            result_.tail_damage = DamageRange{place.from, to};
            result_.log_end = place.from;
        }
    }
}

void Recovery::cut(const Gap& gap) {
    Scanned& scanned = scans_[gap.scanned];
    Segment& segment = result_.segments[scanned.segment];
    result_.cut_bytes = scanned.scan.room_position - std::min(scanned.scan.room_position, gap.place.position);
    for (std::size_t i = result_.segments.size(); i-- > scanned.segment + 1;) {
        const Segment& gone = result_.segments[i];
        result_.cut_bytes += gone.size;
        // From the last one back, each for good before the next: the log never gets a hole.
        for (const std::string& path : {gone.log_path(), gone.index_path(), segment_tables_path(dir_, gone.base)}) {
            repairs_.emplace_back(RemoveOp{path});
        }
        repairs_.emplace_back(SyncOp{{}, {dir_}});
    }
    result_.segments.resize(scanned.segment + 1);
    scans_.resize(gap.scanned + 1);
    scanned.scan.entries.resize(gap.place.entries_before);
    scanned.scan.end = gap.place.from;
    scanned.scan.end_position = scanned.scan.room_position = gap.place.position;
    repairs_.emplace_back(RemoveOp{segment.index_path()});
    cut_file(segment, gap.place.position);
    result_.log_end = gap.place.from;
    if (result_.cut_bytes > 0) {
        context_.log.warn("STORAGE torn tail stream={} cut at offset={} bytes={}", to_string(stream_), gap.place.from,
                          result_.cut_bytes);
    }
}

void Recovery::cut_file(Segment& segment, std::uint64_t end) {
    segment.size = segment.written = segment.file_end = end;
    repairs_.emplace_back(TruncateOp{segment.log_path(), end});
    repairs_.emplace_back(SyncOp{{segment.log_path()}, {}});
}

void Recovery::apply() {
    LogTables tables = std::move(start_.tables);
    for (Scanned& scanned : scans_) {
        Segment& segment = result_.segments[scanned.segment];
        SparseIndex index = scanned.position > 0 ? std::move(start_.index)
                                                 : SparseIndex(segment.base, context_.options.index_interval_bytes);
        if (scanned.position == 0 && segment.base > Offset(0) && !result_.tables_incomplete &&
            !read_tables(segment.base)) {
            Snapshot snapshot{stream_, segment.base, segment.base, 0, 0, segment.base, 0, false, tables, {}, {}};
            snapshot.index = SparseIndex(segment.base, context_.options.index_interval_bytes);
            tables_.emplace_back(ReplaceOp{segment_tables_path(dir_, segment.base), {encode_snapshot(snapshot)}});
        }
        for (const ScannedEntry& entry : scanned.scan.entries) {
            tables.apply(entry.info);
            index.add(entry.info.base, entry.position, entry.max_timestamp_ms, entry.appended_ms);
        }
        segment.appended = index.appended();
        segment.appended_known = true;
        if (&segment == &result_.segments.back()) {
            segment.size = segment.written = scanned.scan.end_position;
            segment.file_end = scanned.scan.ends_in_gap() ? segment.size : std::max(segment.size, segment.file_end);
            segment.index = std::move(index);
            // Room behind the last entry, and something else behind that: a power cut took the begin of a write and
            // left the rest. An entry that is written there and cut off itself would end in it, as if it were whole.
            if (!scanned.scan.ends_in_gap() && scanned.scan.room_position > segment.size)
                cut_file(segment, segment.size);
        } else if (!scanned.scan.ends_in_gap() && segment.size > scanned.scan.end_position) {
            // The next segment was begun, and this one's file not cut to its size.
            cut_file(segment, scanned.scan.end_position);
        }
        if (!scanned.scan.entries.empty()) result_.snapshot_due = true;
    }
    result_.snapshot_due = result_.snapshot_due || !gaps_.empty();
    result_.tables = std::move(tables);
}

Result<void> Recovery::make_durable() {
    std::vector<std::string> touched;
    for (const Scanned& scanned : scans_) {
        const Segment& segment = result_.segments[scanned.segment];
        const std::uint64_t bytes =
            std::min<std::uint64_t>(scanned.data.size(), scanned.scan.end_position - scanned.position);
        if (bytes == 0) continue;
        touched.push_back(segment.log_path());
        // After a crash of the process alone the bytes may come from the cache of the operating system, and a flush
        // that failed before may have left them there marked clean. Written again they are flushed for sure.
        if (stop_ == LastStop::kProcess) {
            repairs_.emplace_back(WriteOp{segment.log_path(), scanned.position, {scanned.data.slice(0, bytes)}});
        }
    }
    for (std::string& path : removals_) repairs_.emplace_back(RemoveOp{std::move(path)});
    if (stop_ == LastStop::kClean && repairs_.empty() && tables_.empty()) return {};
    touched.push_back(result_.segments.back().log_path());
    repairs_.emplace_back(SyncOp{std::move(touched), {dir_}});
    for (DiskOp& op : tables_) repairs_.push_back(std::move(op));
    return context_.disk.run_now(std::move(repairs_)).status;
}

}  // namespace

Result<RecoveredStream> recover_stream(StoreContext& context, StreamId stream, const std::string& dir, LastStop stop) {
    return Recovery(context, stream, dir, stop).run();
}

}  // namespace logstream::storage
