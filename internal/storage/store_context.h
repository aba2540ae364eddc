// What the parts of one Store share.
#pragma once

#include <spdlog/logger.h>

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "internal/storage/disk.h"
#include "internal/storage/group_commit.h"
#include "internal/storage/log_tables.h"
#include "internal/storage/sparse_index.h"
#include "internal/storage/store_options.h"
#include "internal/storage/tail_cache.h"

namespace logstream::storage {

// Indexes of closed segments that were used lately, by the segment's stem.
class IndexCache {
public:
    static constexpr std::size_t kLimit = 512;
    std::shared_ptr<const SparseIndex> find(const std::string& stem) {
        const auto found = by_stem_.find(stem);
        if (found == by_stem_.end()) return nullptr;
        order_.splice(order_.begin(), order_, found->second);
        return found->second->second;
    }
    void put(const std::string& stem, std::shared_ptr<const SparseIndex> index) {
        erase(stem);
        order_.emplace_front(stem, std::move(index));
        by_stem_[stem] = order_.begin();
        if (order_.size() > kLimit) erase(std::string(order_.back().first));
    }
    void erase(const std::string& stem) {
        const auto found = by_stem_.find(stem);
        if (found == by_stem_.end()) return;
        order_.erase(found->second);
        by_stem_.erase(found);
    }

private:
    using Entry = std::pair<std::string, std::shared_ptr<const SparseIndex>>;
    std::list<Entry> order_;  // most recently used first
    std::unordered_map<std::string, std::list<Entry>::iterator> by_stem_;
};

struct StoreContext {
    StoreContext(Disk& d, StoreOptions o, spdlog::logger& l)
        : disk(d), options(std::move(o)), log(l), commit(d, options, l), cache(options.cache_bytes) {}
    StoreContext(const StoreContext&) = delete;
    StoreContext& operator=(const StoreContext&) = delete;

    TableLimits table_limits() const { return {options.max_producers, options.max_orphan_keys}; }

    Disk& disk;
    const StoreOptions options;
    spdlog::logger& log;
    GroupCommit commit;
    TailCache cache;
    IndexCache indexes;
    std::int64_t log_end_total{};  // of all streams
    std::shared_ptr<std::size_t> reads_waiting{std::make_shared<std::size_t>(0)};
};

}  // namespace logstream::storage
