#include "internal/view/change.h"

#include <algorithm>
#include <ranges>

#include "internal/protocol/frame.h"
#include "internal/protocol/planted.h"

namespace logstream::view {

namespace {

ViewNumber accepted_number(const Answer& answer) { return answer.accepted ? answer.accepted->number : ViewNumber{}; }

// Accepted by these, the view is chosen: a quorum of every base and a majority of its own members.
bool chosen_by(const View& view, const NodeSet& acceptors) {
    if (protocol::planted(protocol::Bug::kOneBaseCounted))
        return view.bases.empty() ? is_majority(view.base(), acceptors) : is_quorum(view.bases.front(), acceptors);
    return is_majority(view.base(), acceptors) &&
           std::ranges::all_of(view.bases, [&](const Base& base) { return is_quorum(base, acceptors); });
}

// A view of which no more is known than another view says: without bases of its own.
View named_by_another(const Base& base) {
    View out;
    out.number = base.number;
    out.coordinator = base.coordinator;
    out.id = base.id;
    for (NodeId id : base.members) out.members.emplace_back().id = id;
    return out;
}

enum class Doubt : std::uint8_t { kAccepted, kNotAccepted };

// The members of the view that have accepted it, as far as these answers tell. Those who did not answer, or whose
// accepted view is newer, may or may not have.
NodeSet acceptors_of(const View& view, const std::map<NodeId, ViewNumber>& accepted, Doubt doubt) {
    NodeSet out;
    for (const Member& member : view.members) {
        const auto found = accepted.find(member.id);
        const bool doubtful = found == accepted.end() || found->second > view.number;
        if (doubtful ? doubt == Doubt::kAccepted : found->second == view.number) out.insert(member.id);
    }
    return out;
}

}  // namespace

Bases bases_of(const std::vector<Answer>& answers) {
    Bases out;
    std::map<NodeId, ViewNumber> accepted;
    std::map<ViewNumber, View> candidates;
    for (const Answer& answer : answers) {
        accepted[answer.member.id] = accepted_number(answer);
        if (answer.chosen && (!out.chosen || answer.chosen->number > out.chosen->number)) out.chosen = answer.chosen;
        if (!answer.accepted) continue;
        candidates.insert_or_assign(answer.accepted->number, *answer.accepted);
        if (protocol::planted(protocol::Bug::kBasesForgotten)) continue;
        for (const Base& base : answer.accepted->bases) candidates.try_emplace(base.number, named_by_another(base));
    }
    for (const auto& [number, view] : candidates)
        if ((!out.chosen || number > out.chosen->number) &&
            chosen_by(view, acceptors_of(view, accepted, Doubt::kNotAccepted)))
            out.chosen = view;
    if (out.chosen) out.all.push_back(out.chosen->base());
    for (const auto& [number, view] : candidates) {
        if (out.chosen && number <= out.chosen->number) continue;
        const bool first = !out.chosen && out.all.empty();
        if (first || chosen_by(view, acceptors_of(view, accepted, Doubt::kAccepted))) out.all.push_back(view.base());
    }
    return out;
}

Change::Change(ViewName name, NodeId coordinator, NodeSet invited, Options options)
    : name_(name),
      coordinator_(coordinator),
      invited_(std::move(invited)),
      options_(options),
      greatest_seen_(name.number) {
    LS_ASSERT(invited_.contains(coordinator_));
}

std::vector<ViewName> names_of(const std::vector<EpochStart>& epochs) {
    std::vector<ViewName> out;
    for (const EpochStart& epoch : epochs) out.push_back({epoch.view, epoch.id});
    return out;
}

namespace {
std::vector<ViewName> names_of(const Answer& answer) {
    std::vector<ViewName> out;
    for (const auto& view : {answer.accepted, answer.chosen})
        if (view) std::ranges::move(view::names_of(*view), std::back_inserter(out));
    for (const StreamHolding& holding : answer.streams)
        std::ranges::move(view::names_of(holding.epochs), std::back_inserter(out));
    return out;
}
}  // namespace

protocol::Result<void> Change::on_answer(Answer answer) {
    if (plan_ || !invited_.contains(answer.member.id)) return {};
    const std::vector<ViewName> names = names_of(answer);
    if (const auto conflict = views_.conflict(names); conflict && options_.lineage != Lineage::kRecovered) {
        on_unreachable(answer.member.id);
        return protocol::fail(protocol::ErrorCode::kConflict, "{}", explain_conflict(*conflict, answer.member.name));
    }
    views_.note(names);
    for (const auto& view : {answer.accepted, answer.chosen})
        if (view) greatest_seen_ = std::max(greatest_seen_, view->number);
    lost_.erase(answer.member.id);
    answers_.insert_or_assign(answer.member.id, std::move(answer));
    return {};
}

void Change::on_refusal(NodeId from, ViewNumber promised, std::vector<View> known) {
    if (plan_ || !invited_.contains(from)) return;
    overtaken_ |= std::ranges::any_of(known, [this](const View& view) { return view.number >= number(); });
    std::ranges::move(known, std::back_inserter(told_));
    refused_ = true;
    greatest_seen_ = std::max(greatest_seen_, promised);
    lost_.insert(from);
}

void Change::on_unreachable(NodeId node) {
    if (invited_.contains(node) && !answers_.contains(node)) lost_.insert(node);
}

bool Change::all_heard() const { return silent().empty(); }

std::vector<NodeId> Change::silent() const {
    std::vector<NodeId> out;
    for (NodeId id : invited_)
        if (!answers_.contains(id) && !lost_.contains(id)) out.push_back(id);
    return out;
}

bool Change::counts_without_vote() const { return options_.lineage != Lineage::kRecovered && !voters_know_all(); }

// Of survivors that a person names each one's log counts, that of a damaged one too.
bool Change::voters_know_all() const {
    const NodeSet voters = this->voters();
    if (options_.lineage == Lineage::kRecovered) return voters.size() == answers_.size();
    return quorum_of(bases(), voters);
}

NodeSet Change::voters() const {
    NodeSet out;
    for (const auto& [id, answer] : answers_)
        if (!answer.no_vote && !has_forgotten(answer)) out.insert(id);
    return out;
}

// Who accepted a newer view than those it forgot holds all that was committed in them.
bool Change::has_forgotten(const Answer& answer) const {
    if (options_.lineage == Lineage::kRecovered || protocol::planted(protocol::Bug::kForgetfulVotes)) return false;
    const auto forgot = [&](const Base& base) {
        return base.number > accepted_number(answer) && std::ranges::binary_search(base.members, answer.member.id) &&
               !remembers_promise(answer.promises, base);
    };
    const auto counts_on_it = [&](const View& view) {
        return forgot(view.base()) || std::ranges::any_of(view.bases, forgot);
    };
    return std::ranges::any_of(told_, counts_on_it) || std::ranges::any_of(answers_, [&](const auto& entry) {
               const Answer& other = entry.second;
               return (other.chosen && counts_on_it(*other.chosen)) ||
                      (other.accepted && counts_on_it(*other.accepted));
           });
}

std::optional<Member> Change::forgetful() const {
    for (const auto& [id, answer] : answers_)
        if (has_forgotten(answer)) return answer.member;
    return std::nullopt;
}

bool Change::quorum_of(const Bases& bases, const NodeSet& nodes) const {
    return std::ranges::all_of(bases.all, [&](const Base& base) { return is_quorum(base, nodes); });
}

namespace {

std::vector<Answer> values_of(const std::map<NodeId, Answer>& answers) {
    std::vector<Answer> out;
    for (const auto& [id, answer] : answers) out.push_back(answer);
    return out;
}

NodeSet keys_of(const std::map<NodeId, Answer>& answers) {
    NodeSet out;
    for (const auto& [id, answer] : answers) out.insert(id);
    return out;
}

// All members of all bases are among these.
bool all_members(const Bases& bases, const NodeSet& nodes) {
    return std::ranges::all_of(bases.all,
                               [&](const Base& base) { return count_members(base, nodes) == base.members.size(); });
}

}  // namespace

Bases Change::bases() const {
    return options_.lineage == Lineage::kRecovered ? Bases{} : bases_of(values_of(answers_));
}

// When nobody knows of a view: why this is no new lineage. Empty if it is one.
std::string Change::lost_lineage() const {
    if (options_.lineage == Lineage::kOld) return "no quorum: nobody in reach knows a view of this lineage";
    for (const auto& [id, answer] : answers_)
        for (const StreamHolding& holding : answer.streams)
            if (!protocol::is_internal(holding.stream) && holding.log_end > holding.log_start)
                return fmt::format("no quorum: {} holds records but does not know its last view", answer.member.name);
    return {};
}

bool Change::has_quorum() const {
    if (overtaken_ || !answers_.contains(coordinator_)) return false;
    if (options_.lineage == Lineage::kRecovered) return answers_.size() == invited_.size();
    const Bases bases = this->bases();
    if (bases.all.empty() && !lost_lineage().empty()) return false;
    if (quorum_of(bases, voters())) return true;
    // Those without a vote count only when there is nobody left who could know better.
    return all_members(bases, keys_of(answers_)) && damaged_beyond_all(bases).empty();
}

// Which log ends in damage beyond which nobody in reach has the records, though they may be committed: a majority of a
// base may have lost them. Empty when there is none. Others are waited for, however long, and only a person may give
// such records up; what a member may have lost because it was not flushed is another matter.
std::string Change::damaged_beyond_all(const Bases& bases) const {
    const NodeSet voters = this->voters();
    NodeSet without_vote;
    for (const auto& [id, answer] : answers_)
        if (!voters.contains(id)) without_vote.insert(id);
    if (std::ranges::none_of(
            bases.all, [&](const Base& base) { return 2 * count_members(base, without_vote) > base.members.size(); }))
        return {};
    std::map<StreamId, Offset> ends;
    for (const StreamPlan& plan : merge()) ends[plan.stream] = plan.log_end;
    for (const Answer* answer : base_log_holders())
        for (const StreamHolding& holding : answer->streams)
            if (holding.damaged() && holding.damaged_to > ends.at(holding.stream) && !answer->acknowledges_unflushed)
                return fmt::format(
                    "no quorum: stream {} is damaged at {} from offset {} on, and nobody in reach holds "
                    "these records up to {}",
                    protocol::to_string(holding.stream), answer->member.name, holding.damaged_from, holding.damaged_to);
    return {};
}

std::string Change::what_is_missing() const {
    if (options_.lineage == Lineage::kRecovered)
        return fmt::format("{} of the {} survivors have answered", answers_.size(), invited_.size());
    const Bases bases = this->bases();
    const NodeSet nodes = voters();
    if (bases.all.empty())
        if (std::string lost = lost_lineage(); !lost.empty()) return lost;
    if (all_members(bases, keys_of(answers_)))
        if (std::string damaged = damaged_beyond_all(bases); !damaged.empty()) return damaged;
    for (const Base& base : bases.all)
        if (!is_quorum(base, nodes))
            return fmt::format("no quorum: view {} has {} of {} members in reach", base.number,
                               count_members(base, nodes), base.members.size());
    return overtaken_ ? "another view has overtaken this one" : "no quorum: the coordinator itself has not answered";
}

bool Change::multicast_works(const std::vector<Member>& members) const {
    if (!options_.multicast_allowed) return false;
    if (options_.multicast_required) return true;
    for (const Member& receiver : members) {
        const std::vector<NodeId>& heard = answers_.at(receiver.id).multicast_heard;
        for (const Member& sender : members)
            if (sender.id != receiver.id && std::ranges::find(heard, sender.id) == heard.end()) return false;
    }
    return true;
}

namespace {

// The view that wrote the record before `end`; 0 when there is none, or the table does not reach back so far.
ViewNumber last_view(const std::vector<EpochStart>& epochs, Offset end) {
    ViewNumber out;
    for (const EpochStart& epoch : epochs)
        if (epoch.first < end) out = epoch.view;
    return out;
}

// Of two logs of the greatest accepted view the longer is the base log; of equal ones one that is whole.
bool is_better(const StreamHolding& a, const StreamHolding& b) {
    if (protocol::planted(protocol::Bug::kMergeByLastEpoch)) {
        const ViewNumber view_a = last_view(a.epochs, a.log_end);
        const ViewNumber view_b = last_view(b.epochs, b.log_end);
        if (view_a != view_b) return view_a > view_b;
    }
    return a.log_end != b.log_end ? a.log_end > b.log_end : b.damaged() && !a.damaged();
}

}  // namespace

// Those whose accepted view is the greatest. Who has no vote may have lost records that it acknowledged, and counts
// only when there is nobody left who could know better.
std::vector<const Answer*> Change::base_log_holders() const {
    if (protocol::planted(protocol::Bug::kMergeByLastEpoch)) {
        std::vector<const Answer*> all;
        for (const auto& [id, answer] : answers_) all.push_back(&answer);
        return all;
    }
    const bool voters_are_enough = voters_know_all();
    const NodeSet voters = this->voters();
    std::vector<const Answer*> out;
    ViewNumber greatest;
    for (const auto& [id, answer] : answers_) {
        if (voters_are_enough && !voters.contains(id)) continue;
        if (accepted_number(answer) > greatest) out.clear();
        greatest = std::max(greatest, accepted_number(answer));
        if (accepted_number(answer) == greatest) out.push_back(&answer);
    }
    return out;
}

// The views of a damaged log, with what another log tells of those in the damage. A view begins at one offset in all
// logs that have records of it, and what lies before is the same in all of them.
std::vector<EpochStart> Change::epochs_of(const StreamHolding& holding) const {
    if (!holding.damaged() || holding.damaged_from >= holding.log_end) return holding.epochs;
    const Offset damaged_to = std::min(holding.damaged_to, holding.log_end);
    const ViewNumber behind = last_view(holding.epochs, std::min(damaged_to + 1, holding.log_end));
    for (const auto& [id, answer] : answers_) {
        for (const StreamHolding& other : answer.streams) {
            if (other.stream != holding.stream || other.damaged()) continue;
            const auto known = std::ranges::find(other.epochs, behind, &EpochStart::view);
            if (known == other.epochs.end() || known->first > damaged_to) continue;
            std::vector<EpochStart> out(other.epochs.begin(), std::next(known));
            for (const EpochStart& epoch : holding.epochs)
                if (epoch.view > behind) out.push_back(epoch);
            return out;
        }
    }
    return holding.epochs;
}

namespace {

// Of survivors that a person named: a view of one number is another one there.
bool contradict(const std::vector<EpochStart>& a, const std::vector<EpochStart>& b) {
    return std::ranges::any_of(a, [&](const EpochStart& one) {
        return std::ranges::any_of(b, [&](const EpochStart& other) {
            return one.view == other.view && one.id != other.id && one.id.value != 0 && other.id.value != 0;
        });
    });
}

}  // namespace

// The base log comes from those whose accepted view is the greatest, per stream the longest log among them. Not the
// log whose last record has the greatest epoch: a record that a later view passed over could come back and replace
// committed ones.
std::vector<StreamPlan> Change::merge() const {
    const std::vector<const Answer*> holders = base_log_holders();
    std::map<StreamId, const StreamHolding*> best;
    for (const Answer* answer : holders)
        for (const StreamHolding& holding : answer->streams)
            if (const auto [at, fresh] = best.try_emplace(holding.stream, &holding);
                !fresh && is_better(holding, *at->second))
                at->second = &holding;
    std::map<StreamId, StreamPlan> merged;
    for (const auto& [stream, holding] : best)
        merged[stream] = {stream, holding->log_start, holding->log_end, epochs_of(*holding), {}, holding->bytes};
    for (const Answer* answer : holders) {
        for (const StreamHolding& holding : answer->streams) {
            StreamPlan& plan = merged.at(holding.stream);
            if (holding.log_end != plan.log_end || contradict(holding.epochs, plan.epochs)) continue;
            plan.sources.push_back(answer->member.id);
            // What only a damaged log holds cannot be had; if the base log is a whole one, it begins where that does.
            if (!holding.damaged() || best.at(holding.stream)->damaged())
                plan.log_start = std::min(plan.log_start, holding.log_start);
        }
    }
    if (!voters_know_all()) lengthen(merged);
    std::vector<StreamPlan> out;
    out.reserve(merged.size());
    for (auto& [stream, plan] : merged) out.push_back(std::move(plan));
    return out;
}

// When members without a vote had to be counted, the base log may have lost its end to damage. A member of an older
// view whose log goes on exactly where it ends knows better. (A view has one owner for a stream, so logs with the same
// view at one offset are the same up to there.)
void Change::lengthen(std::map<StreamId, StreamPlan>& base_log) const {
    for (const auto& [id, answer] : answers_) {
        for (const StreamHolding& holding : answer.streams) {
            StreamPlan& plan = base_log[holding.stream];
            plan.stream = holding.stream;
            if (holding.log_end <= plan.log_end ||
                last_view(plan.epochs, plan.log_end) != last_view(holding.epochs, plan.log_end))
                continue;
            plan = StreamPlan{holding.stream, holding.log_start, holding.log_end, holding.epochs, {id}, holding.bytes};
        }
    }
}

// About how many bytes of the base log the answer lacks; divergent tails are not looked into here. In floating point,
// since an answer may claim any offset.
double Change::bytes_behind(const Answer& answer, const std::vector<StreamPlan>& base) const {
    std::map<StreamId, Offset> ends;
    for (const StreamHolding& holding : answer.streams) ends[holding.stream] = holding.log_end;
    double behind = 0;
    for (const StreamPlan& plan : base) {
        const auto own = ends.find(plan.stream);
        const Offset from = own == ends.end() ? plan.log_start : std::max(own->second, plan.log_start);
        if (from >= plan.log_end) continue;
        const auto distance_to_end = [&](Offset at) {
            return static_cast<double>(plan.log_end.value) - static_cast<double>(at.value);
        };
        behind += static_cast<double>(plan.bytes) * distance_to_end(from) / distance_to_end(plan.log_start);
    }
    return behind;
}

// Those who answered, less the leaving and the far behind, but never so few that a base would lack its quorum.
std::vector<Member> Change::choose_members(const Bases& bases, const std::vector<StreamPlan>& base_log) const {
    std::vector<Member> wanted;
    std::vector<Member> all;
    NodeSet wanted_voters;
    const NodeSet voters = this->voters();
    for (const auto& [id, answer] : answers_) {
        all.push_back(answer.member);
        const bool stays =
            !answer.leaving && bytes_behind(answer, base_log) <= static_cast<double>(options_.max_behind_bytes);
        if (!stays && id != coordinator_) continue;
        wanted.push_back(answer.member);
        if (voters.contains(id)) wanted_voters.insert(id);
    }
    return quorum_of(bases, wanted_voters) ? wanted : all;
}

const Plan& Change::plan() {
    if (plan_) return *plan_;
    LS_ASSERT(has_quorum());
    const Bases bases = this->bases();
    Plan plan;
    plan.chosen = bases.chosen;
    plan.counted_without_vote = counts_without_vote();
    View& view = plan.view;
    view.number = name_.number;
    view.id = name_.id;
    view.coordinator = coordinator_;
    plan.streams = merge();
    view.members = choose_members(bases, plan.streams);  // from a map by id, hence sorted
    view.bases = bases.all;
    view.multicast = multicast_works(view.members);
    view.window_bytes = std::ranges::min(view.members, {}, &Member::window_bytes).window_bytes;
    // What a member says of itself may be anything.
    view.frame_bytes = std::max(std::ranges::min(view.members, {}, &Member::frame_bytes).frame_bytes,
                                static_cast<std::uint32_t>(protocol::kMinFrameBytes));
    view.version = std::ranges::min(view.members, {}, &Member::version).version;
    for (const auto& [id, answer] : answers_) plan.holders.push_back(answer.member);
    plan_ = std::move(plan);
    return *plan_;
}

void Change::on_accepted(NodeId node) {
    if (!plan_ || !plan_->view.has(node)) return;
    accepted_.insert(node);
    not_accepted_.erase(node);
}

void Change::on_not_accepted(NodeId node) {
    if (!accepted_.contains(node)) not_accepted_.insert(node);
}

bool Change::can_be_chosen() const {
    if (!plan_) return false;
    NodeSet possible;
    for (const Member& member : plan_->view.members)
        if (!not_accepted_.contains(member.id)) possible.insert(member.id);
    return chosen_by(plan_->view, possible);
}

bool Change::is_chosen() const { return plan_ && chosen_by(plan_->view, accepted_); }

}  // namespace logstream::view
