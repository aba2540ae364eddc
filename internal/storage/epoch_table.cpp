#include "internal/storage/epoch_table.h"

#include <algorithm>
#include <utility>

#include "internal/protocol/error.h"

namespace logstream::storage {

EpochTable::EpochTable(std::vector<EpochStart> entries) : entries_(std::move(entries)) { LS_ASSERT(valid(entries_)); }

bool EpochTable::valid(std::span<const EpochStart> entries) {
    for (std::size_t i = 1; i < entries.size(); ++i) {
        if (entries[i].view <= entries[i - 1].view || entries[i].first <= entries[i - 1].first) return false;
    }
    return true;
}

void EpochTable::append(ViewNumber view, Offset first) {
    if (!entries_.empty()) {
        LS_ASSERT(view >= entries_.back().view);
        if (view == entries_.back().view) return;
        LS_ASSERT(first > entries_.back().first);
    }
    entries_.push_back({view, first});
}

void EpochTable::truncate(Offset end) {
    while (!entries_.empty() && entries_.back().first >= end) entries_.pop_back();
}

std::optional<ViewNumber> EpochTable::view_at(Offset offset) const {
    const auto after = std::ranges::upper_bound(entries_, offset, {}, &EpochStart::first);
    if (after == entries_.begin()) return std::nullopt;
    return std::prev(after)->view;
}

Offset divergence(const EpochTable& a, Offset a_end, const EpochTable& b, Offset b_end) {
    const Offset end = std::min(a_end, b_end);
    if (a.empty() || b.empty()) return end;
    // Between two neighbouring boundaries of either table both views are constant.
    Offset at = std::max(a.entries().front().first, b.entries().front().first);
    while (at < end) {
        if (a.view_at(at) != b.view_at(at)) return at;
        Offset next = end;
        for (const EpochTable* table : {&a, &b}) {
            const auto entry = std::ranges::upper_bound(table->entries(), at, {}, &EpochStart::first);
            if (entry != table->entries().end()) next = std::min(next, entry->first);
        }
        at = next;
    }
    return end;
}

}  // namespace logstream::storage
