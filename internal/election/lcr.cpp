#include "internal/election/lcr.h"

#include <algorithm>
#include <utility>

#include "internal/protocol/error.h"

namespace logstream::election {

namespace {

bool contains(const std::vector<NodeId>& ascending, NodeId id) { return std::ranges::binary_search(ascending, id); }

// Ascending, each once, nobody left out but 0 and, when there are too many, the least others.
std::vector<NodeId> ring_of(std::vector<NodeId> nodes, NodeId self) {
    nodes.push_back(self);
    std::erase(nodes, NodeId{});
    std::ranges::sort(nodes);
    nodes.erase(std::ranges::unique(nodes).begin(), nodes.end());
    while (nodes.size() > kMaxRing) nodes.erase(nodes.front() == self ? nodes.begin() + 1 : nodes.begin());
    return nodes;
}

}  // namespace

Election::Election(NodeId self) : self_(self) { LS_ASSERT(self != NodeId{}); }

Output Election::start(ElectionId id, std::vector<NodeId> reachable) {
    if (find(id) != nullptr) return {};
    for (State& state : elections_) {
        if (state.initiator == self_ && state.phase == Phase::kOpen) state.phase = Phase::kAbandoned;
    }
    State& state = remember(id, self_, ring_of(std::move(reachable), self_));
    state.sent = self_;
    if (state.ring.size() == 1) {
        state.phase = Phase::kDecided;
        return {.sends = {}, .outcome = Outcome::kWon, .winner = self_};
    }
    return {.sends = {to_next(state, Message::Kind::kElection, self_)}, .outcome = Outcome::kRunning, .winner = {}};
}

Output Election::receive(const Message& message) {
    if (!acceptable(message)) return {};
    switch (message.kind) {
        case Message::Kind::kElection:
            return on_election(message);
        case Message::Kind::kVictory:
            return on_victory(message);
    }
    return {};  // a number from the wire that names no kind
}

Output Election::on_election(const Message& message) {
    State* state = find(message.id);
    if (state == nullptr) {
        // Our own, but not remembered: we restarted since, or it is very old. Somebody else's: we enter it now, unless
        // our own candidacy is in it, which only a past self can have sent.
        if (message.initiator == self_ || message.candidate == self_) return {};
        state = &remember(message.id, message.initiator, message.ring);
    }
    if (state->phase != Phase::kOpen) return {};
    if (message.candidate == self_ && state->sent == self_) {
        // It passed everybody, and nobody greater swallowed it.
        state->phase = Phase::kDecided;
        return {.sends = {to_next(*state, Message::Kind::kVictory, self_)}, .outcome = Outcome::kWon, .winner = self_};
    }
    Output output{.sends = {}, .outcome = Outcome::kRunning, .winner = {}};
    const NodeId stronger = std::max(message.candidate, self_);
    if (stronger > state->sent) {
        state->sent = stronger;
        output.sends.push_back(to_next(*state, Message::Kind::kElection, stronger));
    }
    return output;
}

Output Election::on_victory(const Message& message) {
    State* state = find(message.id);
    // One that is back at the winner finds the election decided, and ends here.
    if (state == nullptr || state->phase != Phase::kOpen || message.candidate == self_) return {};
    // A victory follows its candidacy all round the ring: we sent that candidate, and no greater one stands; else it is
    // false.
    if (message.candidate != state->sent || message.candidate != state->ring.back()) return {};
    state->phase = Phase::kDecided;
    return {.sends = {to_next(*state, Message::Kind::kVictory, message.candidate)},
            .outcome = Outcome::kLost,
            .winner = message.candidate};
}

Output Election::successor_failed(NodeId dead, ElectionId fresh_id) {
    std::vector<NodeId> members;
    bool concerned = false;
    for (State& state : elections_) {
        if (state.phase != Phase::kOpen || next_on(state.ring) != dead) continue;
        concerned = true;
        state.phase = Phase::kAbandoned;
        members.insert(members.end(), state.ring.begin(), state.ring.end());
    }
    if (!concerned) return {};
    std::erase(members, dead);
    return start(fresh_id, std::move(members));
}

Output Election::abandon() {
    for (State& state : elections_) {
        if (state.phase == Phase::kOpen) state.phase = Phase::kAbandoned;
    }
    return {};
}

bool Election::running() const {
    return std::ranges::any_of(elections_, [](const State& state) { return state.phase == Phase::kOpen; });
}

Election::State* Election::find(ElectionId id) {
    const auto found = std::ranges::find(elections_, id, &State::id);
    return found == elections_.end() ? nullptr : &*found;
}

Election::State& Election::remember(ElectionId id, NodeId initiator, std::vector<NodeId> ring) {
    if (elections_.size() == kMaxElections) elections_.pop_front();
    return elections_.emplace_back(State{.id = id, .initiator = initiator, .ring = std::move(ring), .sent = {}});
}

bool Election::acceptable(const Message& message) const {
    const auto& ring = message.ring;
    if (ring.size() < 2 || ring.size() > kMaxRing) return false;
    if (std::ranges::adjacent_find(ring, std::ranges::greater_equal{}) != ring.end() || ring.front() == NodeId{}) {
        return false;
    }
    if (!contains(ring, self_) || !contains(ring, message.initiator) || !contains(ring, message.candidate))
        return false;
    const auto known = std::ranges::find(elections_, message.id, &State::id);
    return known == elections_.end() || (known->initiator == message.initiator && known->ring == ring);
}

NodeId Election::next_on(const std::vector<NodeId>& ring) const {
    const auto next = std::ranges::upper_bound(ring, self_);
    return next == ring.end() ? ring.front() : *next;
}

Send Election::to_next(const State& state, Message::Kind kind, NodeId candidate) const {
    return {
        .to = next_on(state.ring),
        .message = {
            .kind = kind, .id = state.id, .initiator = state.initiator, .candidate = candidate, .ring = state.ring}};
}

}  // namespace logstream::election
