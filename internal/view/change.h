// One attempt of a coordinator to install one view: quorum, merge, install.
//
// The object decides and remembers; `node` sends the messages, keeps the time and writes the disk. One number, one
// object: another content needs another number, hence another object.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "internal/view/quorum.h"
#include "internal/view/record.h"

namespace logstream::view {

struct EpochStart {
    ViewNumber view;
    Offset first;  // of the first record appended in that view
    ViewId id{};   // of that view, as the holder knows it
    friend bool operator==(const EpochStart&, const EpochStart&) = default;
};

// What a member holds of one stream; never the log itself.
struct StreamHolding {
    StreamId stream;
    Offset log_start;
    Offset log_end;  // durable, and covering all that the member acknowledged
    Offset high_watermark;
    std::vector<EpochStart> epochs;
    std::uint64_t bytes{};
    // From the first damage to the end of the last: not all of [from, to) can be read, and a view that began in there,
    // or at its end, may be missing from `epochs` or begin too late. Empty when there is none.
    Offset damaged_from;
    Offset damaged_to;
    bool damaged() const { return damaged_from < damaged_to; }
};

// A granted STATE_EXCHANGE.
struct Answer {
    Member member;
    std::optional<View> accepted;
    std::optional<View> chosen;
    std::vector<StreamHolding> streams;
    std::vector<NodeId> multicast_heard;  // whose multicast reached it of late
    bool no_vote{};                       // may have lost acknowledged bytes
    bool leaving{};                       // gives what it holds, does not want to be a member
    bool acknowledges_unflushed{};        // so it may have lost records though its disk is well
    std::vector<Promise> promises;        // that it remembers, rising; the oldest may be left out
};

// The base log of one stream in the new view: all of it is committed once the view is chosen.
struct StreamPlan {
    StreamId stream;
    Offset log_start;
    Offset log_end;
    std::vector<EpochStart> epochs;
    std::vector<NodeId> sources;  // members of the answer that hold all of it
    std::uint64_t bytes{};        // about what the log takes on disk
};

// The views that wrote these logs.
std::vector<ViewName> names_of(const std::vector<EpochStart>& epochs);

struct Plan {
    View view;
    std::optional<View> chosen;  // C
    std::vector<StreamPlan> streams;
    std::vector<Member> holders;  // everybody who answered
    bool counted_without_vote{};  // members without a vote had to be counted: acknowledged records may be missing
};

// The views whose quorums a change needs (step 2). `chosen` is C.
struct Bases {
    std::optional<View> chosen;
    std::vector<Base> all;  // C first, if there is one; then by number
};

// Step 2 as a function: C is the newest view that a member knows to be chosen, or that the answers prove to be:
// accepted by enough of those who answered. The bases are C and, of the accepted views reported and of their bases,
// every one newer than C that may have been chosen. One can be left out only if too few can have accepted it, a
// majority of its own members or a quorum of one of its bases being out of the question: a member that did not answer,
// or whose accepted view is the same or newer, can have. As long as nothing is known to be chosen, the first view of
// the lineage stays a base whatever became of it: without it, two attempts could each find nothing that ties them
// together.
Bases bases_of(const std::vector<Answer>& answers);

class Change {
public:
    // Who hears of no view at all may begin a lineage, under an id drawn for this very attempt. In a lineage that
    // others may know (an id heard, or used by an earlier attempt), silence proves nothing, and there is no quorum. Nor
    // is there one when somebody holds records and knows of no view: they are of a lineage that is somewhere else.
    // kRecovered: a person has declared that the survivors invited are all there is; they begin a lineage from what
    // they hold, and no quorum of earlier views is asked for, but every survivor must answer.
    enum class Lineage : std::uint8_t { kNew, kOld, kRecovered };
    struct Options {
        Lineage lineage = Lineage::kNew;
        bool multicast_allowed = true;    // replication.transport is not tcp
        bool multicast_required = false;  // replication.transport is multicast
        // A member whose logs lack more than this, two windows, is left to catch up as a learner, if the rest can do
        // without it.
        std::uint64_t max_behind_bytes = 16u << 20;
    };
    // `invited` are the nodes that STATE_EXCHANGE goes to, the coordinator among them.
    Change(ViewName name, NodeId coordinator, NodeSet invited, Options options);

    ViewNumber number() const { return name_.number; }
    bool founds() const { return options_.lineage == Lineage::kNew; }
    const NodeSet& invited() const { return invited_; }

    // kConflict: what it holds is of another history, in which one of the views is another one than here or at those
    // who answered before; it counts as unreachable. (Survivors that a person names may differ.)
    protocol::Result<void> on_answer(Answer answer);
    // A member that a view counts on, and that does not remember its promise to that view's coordinator: its disk is of
    // an older moment, and may lack what it acknowledged since. It has no vote until it has accepted a newer view.
    std::optional<Member> forgetful() const;
    // Refused: a greater number is promised; beat it in the next attempt.
    // `known` are the views that it has accepted or knows to be chosen: it gives no promise, but what it knows of the
    // others' promises stands. With one of this number or a greater one among them this attempt comes too late: who
    // answered it has promised more since, or has forgotten that it had.
    void on_refusal(NodeId from, ViewNumber promised, std::vector<View> known = {});
    void on_unreachable(NodeId node);
    // Every invited node has answered, refused or is unreachable.
    bool all_heard() const;
    std::vector<NodeId> silent() const;
    bool refused() const { return refused_; }
    ViewNumber greatest_number_seen() const { return greatest_seen_; }
    // Do the answers make a quorum of each base? Else `what_is_missing` says which, for logs and clients.
    bool has_quorum() const;
    std::string what_is_missing() const;
    // Is there a quorum only with members that may have lost records which they acknowledged? Somebody who is not a
    // member of any base may hold these still.
    bool counts_without_vote() const;
    // The newest view that the answers tell, or prove, to be chosen.
    std::optional<View> chosen_so_far() const { return bases().chosen; }

    // Call it once, when has_quorum(). Afterwards answers change nothing.
    const Plan& plan();
    bool planned() const { return plan_.has_value(); }
    // The member made the base log durable and accepted the view. Duplicates are fine.
    void on_accepted(NodeId node);
    // It will not, in this attempt, or nobody will hear of it.
    void on_not_accepted(NodeId node);
    bool accepted_by(NodeId node) const { return accepted_.contains(node); }
    // Accepted by a quorum of every base and by a majority of the view's own members.
    bool is_chosen() const;
    // False when too few are left who may still accept it.
    bool can_be_chosen() const;

private:
    NodeSet voters() const;
    bool has_forgotten(const Answer& answer) const;
    bool voters_know_all() const;
    Bases bases() const;
    bool quorum_of(const Bases& bases, const NodeSet& nodes) const;
    std::string damaged_beyond_all(const Bases& bases) const;
    std::string lost_lineage() const;
    double bytes_behind(const Answer& answer, const std::vector<StreamPlan>& base) const;
    std::vector<Member> choose_members(const Bases& bases, const std::vector<StreamPlan>& base_log) const;
    std::vector<const Answer*> base_log_holders() const;
    std::vector<EpochStart> epochs_of(const StreamHolding& holding) const;
    std::vector<StreamPlan> merge() const;
    void lengthen(std::map<StreamId, StreamPlan>& base_log) const;
    bool multicast_works(const std::vector<Member>& members) const;

    ViewName name_;
    NodeId coordinator_;
    NodeSet invited_;
    Options options_;
    std::map<NodeId, Answer> answers_;
    ViewNames views_;         // that the answers name
    NodeSet lost_;            // refused or unreachable
    std::vector<View> told_;  // by those who refused
    bool refused_{};
    bool overtaken_{};
    ViewNumber greatest_seen_;
    std::optional<Plan> plan_;
    NodeSet accepted_;
    NodeSet not_accepted_;
};

StreamHolding holding_from_proto(const proto::StreamSummary& in);
proto::StreamSummary to_proto(const StreamHolding& holding);
StreamPlan plan_from_proto(const proto::StreamBase& in);
proto::StreamBase to_proto(const StreamPlan& plan);

}  // namespace logstream::view
