#include "internal/view/record.h"

#include <algorithm>

#include "internal/protocol/planted.h"

namespace logstream::view {

namespace {
constexpr std::size_t kMostPromises = 1024;
}

bool remembers_promise(std::span<const Promise> promises, const Base& view) {
    if (promises.empty() || view.number < promises.front().number) return true;
    const auto found = std::ranges::lower_bound(promises, view.number, {}, &Promise::number);
    return found != promises.end() && found->number == view.number && found->to == view.coordinator;
}

Record Record::made_for(NodeId node) {
    Record out;
    out.node = node;
    out.promises = {Promise{}};  // none is forgotten
    return out;
}

bool Record::remembers_promise(const Base& view) const { return view::remembers_promise(promises, view); }

bool Record::may_promise(ViewNumber number, NodeId coordinator, Incarnation incarnation) const {
    if (number > promised) return number <= greatest_promisable();
    if (protocol::planted(protocol::Bug::kPromiseToTwo) && number == promised) return accepted_number() < number;
    if (protocol::planted(protocol::Bug::kViewNumberReused) && number == promised) return coordinator == promised_to;
    return number == promised && coordinator == promised_to && incarnation == promised_incarnation &&
           accepted_number() < number;
}

void Record::promise(ViewNumber number, NodeId coordinator, Incarnation incarnation) {
    LS_ASSERT(may_promise(number, coordinator, incarnation));
    promised = number;
    promised_to = coordinator;
    promised_incarnation = incarnation;
    while (!promises.empty() && promises.back().number >= number) promises.pop_back();
    promises.push_back({number, coordinator});
    if (promises.size() > kMostPromises) promises.erase(promises.begin());
}

bool Record::may_accept(const View& view) const {
    if (accepted && accepted->number == view.number && !protocol::planted(protocol::Bug::kViewNumberReused))
        return *accepted == view;
    return view.number == promised && view.coordinator == promised_to &&
           view.has(view.coordinator, promised_incarnation) && view.has(node);
}

void Record::accept(const View& view) {
    LS_ASSERT(may_accept(view));
    accepted = view;
    views.note(names_of(view));
    if (recovered_from.value == 0) return;
    ancestors.push_back({recovered_from, view.number});
    if (ancestors.size() > kMaxAncestors) ancestors.erase(ancestors.begin());
    recovered_from = {};
}

void Record::recover_as(ClusterId new_cluster) {
    if (cluster == new_cluster) return;
    if (recovered_from.value == 0) recovered_from = cluster;
    cluster = new_cluster;
    verdict.clear();
}

bool Record::learn_chosen(const View& view) {
    if (chosen && chosen->number >= view.number) return false;
    chosen = view;
    views.note(names_of(view));
    return true;
}

ViewNumber Record::greatest_number() const { return std::max({promised, accepted_number(), chosen_number()}); }

ViewNumber Record::greatest_promisable() const {
    return std::min(std::max(kLastOrdinaryNumber, chosen_number() + kNumbersBeyondChosen), protocol::kMaxViewNumber);
}

std::string encode(const Record& record) {
    proto::NodeRecord out;
    out.set_node_id(record.node.value);
    out.set_cluster_id(record.cluster.value);
    out.set_promised(record.promised.value);
    out.set_promised_to(record.promised_to.value);
    out.set_promised_incarnation(record.promised_incarnation.value);
    if (record.accepted) *out.mutable_accepted() = to_proto(*record.accepted);
    if (record.chosen) *out.mutable_chosen() = to_proto(*record.chosen);
    out.set_must_relearn(record.must_relearn);
    put_names(record.views.newest(ViewNames::kMost), out);
    put_promises(record.promises, out);
    out.set_verdict(record.verdict);
    put_ancestors(record.ancestors, out);
    out.set_recovered_from(record.recovered_from.value);
    out.set_machine(record.machine);
    return out.SerializeAsString();
}

protocol::Result<Record> decode_record(std::string_view bytes) {
    proto::NodeRecord in;
    if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || in.node_id() == 0)
        return protocol::fail(protocol::ErrorCode::kCorrupt, "the state file does not hold a node record");
    Record out;
    out.node = NodeId{in.node_id()};
    out.cluster = ClusterId{in.cluster_id()};
    out.promised = ViewNumber{in.promised()};
    out.promised_to = NodeId{in.promised_to()};
    out.promised_incarnation = Incarnation{in.promised_incarnation()};
    if (in.has_accepted()) {
        auto view = from_proto(in.accepted());
        if (!view) return std::unexpected(view.error());
        out.accepted = *std::move(view);
    }
    if (in.has_chosen()) {
        auto view = from_proto(in.chosen());
        if (!view) return std::unexpected(view.error());
        out.chosen = *std::move(view);
    }
    out.must_relearn = in.must_relearn();
    out.views.note(take_names(in));
    auto promises = take_promises(in);
    if (!promises)
        return protocol::fail(protocol::ErrorCode::kCorrupt, "the promises of the node record are not in order");
    out.promises = *std::move(promises);
    // Written by a version that kept the last one only.
    if (out.promises.empty()) out.promises.push_back({out.promised, out.promised_to});
    out.verdict = in.verdict();
    out.ancestors = take_ancestors(in);
    out.recovered_from = ClusterId{in.recovered_from()};
    out.machine = in.machine();
    return out;
}

}  // namespace logstream::view
