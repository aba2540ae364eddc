#include "internal/node/reach.h"

#include <algorithm>

namespace logstream::node {

void Reach::report(NodeId member, const std::set<NodeId>& lost, std::set<NodeId> multicast_heard,
                   protocol::TimePoint now) {
    Report& known = reports_[member];
    std::erase_if(known.lost, [&](const auto& entry) { return !lost.contains(entry.first); });
    for (NodeId id : lost) known.lost.try_emplace(id, now);
    known.multicast_heard = std::move(multicast_heard);
}

Duration Reach::lost_for(NodeId member, NodeId other, protocol::TimePoint now) const {
    if (!lost(member, other)) return {};
    return now - reports_.at(member).lost.at(other);
}

bool Reach::lost(NodeId member, NodeId other) const {
    const auto known = reports_.find(member);
    return known != reports_.end() && known->second.lost.contains(other);
}

std::size_t Reach::links_down(NodeId node) const {
    std::set<NodeId> peers;
    for (const auto& [member, report] : reports_)
        for (const auto& [other, since] : report.lost)
            if (member == node || other == node) peers.insert(member == node ? other : member);
    return peers.size();
}

bool Reach::multicast_reaches_all(const std::vector<view::Member>& members) const {
    return std::ranges::all_of(members, [&](const view::Member& receiver) {
        const auto known = reports_.find(receiver.id);
        return known != reports_.end() && std::ranges::all_of(members, [&](const view::Member& sender) {
                   return sender.id == receiver.id || known->second.multicast_heard.contains(sender.id);
               });
    });
}

}  // namespace logstream::node
