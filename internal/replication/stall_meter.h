// How much of its time a sender stands still for one member alone: a member on a slow disk acknowledges again and
// again, each time too late, and would set the pace for all.
#pragma once

#include <map>
#include <optional>

#include "internal/protocol/ids.h"
#include "internal/protocol/time.h"

namespace logstream::replication {

using protocol::Duration;
using protocol::NodeId;
using protocol::TimePoint;

// A level for each member that rises while it holds the sender up and falls as fast while it does not: it reaches the
// limit only with one that does so for more than half of the time.
class StallMeter {
public:
    explicit StallMeter(Duration limit) : limit_(limit) {}

    // From now on the sender waits for this member alone; none: it does not stand still, or for several.
    void update(std::optional<NodeId> holder, TimePoint now);
    // The member whose level is over the limit.
    std::optional<NodeId> over(TimePoint now);

private:
    Duration limit_;
    std::optional<NodeId> holder_;
    TimePoint since_;
    std::map<NodeId, Duration> levels_;
};

}  // namespace logstream::replication
