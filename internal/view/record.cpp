#include "internal/view/record.h"

#include <algorithm>

#include "internal/protocol/planted.h"

namespace logstream::view {

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
}

bool Record::learn_chosen(const View& view) {
    if (chosen && chosen->number >= view.number) return false;
    chosen = view;
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
    out.machine = in.machine();
    return out;
}

}  // namespace logstream::view
