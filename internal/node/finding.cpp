// Node's part that finds a cluster, elects, and meets other clusters.
#include <algorithm>

#include "internal/node/node.h"

namespace logstream::node {

using protocol::hex;

namespace {
constexpr Duration kSeekTick = std::chrono::milliseconds(50);
// A broker with history asks its old view's members before it waits for a leader's answer.
constexpr Duration kFirstElectionAfter = std::chrono::milliseconds(250);
constexpr Duration kElectionInterval = std::chrono::milliseconds(300);
}  // namespace

void Node::seek(std::string_view reason) {
    if (left_ || core_.condemned()) return;
    learner_.stop();
    discovery_.set_mode(Discovery::Mode::kSeek);
    if (seek_timer_.value != 0) return;
    if (seek_said_.is_due(reason, core_.env.now()))
        core_.env.log().info("ClusterState view={} role=seeking reason={}", core_.record.chosen_number(), reason);
    next_election_ = core_.env.now() + kFirstElectionAfter + std::chrono::milliseconds(core_.env.random() % 100);
    seek_timer_ = core_.env.set_timer(kSeekTick, [this] { seek_tick(); });
}

void Node::seek_tick() {
    seek_timer_ = {};
    if (settled() || learner_.running()) return;
    look_for_twin();
    seek_timer_ = core_.env.set_timer(kSeekTick, [this] { seek_tick(); });
    if (coordinator_.running() || elector_.running() || core_.env.now() < next_election_) return;
    if (!has_history() && !may_bootstrap()) return;
    next_election_ = core_.env.now() + kElectionInterval + std::chrono::milliseconds(core_.env.random() % 200);
    elector_.start(core_.self, known_endpoints(), has_history() ? "no leader" : "bootstrap");
}

void Node::set_seeds(std::vector<Endpoint> seeds) {
    settings_.seeds = std::move(seeds);
    if (std::exchange(settings_.seeds_pending, false)) discovery_.begin_anew();
}

// A new broker bootstraps only when it has listened long enough and nobody with history is about.
bool Node::may_bootstrap() const {
    if (settings_.seeds_pending) return false;
    if (core_.env.now() - discovery_.seeking_since() < settings_.discovery_timeout) return false;
    std::size_t blank = 1;
    for (const Candidate& candidate : discovery_.candidates()) {
        if (candidate.has_history || candidate.leader) return false;
        ++blank;
    }
    return blank >= settings_.expect;
}

std::vector<Endpoint> Node::known_endpoints() const {
    std::vector<Endpoint> out = settings_.seeds;
    for (const auto& view : {core_.record.chosen, core_.record.accepted})
        if (view)
            for (const view::Member& member : view->members) out.push_back(address_of(member));
    for (const Candidate& candidate : discovery_.candidates()) out.push_back(address_of(candidate.node));
    return out;
}

bool Node::may_elect(const Reachable& found) {
    if (!core_.has_room || twin_) return false;
    if (elector_.forced() && !elsewhere_) return true;
    if (found.leader && found.leader->id != core_.self.id) {
        // Somebody leads: be taught by it. A member that only lost sight of it asks again soon. Who knows no lineage is
        // answered by leaders itself.
        if (!settled() && core_.record.cluster.value != 0) ask_leader(address_of(*found.leader));
        return false;
    }
    if (const auto why = why_outside()) {
        say_no_quorum(*why);
        return false;
    }
    if (is_leader() && settled()) return false;
    // A view change that this broker can take part in is waited for. One of an older number than it has promised may
    // go on for long, of a coordinator that has not heard so.
    if (found.changing.value != 0 && found.changing >= core_.record.promised) return false;
    view::NodeSet reachable;
    for (const auto& [id, member] : found.members) reachable.insert(id);
    if (!survivors_.empty())
        return std::ranges::all_of(survivors_, [&](NodeId survivor) { return reachable.contains(survivor); });
    if (core_.record.chosen) {
        const view::Base base = core_.record.chosen->base();
        if (view::is_quorum(base, reachable)) return true;
        say_no_quorum(fmt::format("no quorum: view {} has {} of {} members in reach", base.number,
                                  view::count_members(base, reachable), base.members.size()));
        return false;
    }
    if (has_history()) {
        say_no_quorum(
            "no quorum: this broker belongs to a cluster whose last view it does not know; it waits to learn it");
        return false;
    }
    return found.members.size() >= settings_.expect && may_bootstrap();
}

void Node::say_no_quorum(std::string text) {
    if (no_quorum_said_.is_due(text, core_.env.now()))
        core_.env.log().warn("ClusterState {}; writes are refused, committed records are served", text);
    no_quorum_ = std::move(text);
    seek("no quorum");
}

void Node::propose(std::vector<view::Member> invited, ClusterId lineage, std::string_view reason) {
    using Lineage = view::Change::Lineage;
    std::erase_if(invited,
                  [this](const view::Member& member) { return discovery_.why_not_of_our_family(member).has_value(); });
    if (!survivors_.empty()) {
        std::erase_if(invited, [&](const view::Member& member) { return !survivors_.contains(member.id); });
        return coordinator_.start(core_.record.cluster, Lineage::kRecovered, std::move(invited), reason);
    }
    if (lineage.value != 0) return coordinator_.start(lineage, Lineage::kOld, std::move(invited), reason);
    coordinator_.start(ClusterId{core_.env.random() | 1}, Lineage::kNew, std::move(invited), reason);
}

void Node::on_election(const proto::Election& message) {
    if ((is_leader() && settled() && !message.forced()) || left_ || why_outside()) return;
    const ClusterId own = core_.record.cluster;
    if (own.value != 0 && own.value != message.cluster_id()) return;  // it was none of ours a moment ago
    elector_.on_message(core_.self, message);
}

void Node::on_election_won(const std::vector<view::Member>& ring, ClusterId lineage) {
    if ((is_leader() && settled() && !elector_.forced()) || coordinator_.running() || left_) return;
    propose(ring, lineage, "elected");
}

proto::Join Node::describe_join() const {
    proto::Join out;
    out.set_cluster(settings_.cluster);
    *out.mutable_node() = view::to_proto(core_.self);
    out.set_cluster_id(core_.record.cluster.value);
    out.set_chosen(core_.record.chosen_number().value);
    out.set_has_records(core_.streams.has_user_records());
    out.set_has_history(has_history());
    out.set_leader(is_leader());
    out.set_members(serving_ ? static_cast<std::uint32_t>(serving_->members.size()) : 0);
    return out;
}

proto::JoinResponse Node::describe_answer() const {
    proto::JoinResponse out;
    out.set_cluster(settings_.cluster);
    out.set_cluster_id(core_.record.cluster.value);
    *out.mutable_responder() = view::to_proto(core_.self);
    if (serving_) *out.mutable_view() = view::to_proto(*serving_);
    out.set_serving(is_leader());
    out.set_has_records(core_.streams.has_user_records());
    return out;
}

proto::JoinResponse Node::on_join(const proto::Join& join, Endpoint from) {
    if (!join.client()) discovery_.on_join(join, from);
    return describe_answer();
}

void Node::on_candidate(const Candidate& candidate) {
    if (candidate.leader && candidate.cluster != core_.record.cluster) return ask_leader(address_of(candidate.node));
    if (const view::Member* old = is_leader() ? serving_->find(candidate.node.id) : nullptr;
        old != nullptr && old->incarnation != candidate.node.incarnation)
        on_restart_heard(candidate.node);
}

void Node::on_leader_found(const proto::JoinResponse& response) {
    if (settled() && ClusterId{response.cluster_id()} == core_.record.cluster) return;
    if (!learner_.running()) ask_leader(address_of(view::from_proto(response.responder())));
}

// Of two clusters of one name, bootstrapped apart, the one without user records gives way; if both have none, the
// one that serves fewer members, or none for lack of a quorum.
bool Node::yields_to(ClusterId other, std::uint32_t other_members, bool other_has_records) const {
    if (core_.record.cluster.value == 0 || !has_history()) return true;
    if (core_.streams.has_user_records()) return false;
    if (other_has_records) return true;
    // A view of its own lineage that counts on this broker may have been accepted somewhere.
    if (core_.record.promised > core_.record.chosen_number()) return false;
    const auto mine = settled() ? static_cast<std::uint32_t>(serving_->members.size()) : 0;
    return std::pair(other_members, other.value) > std::pair(mine, core_.record.cluster.value);
}

void Node::follow(Endpoint leader, ClusterId cluster, std::uint32_t members, bool leader_has_records) {
    if (core_.condemned() || (cluster.value != 0 && cluster == retired_from_)) return;
    if (cluster != core_.record.cluster && core_.record.cluster.value != 0) {
        if (!yields_to(cluster, members, leader_has_records)) {
            if (!core_.streams.has_user_records() || !leader_has_records) return;
            const std::string text = fmt::format(
                "cluster {} at {} has the same name and its own records; the two stay separate: `logstreamctl merge "
                "--from {}` copies its records here",
                hex(cluster.value), env::to_string(leader), env::to_string(leader));
            if (text != apart_) core_.env.log().error("ClusterState {}", text);
            apart_ = text;
            apart_heard_ = core_.env.now();
            return;
        }
        start_afresh("it holds no user records, and there is another cluster of this name");
    }
    // Its state is lost and its records are not: they are of another cluster than one without.
    if (core_.record.cluster.value == 0 && core_.streams.has_user_records() && !leader_has_records) return;
    if (settled() || learner_.running() || coordinator_.running()) return;
    elector_.stop();
    core_.env.cancel_timer(seek_timer_);
    seek_timer_ = {};
    disarm_watchdog();
    learner_.start(leader);
}

void Node::start_afresh(std::string_view why) {
    core_.env.log().warn("ClusterState this broker leaves lineage {} and starts afresh: {}",
                         hex(core_.record.cluster.value), why);
    elector_.stop();
    coordinator_.stop();
    learner_.stop();
    leave_view("the broker joins another cluster");
    serving_.reset();
    gone_.clear();
    topics_.reset();
    groups_.reset();
    for (StreamId id : core_.store.streams()) streams_.remove(id);
    // Under a new id, as with a new disk: what it promised in the lineage that it leaves is forgotten.
    core_.record = view::Record::made_for(NodeId{core_.env.random() | 1});
    core_.self.id = core_.record.node;
    core_.record.machine = settings_.machine;
    elsewhere_ = false;
    links_.introduce_as(view::to_proto(core_.self));
    core_.persist([] {});
    seek("starting afresh");
}

void Node::on_taught(ClusterId cluster, const view::View& view, std::function<void()> recorded) {
    if (core_.record.cluster.value != 0 && core_.record.cluster != cluster)
        return seek("the leader belongs to another lineage");
    if (view.has(core_.self.id) && view.number > core_.record.accepted_number() &&
        !core_.record.remembers_promise(view.base())) {
        core_.env.log().error(
            "STATE view {} counts on this broker, which does not remember promising it: its data folder is an older "
            "copy. It has no vote until it has caught up",
            view.number);
        core_.record.must_relearn = true;
    }
    // A leader that was left behind does not know what is committed since.
    if (view.number < std::max(core_.record.chosen_number(), core_.record.accepted_number()))
        return seek("the leader's view is older than what this broker accepted");
    if (participant_.installing() > view.number) return seek("a newer view is being installed");
    participant_.stop_installing();
    core_.record.cluster = cluster;
    // Nobody counts on what the folder promised any more.
    if (elsewhere_ && !view.has(core_.self.id)) {
        elsewhere_ = false;
        core_.record.machine = settings_.machine;
        core_.env.log().warn("IDENTITY view {} was formed without this broker: it rejoins as a new member",
                             view.number);
    }
    if (core_.record.learn_chosen(view) && participant_.installed() && participant_.installed()->number < view.number)
        leave_view("the cluster moved on to a view without this broker");
    // A member that only missed the news that its own view was chosen.
    if (const auto& installed = participant_.installed(); installed && *installed == view && !serving()) {
        if (participant_.frozen()) return core_.persist(std::move(recorded));
        learner_.stop();
        return on_chosen(view);
    }
    core_.persist(std::move(recorded));
}

}  // namespace logstream::node
