// The one order of each stream, as it was first seen committed anywhere: what all others are held against (P1, P2, P8).
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "internal/protocol/record_batch.h"
#include "tests/sim/history.h"

namespace logstream::sim {

using protocol::ClusterId;
using protocol::NodeId;
using protocol::Offset;
using protocol::StreamId;
using protocol::ViewNumber;

using LogKey = std::pair<ClusterId, StreamId>;

struct TrueRecord {
    bool known{};
    bool orphan{};
    RecordId id{};
    std::uint32_t crc{};  // of key and value, or of an orphan's
    ViewNumber view;      // in which it was appended
};

class Truth {
public:
    // Each record of a batch, as the checkers compare it.
    static void decode(const protocol::BatchView& batch, const std::function<void(Offset, const TrueRecord&)>& visit);

    // nullptr when nobody has seen that offset committed.
    const TrueRecord* find(const LogKey& log, Offset offset) const;
    // Takes the record in if its offset is new; else the one that is there: false when they differ.
    bool agree(const LogKey& log, Offset offset, const TrueRecord& record);
    // All below is known.
    bool covers(const LogKey& log, Offset from, Offset to) const;
    std::uint64_t records() const { return records_; }
    const std::map<LogKey, std::vector<TrueRecord>>& logs() const { return logs_; }

private:
    std::map<LogKey, std::vector<TrueRecord>> logs_;  // by offset
    std::uint64_t records_{};
};

}  // namespace logstream::sim
