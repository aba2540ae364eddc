// Records that a merge took out of a stream's log, kept durably until they are appended again: one
// file per stream, one entry per batch, with the lineage, base offset and view that it had.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "internal/protocol/bytes.h"
#include "internal/protocol/error.h"
#include "internal/protocol/ids.h"
#include "internal/protocol/lifetime.h"
#include "internal/storage/disk.h"
#include "internal/storage/store_options.h"
#include "internal/storage/stream_log.h"

namespace logstream::storage {

class GroupCommit;
struct StoreContext;

// Names one orphan batch of a stream and says where it lies in the file.
struct OrphanEntry {
    protocol::ClusterId lineage;
    protocol::ViewNumber view;
    protocol::Offset base_offset;
    std::uint32_t batch_bytes{};
    std::uint64_t position{};  // of the batch in the file
    friend bool operator==(const OrphanEntry&, const OrphanEntry&) = default;
};

class OrphanFiles {
public:
    explicit OrphanFiles(StoreContext& context);

    // Keeps `batches` (as they stand in the log, unchanged) for the stream. When the callback runs without error they
    // are durable, whatever the fsync policy, and the caller may truncate its log. Adding what is there already changes
    // nothing, so a crash between add and truncate is harmless. kDiskFull: nothing was added.
    void add(protocol::StreamId stream, protocol::ClusterId lineage, std::vector<Bytes> batches,
             FlushCallback callback);

    // Streams that have orphans, rising.
    std::vector<protocol::StreamId> streams() const;
    // A stream's orphans that are durable, in the order they were added. Valid until the next call of add or remove.
    std::span<const OrphanEntry> list(protocol::StreamId stream) const;
    // The bytes of one batch. kCorrupt when they do not match their checksum: never served.
    using ReadCallback = std::move_only_function<void(Result<Bytes>)>;
    void read(protocol::StreamId stream, const OrphanEntry& entry, ReadCallback callback);

    // Forgets all orphans of the stream: all of them are committed again.
    void remove(protocol::StreamId stream, FlushCallback callback);

    // Entries found damaged at start; they cannot be appended again and are to be reported.
    std::uint64_t damaged_entries() const { return damaged_; }

    // Start-up only.
    Result<void> recover(LastStop stop);

private:
    struct Addition {
        protocol::StreamId stream;
        protocol::ClusterId lineage;
        std::vector<Bytes> batches;
        FlushCallback callback;
    };
    struct File {
        std::vector<OrphanEntry> entries;
        std::set<std::tuple<std::uint64_t, std::uint64_t, std::int64_t>> keys;  // lineage, view, base offset
        std::uint64_t size{};                                                   // where the next entry goes
        std::uint64_t generation{};  // counts removals: an add that was overtaken by one leaves no entries
    };
    std::string path_of(protocol::StreamId stream) const;
    void start_next();
    Result<void> recover_file(protocol::StreamId stream, const std::string& path, std::uint64_t size, LastStop stop);

    StoreContext& context_;
    std::map<protocol::StreamId, File> files_;
    std::deque<Addition> waiting_;  // one addition at a time, so that a failed one leaves no hole in a file
    bool adding_{false};
    std::uint64_t damaged_{0};
    protocol::Lifetime lifetime_;
};

}  // namespace logstream::storage
