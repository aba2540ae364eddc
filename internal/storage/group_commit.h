// Group commit: gathers what the streams write into groups, one in flight at a time, and ends a group with the flush
// that the policy asks for. Everything that goes to the disk's write lane passes here, so it also decides what goes
// next: urgent work (orphans, the files of the format and of the run), then data, then background work (compaction,
// retention), one group each.
#pragma once

#include <spdlog/logger.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "internal/protocol/error.h"
#include "internal/protocol/ids.h"
#include "internal/protocol/lifetime.h"
#include "internal/protocol/time.h"
#include "internal/storage/disk.h"
#include "internal/storage/store_options.h"

namespace logstream::storage {

using protocol::Offset;
using protocol::TimePoint;
using FlushCallback = std::move_only_function<void(Result<void>)>;

// For whom room is asked. Each keeps more of the reserve (StoreOptions::reserve_bytes) free than the next: a full disk
// takes no records of users, yet goes on saying who has read what, then takes topics that are made or deleted, and last
// the node's own state and its orphans, which ask nobody.
enum class Claim : std::uint8_t { kRecords, kGroups, kMetadata };
constexpr Claim claim_of(protocol::StreamId stream) {
    if (stream == protocol::kMetadataStream) return Claim::kMetadata;
    return protocol::is_internal(stream) ? Claim::kGroups : Claim::kRecords;
}

// Learns how far its writes have come. `version` is what it gave with the write.
class LogSink {
public:
    virtual ~LogSink() = default;
    // Everything below `end` is with the operating system.
    virtual void on_written(std::uint64_t version, Offset end) = 0;
    // Everything below `end` is on the disk.
    virtual void on_synced(std::uint64_t version, Offset end) = 0;
};

class GroupCommit {
public:
    GroupCommit(Disk& disk, const StoreOptions& options, spdlog::logger& log);
    GroupCommit(const GroupCommit&) = delete;
    GroupCommit& operator=(const GroupCommit&) = delete;

    // The data queue, carried out in this order.
    // Writes that continue the one before in the same file become one.
    void write(const std::shared_ptr<LogSink>& sink, std::uint64_t version, Offset end, const std::string& path,
               std::uint64_t position, std::vector<Bytes> pieces);
    // `done`, if given, runs when its group has succeeded or failed.
    void add(DiskOp op, FlushCallback done = nullptr);
    // `ops`, then a flush of everything written so far whatever the policy; `done` runs after it. Nothing queued later
    // is written before that flush.
    void add_barrier(std::vector<DiskOp> ops, FlushCallback done);
    // See Store::flush.
    void flush(FlushCallback callback);

    // Next in line, whatever the state of the data queue. kDiskFull comes back to the caller; another error is a
    // failure of the store, too.
    void urgent(std::vector<DiskOp> ops, FlushCallback callback);
    // Beside all that (see Disk::submit_beside). Errors as for `urgent`.
    void beside(std::vector<DiskOp> ops, FlushCallback callback);
    // When nothing else waits, and now and then if something always does. Errors come back to the caller only.
    void background(std::vector<DiskOp> ops, FlushCallback callback);

    // Forgets queued operations on files below `dir`, which is about to be removed.
    void forget(const std::string& dir);
    // The next data group ends with a flush, whatever the policy.
    void request_sync();

    // Now and then. Says so when the disk is slow.
    void tick(TimePoint now);
    bool failed() const { return failure_.has_value(); }
    const Error& failure() const { return *failure_; }
    // Records of users are refused.
    bool disk_full() const;
    // So many bytes may be written for that claim, as far as this program alone uses the disk.
    bool has_room(Claim claim, std::uint64_t bytes) const;
    std::uint64_t unwritten_bytes() const { return unwritten_bytes_; }

private:
    struct Item {
        DiskOp op;
        std::uint64_t number{};
        std::uint64_t bytes{};
        std::uint64_t claimed{};  // of the disk, at most
        std::weak_ptr<LogSink> sink;
        std::uint64_t version{};
        Offset end;
        FlushCallback done;   // may be empty
        bool barrier{false};  // ends its group with a flush
    };
    struct Waiter {
        std::uint64_t number{};  // of the last item it waits for
        FlushCallback callback;
    };
    struct Other {
        std::vector<DiskOp> ops;
        FlushCallback callback;
    };
    struct SyncedMark {
        std::weak_ptr<LogSink> sink;
        std::uint64_t version{};
        Offset end;
    };
    enum class InFlight : std::uint8_t { kNone, kUrgent, kData, kBackground };

    bool refused(FlushCallback& callback);
    void pump();
    Item& queue(DiskOp op);
    void claim(Item& item, std::uint64_t bytes);
    void unclaim(Item& item);
    std::uint64_t reserve_bytes() const;
    bool data_due() const;
    void form_group();
    void submit_data();
    void submit_other(std::deque<Other>& queue, InFlight kind);
    void data_done(GroupResult result);
    void data_succeeded();
    void other_done(InFlight kind, FlushCallback callback, const Result<void>& status);
    void fail_all(const Error& error);
    void watch_speed(TimePoint now);
    void watch_room();
    void note_dirty(const DiskOp& op);
    // Files that are gone need no flush.
    void scrub(const std::function<bool(const std::string&)>& gone);

    Disk& disk_;
    const StoreOptions& options_;
    spdlog::logger& log_;
    protocol::Lifetime lifetime_;

    std::deque<Item> queue_;                                     // numbered without gaps
    std::unordered_map<std::string, std::uint64_t> last_write_;  // path -> number of the queued write that may grow
    std::vector<Item> group_;        // in flight, or stalled by a full disk; their operations are in group_ops_
    std::vector<DiskOp> group_ops_;  // what is to be submitted, or again
    bool group_syncs_{false};
    bool stalled_{false};  // the group met a full disk and waits for room
    bool kicked_{false};   // what is queued goes out though nobody waits for it
    std::uint64_t next_number_{1};
    std::uint64_t done_number_{0};
    std::uint64_t unwritten_bytes_{0};
    std::uint64_t claimed_bytes_{0};  // by what is queued or under way
    std::deque<Waiter> waiters_;
    std::deque<Other> urgent_;
    std::deque<Other> background_;
    InFlight in_flight_{InFlight::kNone};
    std::size_t beside_in_flight_{0};
    unsigned data_groups_in_a_row_{0};

    std::set<std::string> dirty_files_;  // written since their last flush
    std::set<std::string> dirty_dirs_;
    std::unordered_map<LogSink*, SyncedMark> unsynced_;  // written since the last flush
    bool sync_due_{false};
    std::optional<TimePoint> last_sync_;
    std::uint64_t submitted_{0};  // groups of any kind
    std::uint64_t watched_{0};    // the group that was under way at a tick, since
    std::optional<TimePoint> watched_since_;
    std::optional<TimePoint> said_slow_;
    std::optional<Error> failure_;
    mutable bool full_{false};
    bool said_full_{false};
};

}  // namespace logstream::storage
