#include "internal/storage/log_tables.h"

#include <algorithm>

namespace logstream::storage {

void OrphanKeys::add(const OrphanKey& key, Offset at) {
    const auto [entry, is_new] = at_.try_emplace(key, at);
    if (!is_new) return;
    by_offset_[at] = key;
    if (at_.size() > limit_) {
        at_.erase(by_offset_.begin()->second);
        by_offset_.erase(by_offset_.begin());
    }
}

void OrphanKeys::encode(ByteWriter& out) const {
    out.put(static_cast<std::uint32_t>(by_offset_.size()));
    for (const auto& [at, key] : by_offset_) {
        out.put(at.value);
        out.put(key.lineage.value);
        out.put(key.view.value);
        out.put(key.offset.value);
    }
}

bool OrphanKeys::decode(ByteReader& in) {
    at_.clear();
    by_offset_.clear();
    const std::size_t count = in.get_count(32);
    for (std::size_t i = 0; i < count; ++i) {
        const Offset at(in.get<std::int64_t>());
        OrphanKey key;
        key.lineage = protocol::ClusterId(in.get<std::uint64_t>());
        key.view = ViewNumber(in.get<std::uint64_t>());
        key.offset = Offset(in.get<std::int64_t>());
        // One batch has one key, and they were written in the log's order.
        if (at_.contains(key) || (!by_offset_.empty() && at <= by_offset_.rbegin()->first)) in.fail();
        add(key, at);
    }
    return in.ok();
}

void LogTables::apply(const BatchInfo& batch) {
    epochs.append(batch.view, batch.base);
    producers.apply(batch.producer, batch.base);
    if (batch.orphan) orphans.add(*batch.orphan, batch.base);
}

void LogTables::encode(ByteWriter& out) const {
    out.put(static_cast<std::uint32_t>(epochs.entries().size()));
    for (const EpochStart& entry : epochs.entries()) {
        out.put(entry.view.value);
        out.put(entry.first.value);
    }
    producers.encode(out);
    orphans.encode(out);
}

bool LogTables::decode(ByteReader& in, ProducerTable::Format format) {
    std::vector<EpochStart> entries(in.get_count(16));
    for (EpochStart& entry : entries) {
        entry.view = ViewNumber(in.get<std::uint64_t>());
        entry.first = Offset(in.get<std::int64_t>());
    }
    if (!in.ok() || !EpochTable::valid(entries)) return false;
    epochs = EpochTable(std::move(entries));
    return producers.decode(in, format) && orphans.decode(in);
}

}  // namespace logstream::storage
