// One stream's records on this broker: segments on disk, the newest batches in memory, and the tables that are a
// function of the log alone (views, producers, orphan keys). See FORMAT.md for the files and the rules of recovery.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "internal/protocol/bytes.h"
#include "internal/protocol/error.h"
#include "internal/protocol/ids.h"
#include "internal/storage/disk.h"
#include "internal/storage/entry.h"
#include "internal/storage/epoch_table.h"
#include "internal/storage/group_commit.h"
#include "internal/storage/log_tables.h"
#include "internal/storage/producer_table.h"
#include "internal/storage/segment.h"
#include "internal/storage/snapshot.h"
#include "internal/storage/table_history.h"
#include "internal/storage/tail_cache.h"

namespace logstream::storage {

using protocol::StreamId;

struct StoreContext;
struct RecoveredStream;

// Whole batches, one each, in order and without gaps: the same bytes that were appended.
using Batches = std::vector<Bytes>;
using ReadBatchesCallback = std::move_only_function<void(Result<Batches>)>;

// Offsets whose bytes are damaged on this disk: [from, to), batch boundaries.
struct DamageRange {
    Offset from;
    Offset to;
    friend bool operator==(const DamageRange&, const DamageRange&) = default;
};

// What `retain` may do; each bound that is set applies.
struct RetainLimits {
    std::optional<std::uint64_t> max_bytes{};  // drop the oldest while the stream is larger
    // Now, by a clock to be trusted; none: nothing goes by time.
    std::optional<WallClock> clock{};
    std::optional<std::int64_t> keep_ms{};  // drop what was appended longer ago
    std::optional<std::int64_t>
        roll_after_ms{};  // close the newest segment when its first entry was appended longer ago
};

class StreamLog final : public LogSink, public std::enable_shared_from_this<StreamLog> {
public:
    ~StreamLog() override;
    StreamLog(const StreamLog&) = delete;
    StreamLog& operator=(const StreamLog&) = delete;

    StreamId id() const { return id_; }

    // The first offset that is held. Never goes back but by reset.
    Offset log_start() const { return segments_.front().base; }
    // The next offset to append. Goes back only by truncate and reset.
    Offset log_end() const { return log_end_; }
    // All below it is as durable as the policy asks (Store::flush). Never above log_end.
    Offset durable_end() const;
    // Views and their first offsets, up to log_end. Reaches back before log_start.
    const EpochTable& epochs() const { return history_.current().epochs; }
    // Else damage has hidden batches from the tables, which are made again once it is repaired.
    bool tables_are_whole() const { return !tables_incomplete_; }
    const ProducerTable& producers() const { return history_.current().producers; }
    // Whether a re-appended orphan with this key stands in the log.
    bool has_orphan(const OrphanKey& key) const { return history_.current().orphans.contains(key); }
    // Segment files, what is not yet written included.
    std::uint64_t size_bytes() const;

    // Appends one or several concatenated batches that the caller has checked (format, CRC). The bytes are shared, not
    // copied, and must not change any more; owner fields (base offset, leader epoch) are filled in. `appended_ms` says
    // when the stream's owner appended them, by its clock; 0 when that is not known. They are in the log for every
    // accessor and for `read` at once; durable after the next Store::flush. Errors, with nothing appended:
    // kInvalid (base offset is not log_end, view 0 or below the last, not whole batches), kTooLarge, kDiskFull, kBusy
    // (too much unwritten, or a truncate, reset or repair has not called back), kCorrupt (damage() comes first: see
    // `repair`), kDisk (the store failed).
    Result<void> append(Bytes batches, std::int64_t appended_ms);

    // Whole batches from the one that contains `from` up to the last that ends at or below `limit`, about `max_bytes`
    // of them, at least one if there is one; empty when `from` >= `limit` or the batch at `from` ends above `limit`.
    // May end early (at a segment's end, or where memory begins): ask again from the last one's next offset. Bytes from
    // disk have passed their checksums. Of a batch that compaction merged, and that begins before `from`, comes the
    // part from there on, with `from` as its base offset. Errors: kOffsetOutOfRange (below log_start or above log_end),
    // kCorrupt (damage() says what), kBusy (too many reads wait), kDisk. The callback runs later, never inside this
    // call.
    void read(Offset from, Offset limit, std::size_t max_bytes, ReadBatchesCallback callback);
    // The same at once if memory holds the batch at `from`; none: use `read`.
    std::optional<Batches> read_cached(Offset from, Offset limit, std::size_t max_bytes);

    // Removes the records at and above `to` (a batch boundary; kInvalid otherwise); epochs, producers and orphan keys
    // go back to what they were at `to`. Durable when the callback runs, and not before. Until then append answers
    // kBusy, and log_end may still be the old one. Reads under way see the log before or after, never a mixture. Damage
    // at or above `to` is gone with it: truncate(log_end()) gives up damage at the tail.
    void truncate(Offset to, FlushCallback callback);
    // Everything below `below` is committed: to truncate below it may read the log, and costs no memory until then.
    void settle(Offset below) { history_.settle(below); }
    // Drops everything and goes on with an empty log that starts at `start`, with the tables of a peer's log at that
    // offset (its `start_tables`; empty: no tables). For a learner whose suffix begins past retention. As `truncate`.
    void reset(Offset start, Bytes tables, FlushCallback callback);
    // The tables as they were at log_start, serialised: what a learner that starts there needs for `reset`. Retention
    // may move log_start before the callback runs: `start` says what the tables are as of.
    struct StartTables {
        Offset start;
        Bytes tables;
    };
    void start_tables(std::move_only_function<void(Result<StartTables>)> callback);

    // Base offset of the first batch that holds a record with a timestamp >= `timestamp_ms`; log_end when there is
    // none.
    void offset_for_timestamp(std::int64_t timestamp_ms, std::move_only_function<void(Result<Offset>)> callback);

    // A checksum (XXH3, 64 bits) over the bytes of the batches in [from, to), both batch boundaries: equal on all
    // replicas that hold the same, however their segments are cut. Errors as `read`.
    void checksum(Offset from, Offset to, std::move_only_function<void(Result<std::uint64_t>)> callback);

    // Drops whole segments that lie below `below` (the high watermark) as far as the limits tell, oldest first; the
    // newest segment is closed before it can go. By time a segment goes when its youngest entry is too old, by what the
    // owners' clocks said at the append. An entry that would be of the future is taken to be of now. Runs in the
    // background; log_start moves at once. Call it about once a second.
    void retain(Offset below, const RetainLimits& limits);
    // No entry of the segment that holds `offset` was appended later, as far as is known; else 0. Known after a `read`
    // of `offset`.
    std::int64_t appended_ms(Offset offset) const;
    // When the newest entry was appended, or an earlier one whose owner's clock was ahead; 0 when that is not known.
    std::int64_t newest_append_ms() const;

    // Rewrites closed segments below `below` (the high watermark) so that of the records with one key the last one
    // stays (among the closed segments below `below`), a null value too; records without key stay. Offsets stay:
    // batches become one that spans them all and lacks some of its records. A batch keeps at least one record.
    // Crash-safe. Costs nothing when no segment was closed since the last time. Calls back when done; kBusy when one
    // runs already, or the log changed under it.
    void compact(Offset below, FlushCallback callback);

    // A truncate, reset or repair has not called back: where the log ends may change yet.
    bool changing() const { return changing_; }

    // The first damaged range, if any; none when all is well. Damage is found at start and by reads.
    std::optional<DamageRange> damage() const;
    // All of them, in rising order; one at the log's end, whose true end is not always known, is the last.
    std::vector<DamageRange> damages() const;
    // Replaces the beginning of damage() by `batches` from a peer: they begin at damage().from and do not go beyond
    // damage().to, unless the damage is at the log's end, whose true end is not always known. Durable when the callback
    // runs; what is not covered stays damaged. `appended_ms` as for append. kInvalid when they do not fit, kBusy as
    // append.
    void repair(Bytes batches, std::int64_t appended_ms, FlushCallback callback);

    // The rest is for Store and its parts.
    StreamLog(StoreContext& context, StreamId id, std::string dir);
    void set_log_end(Offset to);
    // Makes the files of a new stream (through the lane).
    void start_new();
    void start_recovered(RecoveredStream&& recovered);
    // Queues the tables as of log_end, which must be flushed by then: what makes the next start scan nothing.
    void save_snapshot();
    // Call it about once a second. Of a log that nobody appends to any more the end is written down, so that a torn
    // tail and damage to its last records can be told apart.
    void tick(TimePoint now);
    // False when the newest snapshot is as of log_end already.
    bool save_snapshot_if_behind();
    // Every file that the stream may have.
    std::vector<std::string> all_files() const;
    void on_written(std::uint64_t version, Offset end) override;
    void on_synced(std::uint64_t version, Offset end) override;
    const std::string& dir() const { return dir_; }

private:
    friend class LogReader;
    friend class SegmentRewrite;
    friend class Compaction;
    struct TruncatePoint {
        std::size_t segment{};
        std::uint64_t position{};
        std::optional<LogTables> tables;   // when the history does not reach back so far
        std::optional<SparseIndex> index;  // when that of the segment is not in memory
    };
    // A snapshot that waits until the log below its offset is flushed.
    struct DueSnapshot {
        Offset offset;
        Bytes bytes;
    };

    Result<void> check_append(const std::vector<ParsedBatch>& batches) const;
    void take_batches(const Bytes& bytes, const std::vector<ParsedBatch>& batches, std::int64_t appended_ms);
    void make_room();
    void roll();
    Segment& add_segment(Offset base);
    bool may_drop_oldest(Offset below, const RetainLimits& limits);
    void note_growth(const WallClock& clock);
    void bound_append_times(const WallClock& clock);
    void roll_if_due(const WallClock& clock, std::int64_t roll_after_ms);
    Snapshot snapshot_at_end();
    // Those that are due below `end`, which is flushed.
    void write_due_tables(Offset end);
    void write_tables(DueSnapshot tables);
    void write_slot(Offset offset, Bytes bytes);
    // Data first, then the tables that were waiting for it.
    void write_everything(FlushCallback callback);
    std::optional<TruncatePoint> find_in_memory(Offset to) const;
    void find_on_disk(Offset to, FlushCallback callback);
    void cut(Offset to, TruncatePoint point, FlushCallback callback);
    void drop_snapshots_above(Offset to, std::vector<DiskOp>& ops);
    void remove_segment_files(const Segment& segment, std::vector<DiskOp>& ops) const;
    void end_change(FlushCallback callback, const Result<void>& status);
    void end_change_after_flush(FlushCallback callback);
    void end_swap();
    std::vector<DiskOp> take_owed_removals() { return std::exchange(owed_removals_, {}); }
    // What `repair` was given.
    struct Repair {
        Bytes bytes;
        std::vector<ParsedBatch> batches;
        std::int64_t appended_ms{};
        FlushCallback callback;
    };
    void repair_tail(Repair repair);
    void repair_segment(Offset base, Repair repair);
    void rebuild_tables(FlushCallback callback);
    bool distrust_segment(std::size_t at);
    void cut_to_nothing(Segment& segment);
    std::size_t segment_index(Offset offset) const;
    Offset end_of(std::size_t segment) const;
    // Hands over the index of a segment, from memory or disk. `use` runs later or at once; nullptr: not to be had.
    using IndexUse = std::move_only_function<void(std::shared_ptr<const SparseIndex>)>;
    void with_index(Offset segment_base, IndexUse use);
    void rebuild_index(const Segment& segment, IndexUse use);
    enum class Inspection : std::uint8_t {
        kNothingNew,  // all of it was read, and it is as it was known to be
        kNews,        // more is known than before
        kNotRead,     // it could not be read, or another file has taken its place
    };
    // Walks a whole segment for damage. An entry of a view below `least_view` is damage, too.
    void inspect(Offset segment_base, ViewNumber least_view, std::move_only_function<void(Inspection)> done);

    StoreContext& context_;
    StreamId id_;
    std::string dir_;
    std::uint32_t seed_;
    Offset log_end_;
    Offset written_end_;  // below log_end by what waits in memory
    Offset synced_end_;   // survives a power cut; at most written_end
    Offset quiet_end_;    // log_end, since then
    TimePoint quiet_since_;
    Offset grown_end_;              // up to here segments know when they have grown, or are from before this run
    std::deque<Segment> segments_;  // rising, never empty; the last is written to
    TableHistory history_;
    CachedTail cached_;
    // Rises with truncate and reset: news of writes from before do not count.
    std::uint64_t version_{0};
    // Rises with every change of files or bytes: a read that was under way starts again.
    std::uint64_t layout_{0};
    bool changing_{false};
    bool cutting_{false};  // of these a truncate or reset: segment rewrites give up
    bool compacting_{false};
    Offset compacted_end_;  // closed segments below it were compacted
    // Changes of which files there are, by rewrites and retention, under way: what cuts the log waits for the end of
    // them.
    unsigned swaps_{0};
    std::vector<std::move_only_function<void()>> after_swaps_;
    // Removals that retention owes, after an error: nothing behind them may go before they are done.
    std::vector<DiskOp> owed_removals_;
    std::optional<DamageRange> tail_damage_;  // from log_end on
    bool tables_incomplete_{false};           // batches that the tables should know could not be read
    std::uint64_t bytes_since_snapshot_{0};
    std::optional<DueSnapshot> due_snapshot_;
    std::deque<DueSnapshot> due_tables_;  // of segments whose predecessors are not flushed yet
    unsigned next_slot_{0};
    std::uint64_t snapshot_serial_{0};
    std::array<Offset, 2> slots_{Offset(-1), Offset(-1)};  // what the slots on disk hold; -1: nothing of use
};

}  // namespace logstream::storage
