// Counting: majorities, and the quorum of dynamic linear voting (Jajodia and Mutchler 1990).
#pragma once

#include <set>
#include <span>

#include "internal/view/view.h"

namespace logstream::view {

using NodeSet = std::set<NodeId>;

constexpr std::size_t majority_of(std::size_t members) { return members / 2 + 1; }

// How many of the base's members are in `nodes`.
std::size_t count_members(const Base& base, const NodeSet& nodes);
bool is_majority(const Base& base, const NodeSet& nodes);
// A majority of the base's members, or exactly half of them with its coordinator among these. Two quorums of one view
// always share a member, and a quorum shares one with every majority.
bool is_quorum(const Base& base, const NodeSet& nodes);

}  // namespace logstream::view
