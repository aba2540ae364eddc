// The newest batches of all streams in memory, by reference: readers that keep up do not touch the disk, unless batches
// wait for long until they may be read. One bound for the whole store; the batches appended longest ago go first, but
// never one that is not yet written.
//
// A batch is a slice of the buffer it arrived in, and that buffer lives as long as any of its slices; the bound counts
// the slices.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <unordered_map>

#include "internal/protocol/bytes.h"
#include "internal/protocol/ids.h"

namespace logstream::storage {

using protocol::Bytes;
using protocol::Offset;

class CachedTail;

class TailCache {
public:
    explicit TailCache(std::uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}
    TailCache(const TailCache&) = delete;
    TailCache& operator=(const TailCache&) = delete;
    // Drops the oldest batches down to the bound.
    void evict();
    // From now on the bound is smaller by so many bytes, though not below a quarter.
    void set_yielded(std::uint64_t bytes) { yielded_bytes_ = bytes; }
    std::uint64_t bytes() const { return bytes_; }

private:
    friend class CachedTail;
    struct Token {
        std::uint64_t tail{};
        std::uint64_t batch{};
    };
    std::uint64_t bound() const { return limit_bytes_ - std::min(yielded_bytes_, limit_bytes_ / 4 * 3); }

    std::uint64_t limit_bytes_;
    std::uint64_t yielded_bytes_{0};
    std::uint64_t bytes_{0};
    std::uint64_t next_tail_{1};
    std::deque<Token> order_;  // by time of append; tokens of batches that are gone are skipped
    std::unordered_map<std::uint64_t, CachedTail*> tails_;
};

struct CachedBatch {
    Offset base;
    Offset next;
    Bytes bytes;
    std::uint64_t position{};  // of its entry, in its segment
    std::uint64_t serial{};
};

// One stream's part: a contiguous run of batches that ends at the log's end; empty when all are evicted.
class CachedTail {
public:
    explicit CachedTail(TailCache& cache);
    ~CachedTail();
    CachedTail(const CachedTail&) = delete;
    CachedTail& operator=(const CachedTail&) = delete;

    void append(CachedBatch batch);
    // Forgets what begins at or above `to`.
    void truncate(Offset to);
    void clear() { truncate(Offset(0)); }
    // Batches that end at or below `end` may be evicted.
    void set_written_end(Offset end) { written_end_ = end; }
    // The batch that contains `offset`; nullptr when it is not in memory.
    const CachedBatch* find(Offset offset) const;
    const std::deque<CachedBatch>& batches() const { return batches_; }

private:
    friend class TailCache;
    TailCache& cache_;
    std::uint64_t id_;
    std::uint64_t next_serial_{1};
    Offset written_end_;
    std::deque<CachedBatch> batches_;
};

}  // namespace logstream::storage
