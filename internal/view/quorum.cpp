#include "internal/view/quorum.h"

#include <algorithm>

namespace logstream::view {

std::size_t count_members(const Base& base, const NodeSet& nodes) {
    return static_cast<std::size_t>(std::ranges::count_if(base.members, [&](NodeId id) { return nodes.contains(id); }));
}

bool is_majority(const Base& base, const NodeSet& nodes) {
    return count_members(base, nodes) >= majority_of(base.members.size());
}

bool is_quorum(const Base& base, const NodeSet& nodes) {
    const std::size_t count = count_members(base, nodes);
    if (count * 2 > base.members.size()) return true;
    return count * 2 == base.members.size() && nodes.contains(base.coordinator);
}

}  // namespace logstream::view
