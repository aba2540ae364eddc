// Which view wrote which offsets of a stream. It outlives the segments, since old members are compared by it.
#pragma once

#include <compare>
#include <optional>
#include <span>
#include <vector>

#include "internal/protocol/ids.h"

namespace logstream::storage {

using protocol::Offset;
using protocol::ViewNumber;

struct EpochStart {
    ViewNumber view;  // the record batches' leader epoch
    Offset first;     // of the first batch that this view wrote
    friend auto operator<=>(const EpochStart&, const EpochStart&) = default;
};

// Entries rise strictly in view and in offset. Views that wrote nothing to the stream have no entry.
class EpochTable {
public:
    EpochTable() = default;
    // Asserts that `entries` rise strictly: check bytes that come from outside with `valid` first.
    explicit EpochTable(std::vector<EpochStart> entries);
    static bool valid(std::span<const EpochStart> entries);

    // A batch of `view` begins at `first`, the log's end. `view` is not below last_view().
    void append(ViewNumber view, Offset first);
    // Forgets what begins at or above `end`.
    void truncate(Offset end);

    // The view that wrote the record at `offset`; none when that is before the first entry. The caller knows that
    // `offset` is below the log's end.
    std::optional<ViewNumber> view_at(Offset offset) const;
    // The view of the newest entry; 0 when there is none.
    ViewNumber last_view() const { return entries_.empty() ? ViewNumber{} : entries_.back().view; }
    std::span<const EpochStart> entries() const { return entries_; }
    bool empty() const { return entries_.empty(); }
    friend bool operator==(const EpochTable&, const EpochTable&) = default;

private:
    std::vector<EpochStart> entries_;
};

// The first offset from which two logs of one stream may differ, given their tables and ends (next offsets). A view has
// one owner per stream, so logs agree at an offset exactly if the same view wrote it there, and then below it too. What
// lies before a table's first entry (a learner that began past retention) is committed and taken to be equal.
Offset divergence(const EpochTable& a, Offset a_end, const EpochTable& b, Offset b_end);

}  // namespace logstream::storage
