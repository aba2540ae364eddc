// Who of a view reaches whom, as the members' heartbeats tell its leader. Each view has one of its own.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "internal/protocol/time.h"
#include "internal/view/view.h"

namespace logstream::node {

using protocol::Duration;
using protocol::NodeId;

class Reach {
public:
    // The newest word of `member`: whom it does not hear any more, and whose multicast it hears.
    void report(NodeId member, const std::set<NodeId>& lost, std::set<NodeId> multicast_heard, protocol::TimePoint now);

    // How long `member` has said that it does not hear `other`; 0 when it does not say so.
    Duration lost_for(NodeId member, NodeId other, protocol::TimePoint now) const;
    bool lost(NodeId member, NodeId other) const;
    // Members that have lost `node`, or that it has lost.
    std::size_t links_down(NodeId node) const;
    bool multicast_reaches_all(const std::vector<view::Member>& members) const;

private:
    struct Report {
        std::map<NodeId, protocol::TimePoint> lost;  // since
        std::set<NodeId> multicast_heard;
    };
    std::map<NodeId, Report> reports_;
};

}  // namespace logstream::node
