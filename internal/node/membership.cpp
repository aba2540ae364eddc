// Node's part that decides when the view has to change, and what a change means for this broker.
#include <algorithm>
#include <tuple>

#include "internal/node/node.h"

namespace logstream::node {

using protocol::hex;

namespace {
constexpr Duration kFirstBackOff = std::chrono::milliseconds(200);
// Nothing flaps, and nobody is kept out for long. A learner that does not promise in time freezes the others for 400
// ms: for a tenth of the time, then.
constexpr Duration kMaxBackOff = std::chrono::seconds(5);
constexpr Duration kVerdictTimeout = std::chrono::milliseconds(250);
constexpr Duration kDeafPatience = std::chrono::seconds(1);
// How long a learner's inclusion waits for multicast to be heard both ways before the view goes by TCP.
constexpr Duration kMulticastPatience = std::chrono::seconds(1);
constexpr Duration kMostMulticastPatience = std::chrono::seconds(64);
constexpr Duration kStableAfter = std::chrono::seconds(30);
// What a member that promised or accepted waits for its coordinator to go on.
constexpr Duration kFrozenPatience = std::chrono::milliseconds(1200);

// A view that seems to begin right behind damage may have begun within it: a learner would cut its own log by that.
bool knows_its_views(const Streams& streams) {
    return std::ranges::none_of(streams.all(), [](const auto& entry) {
        const storage::StreamLog& log = *entry.second.log;
        return std::ranges::any_of(log.damages(), [&](const storage::DamageRange& damage) {
            return std::ranges::count(log.epochs().entries(), damage.to, &storage::EpochStart::first) > 0;
        });
    });
}
}  // namespace

void Node::on_member_failed(NodeId member) {
    coordinator_.lost(member);
    // Whoever leaves while another one goes waits for nobody: what is acknowledged is on disk.
    if (left_) return finish_leaving();
    if (!serving_ || !participant_.installed()) return;
    Removal& removal = removals_[member];
    ++removal.count;
    tenure_.excluded.insert(member);
    if (serving_->coordinator == core_.self.id) return want_change("a member failed");
    if (leader_failed()) {
        std::vector<Endpoint> known;
        for (const view::Member& other : serving_->members) known.push_back(address_of(other));
        elector_.start(core_.self, std::move(known), "the leader failed");
        return;
    }
    send_heartbeat(Beat::kExtra);  // the leader hears at once who is lost
}

// A member's heartbeat says whom it does not hear: the leader decides who goes.
void Node::on_reach_report(NodeId reporter, const proto::Heartbeat& heartbeat) {
    if (!is_leader() || tenure_.excluded.contains(reporter)) return;
    std::set<NodeId> lost;
    for (std::uint64_t id : heartbeat.lost())
        if (serving_->has(NodeId{id})) lost.insert(NodeId{id});
    std::set<NodeId> multicast_heard;
    for (std::uint64_t id : heartbeat.multicast_heard())
        if (serving_->has(NodeId{id})) multicast_heard.insert(NodeId{id});
    tenure_.reach.report(reporter, lost, std::move(multicast_heard), core_.env.now());
    // It does not hear this leader, which hears it. At first it tries to come back as a learner.
    if (tenure_.reach.lost_for(reporter, core_.self.id, core_.env.now()) > kDeafPatience)
        return remove_member(reporter, "it does not hear the leader");
    for (NodeId accused : lost)
        if (accused != core_.self.id && !tenure_.excluded.contains(accused) && tenure_.judged.insert(accused).second)
            judge_link(accused, reporter);
}

// The one that fewer members reach, then the one that owns less, then the lesser id.
NodeId Node::less_missed_of(NodeId a, NodeId b) const {
    return std::ranges::min({a, b}, {}, [this](NodeId node) {
        const auto owned = std::ranges::count_if(core_.streams.all(),
                                                 [&](const auto& entry) { return owner_of(entry.first)->id == node; });
        return std::tuple(-static_cast<std::ptrdiff_t>(tenure_.reach.links_down(node)), owned, node);
    });
}

// Dead, or only the link between these two? Who answers the leader lives; then, when all reports are in, one of the two
// goes.
void Node::judge_link(NodeId accused, NodeId reporter) {
    const auto in_this_view = [this, view = serving_->number](auto then) {
        return lifetime_.guard([this, view, then](auto&&... args) {
            if (is_leader() && serving_->number == view) then(std::forward<decltype(args)>(args)...);
        });
    };
    proto::Probe probe;
    *probe.mutable_from() = view::to_proto(core_.self);
    links_.request(address_of(*serving_->find(accused)), MessageType::kProbe, probe, kVerdictTimeout,
                   in_this_view([this, accused, reporter, in_this_view](Result<Message> reply) {
                       proto::ProbeResponse response;
                       const bool lives = reply && reply->parse(response) && !response.outside() &&
                                          NodeId{response.node().id()} == accused;
                       if (!lives) return remove_member(accused, "it does not answer");
                       core_.env.set_timer(settings_.heartbeat, in_this_view([this, accused, reporter] {
                                               tenure_.judged.erase(accused);
                                               if (!tenure_.reach.lost(reporter, accused)) return;
                                               remove_member(less_missed_of(accused, reporter),
                                                             "its link to another member is down");
                                           }));
                   }));
}

// A view that replicates by TCP gives way to one by multicast once that has reached everybody for a while; for twice as
// long after each time, so that a network that lets it through now and then does not cost a view change now and then.
void Node::look_for_multicast() {
    const protocol::TimePoint now = core_.env.now();
    const std::vector<NodeId> heard = multicast_heard();
    const std::vector<NodeId> lost = watch_.failed();
    tenure_.reach.report(core_.self.id, {lost.begin(), lost.end()}, {heard.begin(), heard.end()}, now);
    if (serving_->multicast || settings_.transport != Transport::kAuto || serving_->members.size() < 2 ||
        !tenure_.reach.multicast_reaches_all(serving_->members)) {
        tenure_.multicast_back_since = now;
        return;
    }
    if (now - tenure_.multicast_back_since < multicast_patience_) return;
    multicast_patience_ = std::min(2 * multicast_patience_, kMostMulticastPatience);
    tenure_.wants_multicast = true;
    want_change("multicast reaches every member again");
}

void Node::on_peer_report(const proto::PeerReport& report) {
    if (!is_leader() || report.cluster_id() != core_.record.cluster.value || report.view() != serving_->number.value)
        return;
    if (!serving_->has(NodeId{report.node()})) return;
    for (std::uint64_t id : report.slow())
        if (serving_->has(NodeId{id}) && NodeId{id} != core_.self.id) remove_member(NodeId{id}, "it stays behind");
}

void Node::remove_member(NodeId member, std::string_view why) {
    if (member == core_.self.id || !tenure_.excluded.insert(member).second) return;
    keep_out(member);
    core_.env.log().warn("VIEW member={} is removed: {}", hex(member.value), why);
    want_change(why);
}

void Node::keep_out(NodeId node) {
    Removal& removal = removals_[node];
    removal.not_before =
        core_.env.now() + std::min<Duration>(kFirstBackOff * (1u << std::min(removal.count, 8u)), kMaxBackOff);
    ++removal.count;
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
        if (!tenure_.excluded.contains(member.id) && !watch_.failed(member.id)) invited.push_back(member);
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
    if (same && tenure_.leaving.empty() && !tenure_.wants_multicast && serving()) return;
    view::NodeSet ids;
    for (const view::Member& member : invited) ids.insert(member.id);
    if (!view::is_quorum(serving_->base(), ids)) {
        // Do not raise numbers on a side that cannot win: look for the others first.
        say_no_quorum(fmt::format("no quorum: view {} has {} of {} members in reach", serving_->number,
                                  view::count_members(serving_->base(), ids), serving_->members.size()));
        return;
    }
    propose(std::move(invited), core_.record.cluster, change_reason_);
}

void Node::on_change_done(const view::Plan& plan) {
    for (const auto& [id, learner] : ready_learners_) {
        if (plan.view.has(id) || !coordinator_.invited(id)) continue;
        keep_out(id);
        core_.env.log().warn("LEARNER node={} is left out of view {}: it did not promise in time", hex(id.value),
                             plan.view.number);
    }
    on_chosen(plan.view);
}

void Node::on_freeze() {
    learner_.stop();
    stop_serving("the view is changing; the outcome is not known, retry");
    repair_.stop();
    arm_watchdog(kFrozenPatience);
}

void Node::stop_serving(const std::string& why) {
    replicator_.stop(why);
    service_.on_freeze();
    orphans_.stop();
}

void Node::leave_view(const std::string& why) {
    stop_serving(why);
    participant_.reset();
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
    // The news go to those who promised this very number.
    const view::Record& record = core_.record;
    if (view->number > record.promised || (view->number == record.promised && view->coordinator != record.promised_to))
        return;
    const auto& installed = participant_.installed();
    if (installed && *installed == *view && !participant_.frozen()) return on_chosen(*view);
    went_on_without(*view);
}

// It left in order, or it comes back as a learner.
void Node::went_on_without(const view::View& view) {
    if (view.number < core_.record.chosen_number() || view.has(core_.self.id)) return;
    core_.record.learn_chosen(view);
    leave_view("the view went on without this broker");
    if (left_) return finish_leaving();
    core_.persist([] {});
    seek("the view went on without this broker");
}

void Node::on_chosen(const view::View& view) {
    if (serving_ && serving_->number == view.number) return;
    if (view.number < core_.record.chosen_number()) return;  // late news of a view that the others have left
    core_.record.learn_chosen(view);
    core_.persist([] {});
    // A coordinator on a slow disk may learn that its view is chosen only after it has gone on to a newer one.
    const auto& installed = participant_.installed();
    if (!installed || *installed != view || participant_.frozen()) return;
    disarm_watchdog();
    coordinator_.overtaken_by(view.number);
    elector_.stop();
    learner_.stop();  // the leader may have been found before the news that its view is chosen came
    const bool told = serving_ && !serving_->multicast && serving_->members.size() > 1;
    const bool shrank = serving_ && serving_->members.size() > 1;
    note_view(view);
    note_gone(view);
    serving_ = view;
    core_.store.raise_format(view.version);
    ring_ = ring::HashRing(view.ids());
    no_quorum_.clear();
    no_quorum_said_.forget();
    survivors_.clear();
    apart_.clear();
    attempts_ = 0;
    tenure_ = Tenure(core_.env.now());
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
    if (!std::exchange(said_ready_, true))
        core_.env.log().info("READY {} {} view {}, data {}, {}", settings_.name, env::to_string(settings_.address),
                             view.number, settings_.data_dir,
                             settings_.page.empty() ? "no page" : "page " + settings_.page);
    if (shrank && view.members.size() == 1 && settings_.min_in_sync < 2)
        core_.env.log().warn("ClusterState view={} has {}", view.number, kOneCopy);
    if (!view.multicast && view.members.size() > 1 && settings_.transport == Transport::kAuto && is_leader() && !told)
        core_.env.log().warn(
            "REPLICATE multicast does not reach every member: replication uses TCP. Allow UDP multicast "
            "between the brokers (IGMP snooping on switches, firewalls); check with netdiag");
    // All of the base log is committed.
    for (const auto& [id, end] : base_ends_)
        if (Stream* stream = core_.streams.find(id)) core_.streams.advance(*stream, end);
    base_ends_.clear();
    core_.streams.begin_rates(core_.env.now());
    judge_unplanned();
    replicator_.serve();
    groups_.take_over();
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

void Node::note_view(const view::View& view) {
    ViewChange change{view, core_.env.wall_clock_ms(), {}, {}};
    // Who was in no view before took no records anyway.
    const auto since = participant_.take_frozen_since();
    if (since && serving_) change.frozen = core_.env.now() - *since;
    if (const auto& steps = coordinator_.last_steps(); steps && steps->number == view.number) change.steps = steps;
    views_.add(std::move(change));
}

void Node::note_gone(const view::View& next) {
    if (serving_)
        for (const view::Member& member : serving_->members)
            if (!next.has(member.id)) gone_[member.id] = {member, core_.env.wall_clock_ms(), core_.env.now()};
    std::erase_if(gone_, [&](const auto& entry) {
        return next.has(entry.first) || core_.env.now() - entry.second.since > kGoneMemory;
    });
}

// Committed records that are not in the base log: their topic was deleted while this broker was away, or the others
// have lost them.
void Node::judge_unplanned() {
    const std::vector<StreamId> streams = participant_.take_unplanned();
    if (streams.empty()) return;
    topics_.reader().when_caught_up([this, streams] {
        for (StreamId id : streams) {
            const Stream* stream = streams_.find(id);
            if (stream == nullptr || topics_.was_deleted(id.topic)) continue;
            return core_.condemn({ErrorCode::kConflict,
                                  fmt::format("stream {}: its records up to {} are committed, but the cluster knows "
                                              "nothing of it: other brokers have lost what they acknowledged (their "
                                              "folders were restored from older copies?)",
                                              protocol::to_string(id), stream->high_watermark)});
        }
    });
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
        // It is this broker's own disk that the change waits for.
        if (participant_.promising()) return arm_watchdog(kFrozenPatience);
        elector_.start(core_.self, known_endpoints(), "the view change did not end");
        if (!settled()) seek("the view change did not end");
    });
}

void Node::disarm_watchdog() {
    core_.env.cancel_timer(watchdog_);
    watchdog_ = {};
}

proto::ProbeResponse Node::on_probe(const proto::Probe& probe) {
    proto::ProbeResponse out;
    *out.mutable_node() = view::to_proto(core_.self);
    out.set_cluster_id(core_.record.cluster.value);
    out.set_promised(core_.record.promised.value);
    out.set_chosen(core_.record.chosen_number().value);
    out.set_introduced(probe.token() != 0 && links_.has_introduced(probe.token()));
    // Who cannot promise must not be elected, nor counted on: to others it is as good as not there.
    out.set_outside(!core_.has_room || left_ || why_outside());
    if (out.outside()) return out;
    out.set_serving(settled());
    if (out.serving()) {
        *out.mutable_leader() = view::to_proto(*serving_->find(serving_->coordinator));
        out.set_members(static_cast<std::uint32_t>(serving_->members.size()));
    }
    out.set_has_history(has_history());
    out.set_has_records(core_.streams.has_user_records());
    out.set_coordinates(coordinator_.waits_for_disks());
    return out;
}

proto::LearnResponse Node::on_learn(const proto::Learn& request) {
    proto::LearnResponse out;
    out.set_cluster_id(core_.record.cluster.value);
    if (request.cluster_id() != 0 && request.cluster_id() != core_.record.cluster.value) {
        *out.mutable_error() = to_proto(Error{ErrorCode::kWrongCluster, "this leader belongs to another lineage"});
        return out;
    }
    if (const auto error = discovery_.why_not_of_our_family(view::from_proto(request.node()))) {
        *out.mutable_error() = to_proto(*error);
        return out;
    }
    if (const auto conflict = core_.record.views.conflict(view::take_names(request))) {
        std::string text = view::explain_conflict(*conflict, request.node().name());
        core_.env.log().error("ClusterState node={} at {} stays outside: {}", hex(request.node().id()),
                              env::to_string(address_of(view::from_proto(request.node()))), text);
        *out.mutable_error() = to_proto(Error{ErrorCode::kConflict, std::move(text)});
        return out;
    }
    if (!is_leader()) {
        *out.mutable_error() = to_proto(Error{ErrorCode::kWrongOwner, "this broker is not the leader"});
        return out;
    }
    *out.mutable_chosen() = view::to_proto(*serving_);
    view::put_ancestors(core_.record.ancestors, out);
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
    else if (!knows_its_views(core_.streams))
        *out.mutable_error() = to_proto(Error{ErrorCode::kBusy, "damage on this broker's disk is being repaired"});
    else
        for (const view::StreamHolding& holding : core_.streams.holdings(Streams::Extent::kWhole, core_.record.views))
            *out.add_streams() = view::to_proto(holding);
    if (serving()) out.set_view(serving_->number.value);
    return out;
}

}  // namespace logstream::node
