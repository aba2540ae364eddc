#include "internal/node/replicator.h"

#include <map>

#include "internal/node/own_session.h"
#include "internal/node/peer_session.h"
#include "internal/protocol/planted.h"

namespace logstream::node {

struct Replicator::State {
    Core& core;
    Events events;
    Counters counters;
    std::optional<view::View> view;
    bool serving{};
    std::unique_ptr<OwnSession> own;
    std::map<NodeId, std::unique_ptr<PeerSession>> peers;
    // Sessions that are over, until the call that ended them has returned.
    std::vector<std::unique_ptr<PeerSession>> ended;

    bool is_of_view(const auto& message) const {
        return view && message.cluster_id() == core.record.cluster.value && message.view() == view->number.value &&
               message.view_id() == view->id.value;
    }
    bool is_of_member(const auto& message) const {
        return is_of_view(message) && view->has(NodeId{message.node()}, protocol::Incarnation{message.incarnation()});
    }
    bool is_from(NodeId member, Endpoint from) const {
        if (protocol::planted(protocol::Bug::kStrangersBelieved) || from.port == 0) return true;
        const view::Member* known = view->find(member);
        return known != nullptr && address_of(*known) == from;
    }
};

Replicator::Replicator(Core& core, Events events)
    : state_(new State{core, std::move(events), {}, {}, false, {}, {}, {}}) {}
Replicator::~Replicator() = default;

const Replicator::Counters& Replicator::counters() const { return state_->counters; }

void Replicator::prepare(const view::View& view) {
    State& s = *state_;
    stop("a new view was installed");
    s.view = view;
    for (const view::Member& member : view.members)
        if (member.id != s.core.self.id)
            s.peers.emplace(member.id, std::make_unique<PeerSession>(s.core, view, member, s.counters,
                                                                     [this](const std::string& why) {
                                                                         if (!state_->view) return;
                                                                         stop(why);
                                                                         state_->events.broken(why);
                                                                     }));
    s.own = std::make_unique<OwnSession>(s.core, view, s.counters, [this] { state_->events.committed(); });
}

void Replicator::serve() { state_->serving = state_->view.has_value(); }

void Replicator::stop(const std::string& reason) {
    State& s = *state_;
    s.serving = false;
    s.view.reset();
    if (s.own) {
        // Handlers may come back here; the session is out of the way by then.
        const std::unique_ptr<OwnSession> own = std::move(s.own);
        own->abandon(reason);
    }
    for (auto& [id, peer] : s.peers) {
        if (!protocol::planted(protocol::Bug::kAckAfterPromise))
            peer->end();  // what was flushed after a promise is not acknowledged
        s.ended.push_back(std::move(peer));
    }
    s.peers.clear();
    s.core.env.set_timer(Duration{0}, [this] { state_->ended.clear(); });
}

std::optional<Error> Replicator::may_not_append() const {
    if (!state_->serving) return Error{ErrorCode::kBusy, "the view is changing; retry"};
    return state_->events.unheard();
}

void Replicator::produce(Stream& stream, protocol::Bytes batch, proto::Acks acks, ProduceHandler done) {
    if (const auto error = may_not_append()) return done(std::unexpected(*error));
    state_->own->produce(stream, std::move(batch), acks, std::move(done));
}

void Replicator::produce_orphan(Stream& stream, const protocol::BatchView& batch, const OrphanOrigin& origin,
                                ProduceHandler done) {
    if (const auto error = may_not_append()) return done(std::unexpected(*error));
    state_->own->produce_orphan(stream, batch, origin, std::move(done));
}

void Replicator::on_frame(const protocol::FrameHeader& header, const protocol::Bytes& payload, Endpoint from) {
    State& s = *state_;
    if (!s.view || header.view != s.view->number || header.view_id != s.view->id || !s.peers.contains(header.sender) ||
        !s.is_from(header.sender, from)) {
        ++s.counters.frames_dropped;
        return;
    }
    // Only one who knows the view to be chosen sends in it.
    if (!s.serving) s.events.proves_chosen(s.view->number);
    if (const auto peer = s.peers.find(header.sender); peer != s.peers.end())
        peer->second->on_frame(header, payload, from);
}

void Replicator::on_heartbeat(const proto::Heartbeat& heartbeat, Endpoint from) {
    State& s = *state_;
    if (!s.is_of_member(heartbeat)) return;
    if (heartbeat.serving() && !s.serving) s.events.proves_chosen(s.view->number);
    const auto peer = s.peers.find(NodeId{heartbeat.node()});
    if (peer == s.peers.end()) return;
    if (s.own) s.own->on_member_alive(peer->first);
    peer->second->on_position(Sequence{heartbeat.last_sequence()}, Sequence{heartbeat.committed_sequence()}, from);
}

void Replicator::on_nack(const proto::Nack& nack, Endpoint from) {
    State& s = *state_;
    if (!s.own || !s.is_of_member(nack) || !s.is_from(NodeId{nack.node()}, from)) return;
    ++s.counters.nacks_received;
    s.own->on_nack(nack, from);
}

void Replicator::on_nack_gone(const proto::NackGone& gone, NodeId sender, Endpoint from) {
    State& s = *state_;
    if (!s.is_of_view(gone) || !s.is_from(sender, from)) return;
    const auto peer = s.peers.find(sender);
    if (peer != s.peers.end()) peer->second->on_nack_gone(gone);
}

void Replicator::on_ack(const proto::ReplicateAck& ack) {
    State& s = *state_;
    const bool older =
        s.view && ack.view() < s.view->number.value && protocol::planted(protocol::Bug::kOldViewAckCounted);
    if (!s.own || (!older && !s.is_of_member(ack))) return;
    s.own->on_ack(ack);
}

void Replicator::fill(proto::Heartbeat& heartbeat) const {
    if (!state_->own) return;
    heartbeat.set_last_sequence(state_->own->last_sent().value);
    heartbeat.set_committed_sequence(state_->own->committed().value);
}

void Replicator::tick() {
    if (!state_->serving || !state_->own) return;
    if (const auto member = state_->own->slow()) state_->events.slow(*member);
}

}  // namespace logstream::node
