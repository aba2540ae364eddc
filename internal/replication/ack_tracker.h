// What the members of the view have of our session: from this follow commit, stable and who is slow.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "internal/replication/session.h"

namespace logstream::replication {

// One per session that we send, on the owner. A member's `durable` is cumulative: every message that ends at or below
// it is as durable there as the policy asks, and every frame up to it was received. O(members) for each acknowledgement
// and each batch of frames sent; nothing for a record.
class AckTracker {
public:
    // `members` of the view, each once, with `self` among them.
    AckTracker(std::span<const NodeId> members, NodeId self, Sequence first_sequence);

    enum class Update : std::uint8_t {
        kAdvanced,  // this member's durable position rose
        kOld,       // nothing new (acknowledgements of a former connection come late)
        kInvalid,   // beyond what was sent, durable beyond received, or from no member: garbage, ignored and counted
    };
    // A member's acknowledgement, as it came from the network.
    Update update(NodeId member, Sequence durable, Sequence received, TimePoint now);
    // Our own log is durable up to and including all messages of this frame, which is closed (FramePacker::flush): a
    // message that is added to it afterwards would count as durable. May be ahead of what was sent. Lower values than
    // before are ignored.
    void own_durable(Sequence durable, TimePoint now);
    // Frames up to `last` were sent. Starts the clock of the members that had everything until now.
    void sent(Sequence last, TimePoint now);

    // Durable at a majority of the view's members, own one included like any other. Never falls.
    Sequence committed() const { return committed_; }
    // Durable at every member: the ring's release, the window, `acks=all`. Never falls.
    Sequence stable() const { return stable_; }
    // Durable here.
    Sequence own() const { return members_[self_].member.durable; }

    struct Member {
        NodeId node;
        Sequence durable;
        Sequence received;  // informs only
    };
    // In the order given; for status and metrics.
    std::vector<Member> members() const;

    struct Slow {
        NodeId node;
        Sequence durable;
        // For so long it has not reached a point that was sent before that time: one that stands still, but also one
        // that creeps. A member that keeps up is behind for no longer than a round trip and a flush.
        Duration behind_for;
    };
    // The other member that is behind for the longest; none when all have all that was sent.
    std::optional<Slow> slowest(TimePoint now) const;

    // The only member without everything that was sent; none when there are several, or none.
    std::optional<NodeId> only_one_behind() const;

    std::uint64_t invalid() const { return invalid_; }

private:
    struct State {
        Member member;
        Sequence target;  // what was last sent at `since`; behind while member.durable < target
        TimePoint since;
    };
    void advance(State& state, Sequence durable, TimePoint now);
    void recompute();

    std::vector<State> members_;
    std::size_t self_{};
    Sequence last_sent_;
    Sequence committed_;
    Sequence stable_;
    std::vector<Sequence> sorted_;  // scratch of recompute
    std::uint64_t invalid_{};
};

}  // namespace logstream::replication
