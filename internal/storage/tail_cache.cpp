#include "internal/storage/tail_cache.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "internal/protocol/error.h"

namespace logstream::storage {

void TailCache::evict() {
    while (!order_.empty()) {
        const Token token = order_.front();
        const auto found = tails_.find(token.tail);
        CachedTail* tail = found == tails_.end() ? nullptr : found->second;
        const bool stale = tail == nullptr || tail->batches_.empty() || tail->batches_.front().serial != token.batch;
        if (!stale) {
            if (bytes_ <= bound()) return;
            const CachedBatch& oldest = tail->batches_.front();
            if (oldest.next > tail->written_end_) return;
            bytes_ -= oldest.bytes.size();
            tail->batches_.pop_front();
        }
        order_.pop_front();
    }
}

CachedTail::CachedTail(TailCache& cache) : cache_(cache), id_(cache.next_tail_++) { cache_.tails_[id_] = this; }

CachedTail::~CachedTail() {
    for (const CachedBatch& batch : batches_) cache_.bytes_ -= batch.bytes.size();
    cache_.tails_.erase(id_);
}

void CachedTail::append(CachedBatch batch) {
    LS_ASSERT(batches_.empty() || batches_.back().next == batch.base);
    batch.serial = next_serial_++;
    cache_.bytes_ += batch.bytes.size();
    cache_.order_.push_back({id_, batch.serial});
    batches_.push_back(std::move(batch));
    cache_.evict();
}

void CachedTail::truncate(Offset to) {
    while (!batches_.empty() && batches_.back().base >= to) {
        cache_.bytes_ -= batches_.back().bytes.size();
        batches_.pop_back();
    }
    written_end_ = std::min(written_end_, to);
}

const CachedBatch* CachedTail::find(Offset offset) const {
    if (batches_.empty() || offset < batches_.front().base || offset >= batches_.back().next) return nullptr;
    return &*std::prev(std::ranges::upper_bound(batches_, offset, {}, &CachedBatch::base));
}

}  // namespace logstream::storage
