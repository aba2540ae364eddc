// Node's part that finds a cluster, elects, and decides when the view has to change.
#include <algorithm>

#include "internal/node/node.h"

namespace logstream::node {

using protocol::hex;

namespace {
constexpr Duration kSeekTick = std::chrono::milliseconds(50);
// A broker with history asks its old view's members before it waits for a leader's answer.
constexpr Duration kFirstElectionAfter = std::chrono::milliseconds(250);
constexpr Duration kElectionInterval = std::chrono::milliseconds(300);
constexpr Duration kOutsiderMemory = std::chrono::seconds(2);
constexpr Duration kFirstBackOff = std::chrono::milliseconds(200);
constexpr Duration kMaxBackOff = std::chrono::seconds(30);
constexpr Duration kVerdictTimeout = std::chrono::milliseconds(250);
// How long a learner's inclusion waits for multicast to be heard both ways before the view goes by TCP.
constexpr Duration kMulticastPatience = std::chrono::seconds(1);
constexpr Duration kStableAfter = std::chrono::seconds(30);
// What a member that promised or accepted waits for its coordinator to go on.
constexpr Duration kFrozenPatience = std::chrono::milliseconds(1200);
}  // namespace

// ---- Finding
// ----------------------------------------------------------------------------------------------------------

void Node::seek(std::string_view reason) {
    if (left_) return;
    learner_.stop();
    discovery_.set_mode(Discovery::Mode::kSeek);
    if (seek_timer_.value != 0) return;
    core_.env.log().info("ClusterState view={} role=seeking reason={}", core_.record.chosen_number(), reason);
    next_election_ = core_.env.now() + kFirstElectionAfter + std::chrono::milliseconds(core_.env.random() % 100);
    seek_timer_ = core_.env.set_timer(kSeekTick, [this] { seek_tick(); });
}

void Node::seek_tick() {
    seek_timer_ = {};
    if (settled() || learner_.running()) return;
    seek_timer_ = core_.env.set_timer(kSeekTick, [this] { seek_tick(); });
    if (coordinator_.running() || elector_.running() || core_.env.now() < next_election_) return;
    if (!has_history() && !may_bootstrap()) return;
    next_election_ = core_.env.now() + kElectionInterval + std::chrono::milliseconds(core_.env.random() % 200);
    elector_.start(core_.self, known_endpoints(), has_history() ? "no leader" : "bootstrap");
}

// A new broker bootstraps only when it has listened long enough and nobody with history is about.
bool Node::may_bootstrap() const {
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
    coordinator_.saw(found.greatest);
    if (elector_.forced()) return true;
    if (found.leader && found.leader->id != core_.self.id) {
        // Somebody leads: be taught by it. A member that only lost sight of it asks again soon.
        if (!settled()) follow(address_of(*found.leader), core_.record.cluster, false);
        return false;
    }
    if (is_leader() && settled()) return false;
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
        say_no_quorum("no quorum: this broker holds records and does not know its last view; it waits for its cluster");
        return false;
    }
    return found.members.size() >= settings_.expect && may_bootstrap();
}

void Node::say_no_quorum(std::string text) {
    const protocol::TimePoint now = core_.env.now();
    if (text != no_quorum_ || now - no_quorum_said_ > std::chrono::seconds(5)) {
        core_.env.log().warn("ClusterState {}; writes are refused, what is committed is served", text);
        no_quorum_said_ = now;
    }
    no_quorum_ = std::move(text);
    seek("no quorum");
}

void Node::propose(std::vector<view::Member> invited, std::string_view reason) {
    using Lineage = view::Change::Lineage;
    if (!survivors_.empty()) {
        std::erase_if(invited, [&](const view::Member& member) { return !survivors_.contains(member.id); });
        return coordinator_.start(core_.record.cluster, Lineage::kRecovered, std::move(invited), reason);
    }
    if (core_.record.cluster.value != 0)
        return coordinator_.start(core_.record.cluster, Lineage::kOld, std::move(invited), reason);
    for (const Candidate& candidate : discovery_.candidates())  // one that accepted a first view that was never chosen
        if (candidate.cluster.value != 0)
            return coordinator_.start(candidate.cluster, Lineage::kOld, std::move(invited), reason);
    coordinator_.start(ClusterId{core_.env.random() | 1}, Lineage::kNew, std::move(invited), reason);
}

void Node::on_election(const proto::Election& message) {
    if ((is_leader() && settled() && !message.forced()) || left_) return;
    elector_.on_message(core_.self, message);
}

void Node::on_election_won(const std::vector<view::Member>& ring) {
    if ((is_leader() && settled() && !elector_.forced()) || coordinator_.running() || left_) return;
    propose(ring, "elected");
}

proto::Join Node::describe_join() const {
    proto::Join out;
    out.set_cluster(settings_.cluster);
    *out.mutable_node() = view::to_proto(core_.self);
    out.set_cluster_id(core_.record.cluster.value);
    out.set_chosen(core_.record.chosen_number().value);
    out.set_promised(core_.record.promised.value);
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

// ---- Meeting others
// -----------------------------------------------------------------------------------------------------

void Node::on_candidate(const Candidate& candidate) {
    coordinator_.saw(candidate.promised);
    if (candidate.leader && candidate.cluster != core_.record.cluster)
        return follow(address_of(candidate.node), candidate.cluster, candidate.has_records);
    // A member that restarted: its old run is dead for certain.
    if (const view::Member* old = is_leader() ? serving_->find(candidate.node.id) : nullptr;
        old != nullptr && old->incarnation != candidate.node.incarnation && excluded_.insert(old->id).second)
        want_change("a member restarted");
}

void Node::on_leader_found(const proto::JoinResponse& response) {
    if (left_) return;
    follow(address_of(view::from_proto(response.responder())), ClusterId{response.cluster_id()},
           response.has_records());
}

// Of two clusters of one name, bootstrapped apart, the one without user records gives way; if both have none, the
// lesser.
bool Node::yields_to(ClusterId other, std::uint32_t other_members, bool other_has_records) const {
    if (core_.record.cluster.value == 0 || !has_history()) return true;
    if (core_.streams.has_user_records()) return false;
    if (other_has_records) return true;
    const auto mine = serving_ ? static_cast<std::uint32_t>(serving_->members.size()) : 0;
    return std::pair(other_members, other.value) > std::pair(mine, core_.record.cluster.value);
}

void Node::follow(Endpoint leader, ClusterId cluster, bool leader_has_records) {
    if (cluster != core_.record.cluster && core_.record.cluster.value != 0) {
        std::uint32_t members = 0;
        for (const Candidate& candidate : discovery_.candidates())
            if (address_of(candidate.node) == leader) members = candidate.members;
        if (!yields_to(cluster, members, leader_has_records)) {
            if (!core_.streams.has_user_records() || !leader_has_records) return;
            const std::string text = fmt::format(
                "the cluster {} at {} has the same name and records of its own; they stay apart: `logstreamctl merge "
                "--from {}` "
                "copies its records here",
                hex(cluster.value), env::to_string(leader), env::to_string(leader));
            if (text != apart_) core_.env.log().error("ClusterState {}", text);
            apart_ = text;
            return;
        }
        start_afresh("it holds no user records, and another cluster of this name is there");
    }
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
    replicator_.stop("the broker joins another cluster");
    participant_.reset();
    serving_.reset();
    topics_.reset();
    groups_.reset();
    for (StreamId id : core_.store.streams()) streams_.remove(id);
    view::Record fresh;
    fresh.node = core_.record.node;
    core_.record = fresh;
    core_.persist([] {});
    seek("starting afresh");
}

void Node::on_taught(ClusterId cluster, const view::View& view, std::function<void()> recorded) {
    if (core_.record.cluster.value != 0 && core_.record.cluster != cluster)
        return seek("the leader belongs to another lineage");
    // A leader that was left behind does not know what is committed since.
    if (view.number < std::max(core_.record.chosen_number(), core_.record.accepted_number()))
        return seek("the leader's view is older than what this broker accepted");
    core_.record.cluster = cluster;
    coordinator_.saw(view.number);
    if (core_.record.learn_chosen(view) && participant_.installed() && participant_.installed()->number < view.number)
        participant_.reset();  // others went on: this run re-enters by a new view
    // A member that only missed the news that its own view was chosen.
    if (const auto& installed = participant_.installed(); installed && *installed == view && !serving()) {
        if (participant_.frozen()) return core_.persist(std::move(recorded));
        learner_.stop();
        return on_chosen(view);
    }
    core_.persist(std::move(recorded));
}

// ---- Changing
// -----------------------------------------------------------------------------------------------------------

void Node::on_member_failed(NodeId member) {
    coordinator_.lost(member);
    // Whoever leaves while another one goes waits for nobody: what is acknowledged is on disk.
    if (left_) return finish_leaving();
    if (!serving_ || !participant_.installed()) return;
    Removal& removal = removals_[member];
    ++removal.count;
    excluded_.insert(member);
    if (serving_->coordinator == core_.self.id) return want_change("a member failed");
    if (member == serving_->coordinator) {
        std::vector<Endpoint> known;
        for (const view::Member& other : serving_->members) known.push_back(address_of(other));
        elector_.start(core_.self, std::move(known), "the leader failed");
        return;
    }
    proto::PeerReport report;
    report.set_cluster_id(core_.record.cluster.value);
    report.set_view(serving_->number.value);
    report.set_node(core_.self.id.value);
    report.add_unreachable(member.value);
    links_.send(address_of(*serving_->find(serving_->coordinator)),
                protocol::request(MessageType::kPeerReport, Correlation{}, report));
}

void Node::on_peer_report(const proto::PeerReport& report) {
    if (!is_leader() || report.cluster_id() != core_.record.cluster.value || report.view() != serving_->number.value)
        return;
    const NodeId reporter{report.node()};
    if (!serving_->has(reporter)) return;
    for (std::uint64_t id : report.slow())
        if (serving_->has(NodeId{id}) && NodeId{id} != core_.self.id) remove_member(NodeId{id}, "it stays behind");
    for (std::uint64_t id : report.unreachable()) {
        const NodeId accused{id};
        const view::Member* member = serving_->find(accused);
        if (member == nullptr || accused == core_.self.id || excluded_.contains(accused)) continue;
        // Dead, or only the link between these two? Who answers the leader lives.
        proto::Probe probe;
        *probe.mutable_from() = view::to_proto(core_.self);
        links_.request(
            address_of(*member), MessageType::kProbe, probe, kVerdictTimeout,
            [this, accused, reporter, view = serving_->number, weak = std::weak_ptr<bool>(alive_)](auto reply) {
                if (!weak.lock() || !is_leader() || serving_->number != view) return;
                proto::ProbeResponse response;
                const bool lives = reply && reply->parse(response) && NodeId{response.node().id()} == accused;
                if (!lives) return remove_member(accused, "it does not answer");
                // Each misses one other: the lesser id goes.
                remove_member(std::min(accused, reporter), "its link to another member is down");
            });
    }
}

void Node::remove_member(NodeId member, std::string_view why) {
    if (member == core_.self.id || !excluded_.insert(member).second) return;
    Removal& removal = removals_[member];
    removal.not_before =
        core_.env.now() + std::min<Duration>(kFirstBackOff * (1u << std::min(removal.count, 8u)), kMaxBackOff);
    ++removal.count;
    core_.env.log().warn("VIEW member={} is removed: {}", hex(member.value), why);
    want_change(why);
}

void Node::want_change(std::string_view reason) {
    change_reason_ = reason;
    if (change_timer_.value != 0 || left_) return;
    change_timer_ = core_.env.set_timer(Duration{0}, [this] {
        change_timer_ = {};
        begin_change();
    });
}

std::vector<view::Member> Node::invited_to_change() {
    const protocol::TimePoint now = core_.env.now();
    std::erase_if(ready_learners_, [&](const auto& entry) { return now - entry.second.heard > kOutsiderMemory; });
    std::vector<view::Member> invited;
    for (const view::Member& member : serving_->members)
        if (!excluded_.contains(member.id) && !watch_.failed(member.id)) invited.push_back(member);
    for (const auto& [id, learner] : ready_learners_) {
        const auto removal = removals_.find(id);
        if (removal != removals_.end() && now < removal->second.not_before) continue;
        if (banned_.contains(learner.member.incarnation)) continue;
        std::erase_if(invited, [id = id](const view::Member& member) { return member.id == id; });
        invited.push_back(learner.member);
    }
    return invited;
}

void Node::begin_change() {
    if (!serving_ || serving_->coordinator != core_.self.id || !participant_.installed() || coordinator_.running())
        return;
    std::vector<view::Member> invited = invited_to_change();
    // Nothing to change: the same runs of the same members, nobody wants to leave, none lost sight of the others.
    const bool same =
        std::ranges::all_of(invited,
                            [&](const view::Member& m) {
                                return serving_->has(m.id, m.incarnation) && !ready_learners_.contains(m.id);
                            }) &&
        invited.size() == serving_->members.size();
    if (same && leaving_.empty() && serving()) return;
    view::NodeSet ids;
    for (const view::Member& member : invited) ids.insert(member.id);
    if (!view::is_quorum(serving_->base(), ids)) {
        // Do not raise numbers on a side that cannot win: look for the others first.
        say_no_quorum(fmt::format("no quorum: view {} has {} of {} members in reach", serving_->number,
                                  view::count_members(serving_->base(), ids), serving_->members.size()));
        return;
    }
    propose(std::move(invited), change_reason_);
}

void Node::on_freeze() {
    learner_.stop();
    replicator_.stop("the view is changing; the outcome is not known, retry");
    service_.on_freeze();
    orphans_.stop();
    repair_.stop();
    arm_watchdog(kFrozenPatience);
}

void Node::on_accepted(const view::View& view) {
    learner_.stop();
    core_.env.cancel_timer(seek_timer_);
    seek_timer_ = {};
    base_ends_.clear();
    for (const auto& [id, stream] : core_.streams.all()) base_ends_[id] = stream.log->log_end();
    watch_.watch(view, core_.self);
    replicator_.prepare(view);
    std::vector<Endpoint> addresses;
    for (const view::Member& member : view.members) addresses.push_back(address_of(member));
    links_.keep_only(addresses);
    arm_watchdog(kFrozenPatience);
}

void Node::on_view_chosen(const proto::ViewChosen& message) {
    if (message.cluster_id() != core_.record.cluster.value) return;
    auto view = view::from_proto(message.view());
    if (!view) return;
    coordinator_.saw(view->number);
    const auto& installed = participant_.installed();
    if (installed && *installed == *view && !participant_.frozen()) return on_chosen(*view);
    if (view->number < core_.record.chosen_number() || view->has(core_.self.id)) return;
    // The view went on without this node: it left in order, or it comes back as a learner.
    core_.record.learn_chosen(*view);
    participant_.reset();
    if (left_) return finish_leaving();
    core_.persist([] {});
    seek("the view went on without this broker");
}

void Node::on_chosen(const view::View& view) {
    if (serving_ && serving_->number == view.number) return;
    if (core_.record.learn_chosen(view) || core_.record.chosen_number() == view.number) core_.persist([] {});
    disarm_watchdog();
    elector_.stop();
    serving_ = view;
    ring_ = ring::HashRing(view.ids());
    no_quorum_.clear();
    survivors_.clear();
    apart_.clear();
    attempts_ = 0;
    excluded_.clear();
    leaving_.clear();
    for (const view::Member& member : view.members) {
        ready_learners_.erase(member.id);
        learners_.erase(member.id);
    }
    std::erase_if(removals_,
                  [&](const auto& entry) { return core_.env.now() - entry.second.not_before > kStableAfter; });
    discovery_.set_mode(is_leader() ? Discovery::Mode::kAnnounce : Discovery::Mode::kQuiet);
    core_.env.log().info("ClusterState view={} leader={} members={} role={} transport={}", view.number,
                         hex(view.coordinator.value), view.members.size(), is_leader() ? "leader" : "follower",
                         view.multicast ? "multicast" : "tcp");
    if (!view.multicast && view.members.size() > 1 && settings_.transport == Transport::kAuto && is_leader())
        core_.env.log().warn(
            "REPLICATE multicast does not reach every member: replication goes by TCP. Allow UDP multicast "
            "between the brokers (switch IGMP snooping, firewall), check with netdiag");
    // All of the base log is committed.
    for (const auto& [id, end] : base_ends_)
        if (Stream* stream = core_.streams.find(id)) core_.streams.advance(*stream, end);
    base_ends_.clear();
    replicator_.serve();
    groups_.take_over();
    service_.on_serving();
    orphans_.start();
    // Every pair of members keeps a link, so that a killed process is noticed by all at once.
    proto::Probe probe;
    *probe.mutable_from() = view::to_proto(core_.self);
    for (const view::Member& member : view.members)
        if (member.id != core_.self.id)
            links_.request(address_of(member), MessageType::kProbe, probe, std::chrono::seconds(1), [](auto) {});
    // Members may have failed while the view was being installed.
    for (const view::Member& member : view.members)
        if (watch_.failed(member.id)) on_member_failed(member.id);
}

void Node::on_change_failed(Coordinator::Failure failure, const std::string& reason) {
    ++attempts_;
    const bool beaten_by_other = core_.record.promised_to != core_.self.id;
    if (failure == Coordinator::Failure::kNoQuorum) say_no_quorum(reason);
    if (failure == Coordinator::Failure::kBeaten && beaten_by_other) return arm_watchdog(kFrozenPatience);
    // Again, above the number that beat this one, after a random pause so that two coordinators do not keep pace.
    const std::uint64_t most_ms = 20u << std::min(attempts_, 5u);
    arm_watchdog(std::chrono::milliseconds(5 + core_.env.random() % most_ms));
}

void Node::arm_watchdog(Duration after) {
    disarm_watchdog();
    if (left_) return;
    watchdog_ = core_.env.set_timer(after + std::chrono::milliseconds(core_.env.random() % 50), [this] {
        watchdog_ = {};
        if (coordinator_.running() || learner_.running()) return;
        elector_.start(core_.self, known_endpoints(), "the view change did not end");
        if (!settled()) seek("the view change did not end");
    });
}

void Node::disarm_watchdog() {
    core_.env.cancel_timer(watchdog_);
    watchdog_ = {};
}

// ---- Messages of other brokers
// ----------------------------------------------------------------------------------------

proto::ProbeResponse Node::on_probe(const proto::Probe&) {
    proto::ProbeResponse out;
    *out.mutable_node() = view::to_proto(core_.self);
    out.set_cluster_id(core_.record.cluster.value);
    out.set_promised(core_.record.promised.value);
    out.set_chosen(core_.record.chosen_number().value);
    out.set_serving(serving() && !left_ && !watch_.failed(serving_->coordinator) && watch_.majority_in_reach());
    if (out.serving()) *out.mutable_leader() = view::to_proto(*serving_->find(serving_->coordinator));
    out.set_has_history(has_history());
    return out;
}

proto::LearnResponse Node::on_learn(const proto::Learn& request) {
    proto::LearnResponse out;
    out.set_cluster_id(core_.record.cluster.value);
    if (request.cluster_id() != 0 && request.cluster_id() != core_.record.cluster.value) {
        *out.mutable_error() = to_proto(Error{ErrorCode::kWrongCluster, "this leader belongs to another lineage"});
        return out;
    }
    if (!is_leader()) {
        *out.mutable_error() = to_proto(Error{ErrorCode::kWrongOwner, "this broker is not the leader"});
        return out;
    }
    *out.mutable_chosen() = view::to_proto(*serving_);
    Outsider learner{view::from_proto(request.node()), core_.env.now(), core_.env.now()};
    if (const auto known = learners_.find(learner.member.id);
        known != learners_.end() && known->second.member.incarnation == learner.member.incarnation &&
        learner.heard - known->second.heard < kOutsiderMemory)
        learner.since = known->second.since;
    if (learners_.size() < 256) learners_[learner.member.id] = learner;
    const std::vector<NodeId> heard_here = multicast_heard();
    const bool heard_both_ways =
        std::ranges::find(heard_here, learner.member.id) != heard_here.end() &&
        std::ranges::all_of(serving_->members, [&](const view::Member& member) {
            return std::ranges::find(request.multicast_heard(), member.id.value) != request.multicast_heard().end() ||
                   member.id == learner.member.id;
        });
    const bool wait_for_multicast = settings_.transport == Transport::kAuto && !heard_both_ways &&
                                    learner.heard - learner.since < kMulticastPatience;
    if (request.ready() && !wait_for_multicast && ready_learners_.size() < view::kMaxMembers &&
        !banned_.contains(learner.member.incarnation)) {
        ready_learners_[learner.member.id] = learner;
        want_change("a learner is ready");
    }
    return out;
}

proto::SummaryResponse Node::on_summary(const proto::Summary& request) {
    proto::SummaryResponse out;
    if (request.cluster_id() != core_.record.cluster.value)
        *out.mutable_error() = to_proto(Error{ErrorCode::kWrongCluster, "this broker belongs to another lineage"});
    else if (!serving())
        *out.mutable_error() = to_proto(Error{ErrorCode::kNoQuorum, "this broker serves no view now"});
    else
        for (const view::StreamHolding& holding : core_.streams.holdings(Streams::Extent::kWhole))
            *out.add_streams() = view::to_proto(holding);
    if (serving()) out.set_view(serving_->number.value);
    return out;
}

proto::HandoverResponse Node::on_handover(const proto::Handover& request) {
    proto::HandoverResponse out;
    const NodeId leaver{request.leaving()};
    if (!serving() || request.cluster_id() != core_.record.cluster.value || !serving_->has(leaver) ||
        coordinator_.running() || left_) {
        *out.mutable_error() = to_proto(Error{ErrorCode::kBusy, "this broker cannot change the view now"});
        return out;
    }
    leaving_.insert(leaver);
    if (is_leader()) {
        want_change("a member leaves");
    } else {
        // The leader leaves and this is its heir.
        propose(serving_->members, "the leader leaves");
    }
    return out;
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
            to_proto(Error{ErrorCode::kInvalid, "this broker is in a view that works, or is not named as a survivor"});
        return;
    }
    core_.env.log().warn(
        "ClusterState recover: lineage {} goes on as {} from {} survivors; what only others held is lost",
        hex(core_.record.cluster.value), hex(request.cluster_id()), survivors.size());
    elector_.stop();
    coordinator_.stop();
    learner_.stop();
    replicator_.stop("the cluster is being recovered");
    participant_.reset();
    serving_.reset();
    core_.record.cluster = ClusterId{request.cluster_id()};
    core_.record.must_relearn = false;
    survivors_ = survivors;
    core_.persist([] {});
    seek("recovering");
    out.set_message(fmt::format("the survivors make a new lineage {}", hex(request.cluster_id())));
}

proto::AdminResponse Node::on_admin(const proto::Admin& request) {
    proto::AdminResponse out;
    const NodeId target{request.node()};
    switch (request.action()) {
        case proto::Admin::ELECT:
            elector_.start(core_.self, known_endpoints(), "asked by an operator", Elector::Force::kYes);
            out.set_message("an election runs");
            break;
        case proto::Admin::REMOVE:
            if (!is_leader() || !serving_->has(target) || target == core_.self.id) {
                *out.mutable_error() =
                    to_proto(Error{ErrorCode::kInvalid, "ask the leader, and name another member of the view"});
                break;
            }
            excluded_.insert(target);
            banned_.insert(serving_->find(target)->incarnation);
            want_change("removed by an operator");
            out.set_message("the member is removed until it is restarted");
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
            out.set_message("the broker hands its streams over and stays outside the view until it is restarted");
            break;
        }
        case proto::Admin::SEAL:
        case proto::Admin::RETIRE:
            if (ClusterId{request.cluster_id()} != core_.record.cluster) {
                *out.mutable_error() =
                    to_proto(Error{ErrorCode::kWrongCluster, "this broker belongs to another lineage"});
                break;
            }
            sealed_ = true;
            out.set_message("no more records are accepted");
            if (request.action() == proto::Admin::SEAL) break;
            sealed_ = false;
            start_afresh("all it held was copied to another lineage");
            out.set_message("the broker joins the other cluster");
            break;
        case proto::Admin::RECOVER:
            recover(request, out);
            break;
        default:
            *out.mutable_error() = to_proto(Error{ErrorCode::kInvalid, "this action is not known here"});
    }
    return out;
}

}  // namespace logstream::node
