// How a Store is set up.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "internal/protocol/policies.h"
#include "internal/protocol/record_batch.h"
#include "internal/protocol/time.h"
#include "internal/protocol/version.h"

namespace logstream::storage {

using protocol::FsyncPolicy;

// How the process that used the data directory before us ended.
enum class LastStop : std::uint8_t {
    kNone,     // there was none: the directory is new
    kClean,    // by Store::close: everything was flushed
    kProcess,  // it was killed, the machine went on: nothing that was written is lost, whatever the fsync policy
    kMachine,  // the machine went down: what was not flushed may be gone; under `group` nothing acknowledged is
};

struct StoreOptions {
    std::string dir;
    // The greatest version of the files that this program knows; see Store::raise_format.
    std::uint32_t known_format{protocol::kProtocolVersion};
    FsyncPolicy fsync{FsyncPolicy::kGroup};
    protocol::Duration fsync_interval{std::chrono::seconds(1)};
    // A segment is closed when it has reached this size; the last batch may go over.
    std::uint64_t segment_bytes{64u << 20};
    // One index entry for so many bytes: what a read has to skip at most. 16 KiB makes the index of a full segment 64
    // KiB.
    std::uint32_t index_interval_bytes{16u << 10};
    // A stream's tables are saved each time it has grown by this: what a start after a crash has to scan, per stream.
    std::uint64_t snapshot_bytes{8u << 20};
    // Recent batches of all streams held in memory for readers.
    std::uint64_t cache_bytes{64u << 20};
    // Appended and not yet written, of all streams; append refuses beyond.
    std::uint64_t unwritten_bytes{128u << 20};
    // At most so much goes into one group, so that a state save never waits long.
    std::uint64_t group_bytes{16u << 20};
    // And at most so many writes: when a group completes, all its streams are told in one pass, during which no
    // heartbeat can be sent.
    std::size_t group_writes{512};
    // Appends are refused when less than this is free on the file system; at most 5 % of its size. What is not refused
    // then: see Claim.
    std::uint64_t reserve_bytes{64u << 20};
    // The greatest batch that append takes.
    std::uint32_t max_batch_bytes{protocol::kMaxStoredBatchBytes};
    // Idempotent producers remembered per stream.
    std::size_t max_producers{1024};
    // Orphan keys remembered per stream.
    std::size_t max_orphan_keys{65536};
    // Reads from disk that may wait at a time; more are refused with kBusy.
    std::size_t max_reads{1024};
};

}  // namespace logstream::storage
