#include "internal/node/introductions.h"

#include "internal/protocol/planted.h"

namespace logstream::node {

using protocol::hex;

namespace {

constexpr std::size_t kMaxWaiting = 1024;
constexpr std::size_t kMaxWaitingBytes = 64u << 20;
}  // namespace

void Introductions::introduce(env::ConnectionId connection, const proto::Introduction& introduction) {
    Caller& caller = callers_[connection];
    caller = {};
    caller.claimed = view::from_proto(introduction.from());
    caller.token = introduction.token();
    if (events_.is_member(caller.claimed)) ask(connection, caller);
}

void Introductions::pass(env::ConnectionId connection, Message message) {
    const auto found = callers_.find(connection);
    if (found == callers_.end())
        return refuse(connection,
                      fmt::format("{} from a peer that is not a broker", protocol::to_string(message.type)));
    Caller& caller = found->second;
    if (caller.confirmed || protocol::planted(protocol::Bug::kStrangersBelieved))
        return events_.confirmed(connection, view::Member(caller.claimed), std::move(message));
    caller.waiting_bytes += message.header.size() + message.body.size();
    caller.waiting.push_back(std::move(message));
    if (caller.waiting.size() > kMaxWaiting || caller.waiting_bytes > kMaxWaitingBytes)
        return refuse(connection, "too much data before the peer was identified");
    if (!caller.asking) ask(connection, caller);
}

void Introductions::ask(env::ConnectionId connection, Caller& caller) {
    caller.asking =
        check_.ask(caller.claimed, caller.token,
                   [this, connection, token = caller.token, claimed = caller.claimed.id](
                       const IdentityCheck::Outcome& outcome) { decided(connection, token, claimed, outcome); });
    if (!caller.asking) refuse(connection, "too many brokers introduce themselves at once");
}

void Introductions::decided(env::ConnectionId connection, std::uint64_t token, NodeId claimed,
                            const IdentityCheck::Outcome& outcome) {
    const auto found = callers_.find(connection);
    if (found == callers_.end() || found->second.token != token || found->second.claimed.id != claimed) return;
    Caller& caller = found->second;
    caller.asking = false;
    switch (outcome.verdict) {
        case IdentityCheck::Verdict::kTrue:
            break;
        case IdentityCheck::Verdict::kTwin: {
            const view::Member twin = caller.claimed;
            refuse(connection, {});
            return events_.twins(twin, outcome.twin);
        }
        case IdentityCheck::Verdict::kFalse:
            return refuse(connection, fmt::format("a peer claims to be {} at {}, where a different broker answers",
                                                  hex(claimed.value), to_string(address_of(caller.claimed))));
        case IdentityCheck::Verdict::kSilent:
            return refuse(connection, fmt::format("a peer claims to be {} at {}, where nobody confirms it",
                                                  hex(claimed.value), to_string(address_of(caller.claimed))));
    }
    caller.confirmed = true;
    const view::Member from = caller.claimed;
    for (std::deque<Message> waiting = std::exchange(caller.waiting, {}); !waiting.empty(); waiting.pop_front()) {
        const auto still = callers_.find(connection);
        if (still == callers_.end() || !still->second.confirmed) return;  // closed on the way
        events_.confirmed(connection, from, std::move(waiting.front()));
    }
}

// It is closed, so that an honest broker whom nobody confirms in time knows, and says it again.
void Introductions::refuse(env::ConnectionId connection, std::string_view why) {
    if (!why.empty() && said_.is_due(why, env_.now())) env_.log().warn("PEER connection closed: {}", why);
    callers_.erase(connection);
    events_.refused(connection);
}

}  // namespace logstream::node
