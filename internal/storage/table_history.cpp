#include "internal/storage/table_history.h"

#include <utility>

namespace logstream::storage {

void TableHistory::start(LogTables tables, Offset at) {
    older_ = tables;
    older_at_ = at;
    recent_.clear();
    current_ = std::move(tables);
}

void TableHistory::append(const BatchInfo& batch) {
    current_.apply(batch);
    recent_.push_back(batch);
    if (recent_.size() > kMaxRecent) forget_oldest();
}

void TableHistory::settle(Offset below) {
    while (!recent_.empty() && recent_.front().next <= below) forget_oldest();
}

void TableHistory::forget_oldest() {
    older_.apply(recent_.front());
    older_at_ = recent_.front().next;
    recent_.pop_front();
}

bool TableHistory::truncate(Offset to) {
    if (to < older_at_) return false;
    if (recent_.empty() || recent_.back().next <= to) return true;
    while (!recent_.empty() && recent_.back().next > to) recent_.pop_back();
    current_ = older_;
    for (const BatchInfo& batch : recent_) current_.apply(batch);
    return true;
}

}  // namespace logstream::storage
