// What is found out and decided about the members of one view while it is served.
#pragma once

#include <set>

#include "internal/node/reach.h"

namespace logstream::node {

// Begins when a view is known to be chosen, and ends with it: the next view starts with nothing of it.
struct Tenure {
    explicit Tenure(protocol::TimePoint begin) : multicast_back_since(begin) {}

    std::set<NodeId> excluded;  // not invited to the next view: failed, slow, or removed by an operator
    std::set<NodeId> leaving;   // asked to leave: the next view is due
    // While this broker leads the view:
    Reach reach;
    std::set<NodeId> judged;                   // members that one of them has lost: a verdict is under way
    protocol::TimePoint multicast_back_since;  // it reaches all members, though the view replicates by TCP
    bool wants_multicast{};                    // long enough: the next view is to use it
};

}  // namespace logstream::node
