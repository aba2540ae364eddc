#include "tests/sim/checkers/views.h"

#include <algorithm>

namespace logstream::sim {

namespace {

using protocol::hex;

// Word by word: a majority, or exactly half with the coordinator.
bool quorum(const std::vector<NodeId>& members, NodeId coordinator, const std::set<NodeId>& nodes) {
    std::size_t in = 0;
    for (NodeId member : members) in += nodes.contains(member) ? 1 : 0;
    return 2 * in > members.size() || (2 * in == members.size() && nodes.contains(coordinator));
}

bool majority(const std::vector<NodeId>& members, const std::set<NodeId>& nodes) {
    std::size_t in = 0;
    for (NodeId member : members) in += nodes.contains(member) ? 1 : 0;
    return 2 * in > members.size();
}

}  // namespace

void ViewChecker::on_start(Machine& machine) { last_[machine.index()] = {}; }

void ViewChecker::look(Machine& machine) {
    const node::Node& node = machine.node();
    Last& last = last_[machine.index()];
    if (machine.node().core().self.id.value == 0) return;
    if (!last.loaded) loaded(machine, last);
    const view::Record& record = machine.node().core().record;
    if (record.cluster != last.cluster) {
        if (last.cluster.value != 0) {  // it starts afresh in another lineage
            memories_.erase(record.node);
            last.promised = {};
        }
        last.cluster = record.cluster;
    }
    if (record.promised != last.promised) {
        if (record.promised < last.promised)
            violations_.report("promise", "{} promised {} and went back to {}", machine.name(), last.promised,
                               record.promised);
        last.promised = record.promised;
        if (on_promise) on_promise(machine, record.promised);
    }
    if (const ViewNumber number = record.accepted_number(); number != last.accepted) {
        last.accepted = number;
        if (record.accepted) accepted(machine, *record.accepted);
    }
    const auto& now_in = machine.node().participant().installed();
    if (const ViewNumber number = now_in ? now_in->number : ViewNumber{}; number != last.installed) {
        last.installed = number;
        if (now_in) installed(machine, *now_in);
    }
    const bool serves = node.serving();
    if (const ViewNumber number = serves ? node.current_view()->number : ViewNumber{}; number != last.serving) {
        last.serving = number;
        if (serves) serving(machine, *node.current_view());
    }
}

// What was answered before the process ended must still be known.
void ViewChecker::loaded(Machine& machine, Last& last) {
    last.loaded = true;
    const view::Record& record = machine.node().core().record;
    last.cluster = record.cluster;
    last.promised = record.promised;
    last.accepted = record.accepted_number();
    const Memory& memory = memories_[record.node];
    if (record.promised < memory.granted)
        violations_.report("promise", "{} had promised {} and after a restart knows of {}", machine.name(),
                           memory.granted, record.promised);
    if (record.accepted_number() < memory.accepted && record.chosen_number() < memory.accepted)
        violations_.report("promise", "{} had accepted view {} and after a restart knows of {}", machine.name(),
                           memory.accepted, record.accepted_number());
}

void ViewChecker::on_granted(Machine& machine, ViewNumber number, Endpoint coordinator) {
    Memory& memory = memories_[machine.node().id()];
    const auto [at, fresh] = memory.granted_to.try_emplace(number, coordinator);
    if (!fresh && at->second != coordinator)
        violations_.report("promise", "{} promised {} to two coordinators", machine.name(), number);
    if (number < memory.granted)
        violations_.report("promise", "{} promised {} after {}", machine.name(), number, memory.granted);
    memory.granted = std::max(memory.granted, number);
}

ViewNumber ViewChecker::served_by(NodeId node) const {
    const auto memory = memories_.find(node);
    return memory == memories_.end() ? ViewNumber{} : memory->second.served;
}

void ViewChecker::check_content(Machine& machine, const view::View& view) {
    const auto [at, fresh] = contents_.try_emplace({cluster_of(machine), view.number}, view);
    if (!fresh && at->second != view)
        violations_.report("view content", "view {} at {} has {} members and coordinator {}, elsewhere {} and {}",
                           view.number, machine.name(), view.members.size(), hex(view.coordinator.value),
                           at->second.members.size(), hex(at->second.coordinator.value));
    if (!view.has(machine.node().id(), machine.node().core().self.incarnation))
        violations_.report("self-inclusion", "{} is in view {} that does not name this run of it", machine.name(),
                           view.number);
}

void ViewChecker::accepted(Machine& machine, const view::View& view) {
    check_content(machine, view);
    acceptors_[{cluster_of(machine), view.number}].insert(machine.node().id());
}

void ViewChecker::installed(Machine& machine, const view::View& view) {
    check_content(machine, view);
    Memory& memory = memories_[machine.node().id()];
    if (view.number <= memory.accepted)
        violations_.report("views rise", "{} accepted view {} after {}", machine.name(), view.number, memory.accepted);
    if (view.number < memory.granted)
        violations_.report("promise", "{} accepted view {} after it promised {}", machine.name(), view.number,
                           memory.granted);
    memory.accepted = std::max(memory.accepted, view.number);
}

void ViewChecker::serving(Machine& machine, const view::View& view) {
    check_content(machine, view);
    Memory& memory = memories_[machine.node().id()];
    if (view.number <= memory.served)
        violations_.report("views rise", "{} serves view {} after {}", machine.name(), view.number, memory.served);
    memory.served = view.number;
    const ViewKey key{cluster_of(machine), view.number};
    if (served_.try_emplace(key, view).second) {
        check_quorums(key, view);
        if (on_first_served) on_first_served(key, view);
    }
    check_base_log(machine, key);
}

// The view is served, hence chosen: enough have accepted it, and it shares a quorum with the served views around it.
void ViewChecker::check_quorums(const ViewKey& key, const view::View& view) {
    const std::set<NodeId>& acceptors = acceptors_[key];
    if (!majority(view.ids(), acceptors))
        violations_.report("view quorum", "view {} is served and {} of its {} members have accepted it", view.number,
                           acceptors.size(), view.members.size());
    for (const view::Base& base : view.bases)
        if (!quorum(base.members, base.coordinator, acceptors))
            violations_.report("view quorum", "view {} is served without a quorum of its base {}", view.number,
                               base.number);
    const auto here = served_.find(key);
    if (here != served_.begin())
        if (const auto before = std::prev(here); before->first.first == key.first && !linked(before->first, key))
            violations_.report("view quorum", "view {} is served without a quorum of the view {} before it",
                               view.number, before->second.number);
    if (const auto after = std::next(here); after != served_.end() && after->first.first == key.first)
        if (!linked(key, after->first))
            violations_.report("view quorum", "view {} was served without a quorum of the view {} before it",
                               after->second.number, view.number);
}

// Directly, or by views between them that were accepted by enough to be chosen, though nobody came to serve them.
bool ViewChecker::linked(const ViewKey& before, const ViewKey& after) const {
    std::set<ViewKey> reached{before};
    for (auto at = contents_.upper_bound(before); at != contents_.end() && at->first <= after; ++at) {
        const auto acceptors = acceptors_.find(at->first);
        if (acceptors == acceptors_.end()) continue;
        const bool own = at->first == after || majority(at->second.ids(), acceptors->second);
        for (const ViewKey& from : reached) {
            const view::View& base = contents_.at(from);
            if (!own || !quorum(base.ids(), base.coordinator, acceptors->second)) continue;
            reached.insert(at->first);
            break;
        }
    }
    return reached.contains(after);
}

// Members that begin to serve a view have the same records of the views before it (P3). That they are the same is
// checked as they are committed; here that they end at the same place.
void ViewChecker::check_base_log(Machine& machine, const ViewKey& key) {
    for (const auto& [id, stream] : machine.node().core().streams.all()) {
        Offset end = stream.log->log_end();
        for (const storage::EpochStart& epoch : stream.log->epochs().entries())
            if (epoch.view >= key.second) {
                end = epoch.first;
                break;
            }
        const auto [at, fresh] = base_ends_.try_emplace({key, id}, end, machine.name());
        if (!fresh && at->second.first != end)
            violations_.report("P3", "{} begins view {} with {} ending at {}, {} with {}", machine.name(), key.second,
                               protocol::to_string(id), end, at->second.second, at->second.first);
    }
}

}  // namespace logstream::sim
