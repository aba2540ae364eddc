// Node's part that does what operators ask for, and members that leave.
#include "internal/node/node.h"

namespace logstream::node {

using protocol::hex;

proto::HandoverResponse Node::on_handover(const proto::Handover& request) {
    proto::HandoverResponse out;
    const NodeId leaver{request.leaving()};
    if (!serving() || request.cluster_id() != core_.record.cluster.value || !serving_->has(leaver) ||
        coordinator_.running() || left_) {
        *out.mutable_error() = to_proto(Error{ErrorCode::kBusy, "this broker cannot change the view now"});
        return out;
    }
    tenure_.leaving.insert(leaver);
    if (is_leader()) {
        want_change("a member leaves");
    } else {
        // The leader leaves and this is its heir.
        propose(serving_->members, core_.record.cluster, "the leader leaves");
    }
    return out;
}

// Above every view that left something here: accepted, chosen, or written in a log. What was merely promised binds
// nobody in the new lineage; it may be the last number there is.
void Node::begin_numbering_anew() {
    view::Record& record = core_.record;
    record.promised = std::max(record.accepted_number(), record.chosen_number());
    for (const auto& [id, stream] : core_.streams.all())
        if (const auto& epochs = stream.log->epochs().entries(); !epochs.empty())
            record.promised = std::max(record.promised, epochs.back().view);
    record.promised_to = {};
    record.promised_incarnation = {};
    coordinator_.forget_numbers();
}

// A new lineage from what the survivors hold. Their accepted views still say whose log is the base; their quorums are
// not asked for any more.
void Node::recover(const proto::Admin& request, proto::AdminResponse& out) {
    const view::NodeSet survivors = [&] {
        view::NodeSet ids;
        for (std::uint64_t id : request.survivors()) ids.insert(NodeId{id});
        return ids;
    }();
    if (settled() || request.cluster_id() == 0 || !survivors.contains(core_.self.id)) {
        *out.mutable_error() =
            to_proto(Error{ErrorCode::kInvalid, "this broker is in a working view, or is not named as a survivor"});
        return;
    }
    core_.env.log().warn(
        "ClusterState recover: lineage {} continues as {} from {} survivors; what only others held is lost",
        hex(core_.record.cluster.value), hex(request.cluster_id()), survivors.size());
    elector_.stop();
    coordinator_.stop();
    learner_.stop();
    replicator_.stop("the cluster is being recovered");
    participant_.reset();
    serving_.reset();
    begin_numbering_anew();
    core_.record.recover_as(ClusterId{request.cluster_id()});
    survivors_ = survivors;
    core_.persist([] {});
    seek("recovering");
    out.set_message(fmt::format("the survivors form a new lineage {}", hex(request.cluster_id())));
}

proto::AdminResponse Node::on_admin(const proto::Admin& request) {
    proto::AdminResponse out;
    const NodeId target{request.node()};
    if (core_.condemned() && request.action() != proto::Admin::RECOVER) {
        *out.mutable_error() = to_proto(*refusal());
        return out;
    }
    switch (request.action()) {
        case proto::Admin::ELECT:
            elector_.start(core_.self, known_endpoints(), "asked by an operator", Elector::Force::kYes);
            out.set_message("election started");
            break;
        case proto::Admin::REMOVE:
            if (!is_leader() || !serving_->has(target) || target == core_.self.id) {
                *out.mutable_error() =
                    to_proto(Error{ErrorCode::kInvalid, "ask the leader, and name another member of the view"});
                break;
            }
            tenure_.excluded.insert(target);
            banned_.insert(serving_->find(target)->incarnation);
            want_change("removed by an operator");
            out.set_message("the member is removed from the view until it is restarted");
            break;
        case proto::Admin::DRAIN: {
            if (target != core_.self.id || !serving() || serving_->members.size() < 3) {
                *out.mutable_error() = to_proto(
                    Error{ErrorCode::kInvalid, "ask the broker itself, while its view has at least three members"});
                break;
            }
            draining_ = true;
            const view::Member* heir = nullptr;
            for (const view::Member& member : serving_->members)
                if (member.id != core_.self.id) heir = &member;
            proto::Handover handover;
            handover.set_leaving(core_.self.id.value);
            handover.set_cluster_id(core_.record.cluster.value);
            const view::Member& asked = is_leader() ? *heir : *serving_->find(serving_->coordinator);
            links_.request(address_of(asked), MessageType::kHandover, handover, std::chrono::seconds(1), [](auto) {});
            out.set_message("the broker hands over its streams and stays out of the view until it is restarted");
            break;
        }
        case proto::Admin::SEAL:
        case proto::Admin::RETIRE:
            if (ClusterId{request.cluster_id()} != core_.record.cluster) {
                *out.mutable_error() =
                    to_proto(Error{ErrorCode::kWrongCluster, "this broker belongs to another lineage"});
                break;
            }
            if (request.action() == proto::Admin::SEAL) {
                sealed_ = true;
                out.set_message("no more records are accepted");
                break;
            }
            // A restart forgets the seal, and what was accepted since is copied nowhere.
            if (!std::exchange(sealed_, false)) {
                *out.mutable_error() = to_proto(
                    Error{ErrorCode::kRefused, "this broker accepts records (it was restarted): merge again first"});
                break;
            }
            retired_from_ = core_.record.cluster;
            start_afresh("all it held was copied to another lineage");
            out.set_message("the broker joins the other cluster");
            break;
        case proto::Admin::RECOVER:
            recover(request, out);
            break;
        default:
            *out.mutable_error() = to_proto(Error{ErrorCode::kInvalid, "unknown action"});
    }
    return out;
}

}  // namespace logstream::node
