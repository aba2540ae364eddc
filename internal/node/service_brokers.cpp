// Service's part that hears other brokers.
#include <algorithm>

#include "internal/node/node.h"
#include "internal/node/service.h"
#include "internal/node/service_answers.h"

namespace logstream::node {

namespace {

// What only brokers say to each other, and what makes the receiver do something.
bool is_of_brokers(MessageType type) {
    switch (type) {
        case MessageType::kElection:
        case MessageType::kStateExchange:
        case MessageType::kViewInstall:
        case MessageType::kViewChosen:
        case MessageType::kLearn:
        case MessageType::kHandover:
        case MessageType::kPeerReport:
        case MessageType::kHeartbeat:
        case MessageType::kReplicateAck:
        case MessageType::kReplicate:
        case MessageType::kNack:
        case MessageType::kNackGone:
        case MessageType::kOrphan:
            return true;
        default:
            return false;
    }
}

bool names(std::uint64_t node, std::uint64_t incarnation, const view::Member& from) {
    return node == from.id.value && incarnation == from.incarnation.value;
}

bool names(const proto::Member& member, const view::Member& from) {
    return names(member.id(), member.incarnation(), from) && address_of(view::from_proto(member)) == address_of(from);
}

bool coordinates(const proto::View& view, const view::Member& from) {
    return std::ranges::any_of(view.members(), [&](const proto::Member& member) {
        return member.id() == view.coordinator() && names(member.id(), member.incarnation(), from);
    });
}

}  // namespace

void Service::on_message(env::ConnectionId connection, Message message) {
    if (message.is_response()) return;
    refused_.try_emplace(connection);
    if (is_of_brokers(message.type)) return node_.introductions().pass(connection, std::move(message));
    const Caller caller{connection, message.type, message.correlation};
    if (!on_question(caller, message)) on_client(caller, message);
}

bool Service::on_question(const Caller& caller, Message& message) {
    const auto parsed = [&](auto& request) {
        if (message.parse(request)) return true;
        close(caller.connection);
        return false;
    };
    switch (message.type) {
        case MessageType::kIntroduction:
            if (proto::Introduction m; parsed(m)) node_.introductions().introduce(caller.connection, m);
            return true;
        case MessageType::kJoin:
            if (proto::Join m; parsed(m)) answer(caller, node_.on_join(m, core_.env.peer_of(caller.connection)));
            return true;
        case MessageType::kProbe:
            if (proto::Probe m; parsed(m)) answer(caller, node_.on_probe(m));
            return true;
        case MessageType::kSummary:
            if (proto::Summary m; parsed(m)) answer(caller, node_.on_summary(m));
            return true;
        default:
            return false;
    }
}

// Each of these names a broker; it must be the one that speaks here.
void Service::on_broker(env::ConnectionId connection, const view::Member& from, Message message) {
    const Caller caller{connection, message.type, message.correlation};
    const auto parsed = [&](auto& request, auto says_so) {
        if (message.parse(request) && says_so(request)) return true;
        core_.env.log().warn("PEER {} of {} at {} is unreadable or names another broker: closing its connection",
                             protocol::to_string(message.type), protocol::hex(from.id.value),
                             to_string(address_of(from)));
        close(connection);
        return false;
    };
    const auto of_itself = [&](const auto& m) { return names(m.node(), m.incarnation(), from); };
    switch (message.type) {
        case MessageType::kElection:
            if (proto::Election m;
                parsed(m, [&](const auto&) { return std::ranges::find(m.ring(), from.id.value) != m.ring().end(); })) {
                answer(caller, proto::Probe{});  // received: the sender knows its successor lives
                node_.on_election(m);
            }
            break;
        case MessageType::kStateExchange:
            if (proto::StateExchange m; parsed(m, [&](const auto&) { return names(m.coordinator(), from); }))
                node_.participant().on_exchange(m, [this, caller](const auto& response) { answer(caller, response); });
            break;
        case MessageType::kViewInstall:
            if (proto::ViewInstall m; parsed(m, [&](const auto&) { return coordinates(m.view(), from); }))
                node_.participant().on_install(m, [this, caller](const auto& response) { answer(caller, response); });
            break;
        case MessageType::kViewChosen:
            if (proto::ViewChosen m; parsed(m, [&](const auto&) { return coordinates(m.view(), from); }))
                node_.on_view_chosen(m);
            break;
        case MessageType::kLearn:
            if (proto::Learn m; parsed(m, [&](const auto&) { return names(m.node(), from); }))
                answer(caller, node_.on_learn(m));
            break;
        case MessageType::kHandover:
            if (proto::Handover m; parsed(m, [&](const auto&) { return m.leaving() == from.id.value; }))
                answer(caller, node_.on_handover(m));
            break;
        case MessageType::kPeerReport:
            if (proto::PeerReport m; parsed(m, [&](const auto&) { return m.node() == from.id.value; }))
                node_.on_peer_report(m);
            break;
        case MessageType::kHeartbeat:
            if (proto::Heartbeat m; parsed(m, of_itself)) node_.on_peer_heartbeat(m, {});
            break;
        case MessageType::kReplicateAck:
            if (proto::ReplicateAck m; parsed(m, of_itself)) node_.replicator().on_ack(m);
            break;
        case MessageType::kReplicate: {
            auto frame = protocol::decode_frame(message.body.span());
            if (frame && frame->header.sender == from.id && node_.is_member(from))
                node_.replicator().on_frame(frame->header, message.body.from(frame->payload_begin), {});
            break;
        }
        case MessageType::kNack:
            if (proto::Nack m; parsed(m, of_itself)) node_.replicator().on_nack(m, {});
            break;
        case MessageType::kNackGone:
            if (proto::NackGone m; parsed(m, [&](const auto&) { return m.sender() == from.id.value; }))
                node_.replicator().on_nack_gone(m, from.id, {});
            break;
        case MessageType::kOrphan:
            if (proto::Orphan m; parsed(m, [](const auto&) { return true; })) on_orphan(caller, m, message.body);
            break;
        default:
            LS_ASSERT(is_of_brokers(message.type));
    }
}

}  // namespace logstream::node
