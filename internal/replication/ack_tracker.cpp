#include "internal/replication/ack_tracker.h"

#include <algorithm>

#include "internal/protocol/planted.h"

namespace logstream::replication {

AckTracker::AckTracker(std::span<const NodeId> members, NodeId self, Sequence first_sequence)
    : last_sent_(before(first_sequence)), committed_(last_sent_), stable_(last_sent_) {
    LS_ASSERT(first_sequence.value >= 1);
    for (const NodeId node : members) {
        members_.push_back(State{.member = {node, last_sent_, last_sent_}, .target = last_sent_, .since = {}});
    }
    const auto own = std::ranges::find(members, self);
    LS_ASSERT(own != members.end());
    self_ = static_cast<std::size_t>(own - members.begin());
    sorted_.resize(members_.size());
}

AckTracker::Update AckTracker::update(NodeId member, Sequence durable, Sequence received, TimePoint now) {
    const auto state = std::ranges::find(members_, member, [](const State& s) { return s.member.node; });
    const bool is_peer = state != members_.end() && state != members_.begin() + static_cast<std::ptrdiff_t>(self_);
    if (!is_peer || durable > received || received > last_sent_) {
        ++invalid_;
        return Update::kInvalid;
    }
    state->member.received = std::max(state->member.received, received);
    if (durable <= state->member.durable) return Update::kOld;
    advance(*state, durable, now);
    return Update::kAdvanced;
}

void AckTracker::own_durable(Sequence durable, TimePoint now) {
    State& own = members_[self_];
    if (durable <= own.member.durable) return;
    own.member.received = std::max(own.member.received, durable);
    advance(own, durable, now);
}

void AckTracker::sent(Sequence last, TimePoint now) {
    LS_ASSERT(last >= last_sent_);
    last_sent_ = last;
    for (State& state : members_) {
        if (state.member.durable < state.target) continue;
        state.target = last;
        state.since = now;
    }
}

void AckTracker::advance(State& state, Sequence durable, TimePoint now) {
    state.member.durable = durable;
    if (durable >= state.target) {
        state.target = last_sent_;
        state.since = now;
    }
    recompute();
}

void AckTracker::recompute() {
    std::ranges::transform(members_, sorted_.begin(), [](const State& state) { return state.member.durable; });
    std::ranges::sort(sorted_, std::greater{});
    // The majority's least: of n members, the (n/2 + 1)-th greatest.
    committed_ = sorted_[sorted_.size() / 2];
    if (protocol::planted(protocol::Bug::kCommitWithoutQuorum)) committed_ = sorted_.front();
    stable_ = sorted_.back();
}

std::vector<AckTracker::Member> AckTracker::members() const {
    std::vector<Member> out;
    for (const State& state : members_) out.push_back(state.member);
    return out;
}

std::optional<NodeId> AckTracker::only_one_behind() const {
    std::optional<NodeId> out;
    for (const State& state : members_) {
        if (state.member.durable >= last_sent_) continue;
        if (out) return std::nullopt;
        out = state.member.node;
    }
    return out;
}

std::optional<AckTracker::Slow> AckTracker::slowest(TimePoint now) const {
    const State* slowest = nullptr;
    for (const State& state : members_) {
        if (&state == &members_[self_] || state.member.durable >= state.target) continue;
        const bool worse = slowest == nullptr || state.since < slowest->since ||
                           (state.since == slowest->since && state.member.durable < slowest->member.durable);
        if (worse) slowest = &state;
    }
    if (slowest == nullptr) return std::nullopt;
    return Slow{slowest->member.node, slowest->member.durable, std::max(now - slowest->since, Duration::zero())};
}

}  // namespace logstream::replication
