// storage keeps what a broker must not forget: the streams' records, in segmented logs; the node's small state;
// orphans. Of a view it knows the number alone, and nothing of peers and clients. Everything in it is called by the one
// event loop, and nothing in it blocks that loop after `open`: bytes go to the Disk's lanes and come back as callbacks.
// What lies on disk is described in FORMAT.md.
#pragma once

#include <spdlog/logger.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "internal/protocol/bytes.h"
#include "internal/protocol/error.h"
#include "internal/protocol/ids.h"
#include "internal/protocol/time.h"
#include "internal/storage/disk.h"
#include "internal/storage/store_options.h"
#include "internal/storage/stream_log.h"

namespace logstream::storage {

using protocol::StreamId;
using protocol::TimePoint;

class OrphanFiles;
struct StoreParts;

class Store {
public:
    // Locks the directory, recovers every stream and makes what it found durable; blocks meanwhile. It reads what was
    // written since the last snapshot of each stream, not the logs. Errors: kExists when another broker holds the
    // directory, kDisk when the disk fails, kCorrupt when the format's version is not known. Damage inside streams or
    // the state file is no error here: see damaged(), StreamLog::damage() and state_damaged().
    static Result<std::unique_ptr<Store>> open(Disk& disk, StoreOptions options, spdlog::logger& log);
    // Nothing is flushed: a Store that is not closed has crashed. Callbacks that have not run never will.
    ~Store();

    // Flushes everything, writes snapshots and the marker of a clean stop, then calls back. Nothing may be called after
    // it but accessors. With an error the next start sees a crash; nothing is lost by that.
    void close(FlushCallback callback);

    // nullptr when there is none. Pointers stay valid until the stream is removed.
    StreamLog* find(StreamId stream);
    // The stream, made if it is not there (durable with the next flush). kBusy while an old one of this id is being
    // removed.
    Result<StreamLog*> create(StreamId stream);
    // Drops the stream with its files and orphans. Its callbacks never run; it does not come back after a crash once
    // the callback has run.
    void remove(StreamId stream, FlushCallback callback);
    // In rising order.
    std::vector<StreamId> streams() const;
    // Sum of all log ends.
    std::int64_t log_end_total() const;

    // Calls back when everything appended to any stream before this call is as durable as the policy asks: `group`:
    // flushed to the disk; `interval` and `never`: written to the operating system, so that a killed process loses
    // nothing. Callbacks run in the order of the calls. One group is in flight at a time and the next fills meanwhile,
    // so calls that wait together share one flush. After a failed write or flush every callback, pending or later, gets
    // that error. While the disk is full the callbacks wait until there is room.
    void flush(FlushCallback callback);

    // A write or a flush failed: nothing will be reported durable any more. The broker should leave its view and stop.
    bool failed() const;
    // There is no room for more: appends of users' records are refused with kDiskFull until there is. The internal
    // streams may use a part of the reserve yet. Nothing accepted is lost by it.
    bool disk_full() const;
    // Bytes appended and not yet written; append refuses with kBusy beyond StoreOptions::unwritten_bytes.
    std::uint64_t unwritten_bytes() const;
    // So many bytes of batches the caller holds until they are acknowledged. What is kept in memory for readers shrinks
    // by as much, though not below a quarter of StoreOptions::cache_bytes.
    void set_pending_bytes(std::uint64_t bytes);

    // Drives what is due by time: the flush interval, tries after a full disk. Call it about every 100 ms.
    void tick(TimePoint now);

    // What was saved last (of a broker: a serialised NodeRecord); none in a new directory.
    const std::optional<Bytes>& state() const;
    // There is a state file that does not match its checksum, or streams without one: what was promised is not known.
    // The node must not vote under its old id.
    bool state_damaged() const;
    // Replaces the state as a whole and flushes it, whatever the policy. Waits for no group of data;
    // saves that wait together share one write and all call back after it. kDiskFull: the old state stands, try again.
    void save_state(Bytes state, FlushCallback callback);

    // From now on no program that knows only older versions of the files may open the directory. Called before the
    // first write of what they would not understand; an older version changes nothing.
    void raise_format(std::uint32_t version);

    // A lower bound of the stream's high watermark in this lineage: what was saved last, at most the log's end. 0 when
    // none is known: what was saved may be of another lineage, in which the stream of that name held other records; and
    // where records are acknowledged before they are flushed, all brokers may have lost some that were committed.
    Offset watermark(protocol::ClusterId lineage, StreamId stream) const;
    // Saves the streams' high watermarks beside the groups of records; none may be above its log's durable end.
    void save_watermarks(protocol::ClusterId lineage, std::map<StreamId, Offset> watermarks);

    // kMachine stays until a state is saved, also for a next start: what follows from it is then in that state.
    LastStop last_stop() const;
    // The machine went down, and the run before, or this one (an unknown one is taken to have had the same policy),
    // reports durable what is not flushed.
    bool may_lack_acknowledged() const;
    // Some stream has damage.
    bool damaged() const;

    // Records taken out of the logs by a merge, until they are appended again.
    OrphanFiles& orphans();

    const StoreOptions& options() const;
    // What the whole store holds on disk, segments only.
    std::uint64_t size_bytes() const;

private:
    Store();
    std::unique_ptr<StoreParts> parts_;
};

}  // namespace logstream::storage
