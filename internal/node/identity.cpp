// Node's part that knows who is who: other brokers that are what they say, and whether this one is itself.
#include <algorithm>

#include "internal/node/node.h"
#include "internal/protocol/planted.h"

namespace logstream::node {

using protocol::hex;

namespace {
constexpr Duration kAskLeaderTimeout = std::chrono::milliseconds(400);
constexpr std::size_t kMaxLeadersAsked = 16;
constexpr Duration kTwinInterval = std::chrono::seconds(1);  // between looks whether it is still there

// "ID" or "ID/GENERATION", of which the latter is not always known.
bool is_same_machine(std::string_view a, std::string_view b) {
    const auto slash_a = std::min(a.find('/'), a.size());
    const auto slash_b = std::min(b.find('/'), b.size());
    const auto generation_a = a.substr(slash_a);
    const auto generation_b = b.substr(slash_b);
    return a.substr(0, slash_a) == b.substr(0, slash_b) &&
           (generation_a.empty() || generation_b.empty() || generation_a == generation_b);
}
}  // namespace

std::vector<view::Member> Node::known_runs(NodeId id) const {
    std::vector<view::Member> out;
    if (id == core_.self.id) return out;
    const auto add = [&](const view::Member* run) {
        if (run != nullptr && run->incarnation.value != 0 &&
            std::ranges::find(out, run->incarnation, &view::Member::incarnation) == out.end())
            out.push_back(*run);
    };
    for (const auto& view : {participant_.installed(), serving_, core_.record.accepted, core_.record.chosen})
        if (view) add(view->find(id));
    return out;
}

bool Node::is_member(const view::Member& run) const {
    const auto& installed = participant_.installed();
    return installed && installed->has(run.id, run.incarnation) &&
           address_of(*installed->find(run.id)) == address_of(run);
}

// Is this where that broker's datagrams come from? Of brokers that this one has to do with; nobody else's are of any
// account.
bool Node::is_known_at(NodeId id, Endpoint from) const {
    const auto is_there = [&](const view::Member* member) { return member != nullptr && address_of(*member) == from; };
    for (const auto* view : {&participant_.installed(), &serving_, &core_.record.accepted, &core_.record.chosen})
        if (*view && is_there((*view)->find(id))) return true;
    const auto learner = learners_.find(id);
    if (learner != learners_.end() && is_there(&learner->second.member)) return true;
    const Candidate* candidate = discovery_.find(id);
    return candidate != nullptr && is_there(&candidate->node);
}

// A folder that wakes on another machine may be a copy of one whose broker still runs and votes.
void Node::look_where_it_woke() {
    view::Record& record = core_.record;
    const bool may_be_counted_on = record.accepted || record.chosen || record.promised.value > 0;
    const bool elsewhere = may_be_counted_on && settings_.identity == IdentityPolicy::kMachine &&
                           !record.machine.empty() && !settings_.machine.empty() &&
                           !is_same_machine(record.machine, settings_.machine);
    if (elsewhere && !settings_.moved && !protocol::planted(protocol::Bug::kCopiesVote)) {
        elsewhere_ = true;
        core_.env.log().error("IDENTITY {}", *why_outside());
        return;
    }
    if (settings_.moved)
        core_.env.log().warn("IDENTITY --moved: {}; drop this flag at the next start",
                             elsewhere ? "this broker is treated as the one that ran on the other machine"
                                       : "this folder was not used on another machine");
    if (!settings_.machine.empty()) record.machine = settings_.machine;
}

// The records stay; whatever the old identity promised and accepted is left to the one who keeps it.
void Node::renew_identity() {
    view::Record& record = core_.record;
    if (record.node.value == 0) return;
    const NodeId old = record.node;
    record.node = NodeId{core_.env.random() | 1};
    record.promised = {};
    record.promised_to = {};
    record.promised_incarnation = {};
    record.promises = {view::Promise{}};
    record.accepted.reset();
    record.must_relearn = record.cluster.value != 0;
    record.machine.clear();
    core_.env.log().warn(
        "IDENTITY --new-identity: broker {} is {} from now on and joins as a new member; drop this flag at the "
        "next start",
        hex(old.value), hex(record.node.value));
}

std::optional<std::string> Node::why_outside() const {
    if (core_.condemned()) return "this broker does not take part in the cluster: " + core_.record.verdict;
    if (twin_)
        return fmt::format(
            "two brokers, one identity: {} at {} also runs as {}: one data folder is a copy of the other. This broker "
            "stays out while that one is running; start the copy with --new-identity, or stop one of the two",
            twin_->name, env::to_string(address_of(*twin_)), hex(core_.self.id.value));
    if (elsewhere_)
        return fmt::format(
            "this data folder was last used on another machine ({}; this one is {}), so it may be a copy: this broker "
            "has no vote until it is started with --moved (if its old machine no longer runs it) or the other "
            "members have formed a view without it. Start a copy with --new-identity",
            core_.record.machine, settings_.machine);
    return std::nullopt;
}

// Heard of another run of a broker of this identity, or of this very broker's.
void Node::on_twins(const view::Member& later, const view::Member& earlier) {
    const std::string text = fmt::format(
        "two brokers, one identity: {} at {} and {} at {} both run as {}: one data folder is a copy of the other. The "
        "later one, at {}, stays out: start the copy with --new-identity, or stop one of the two",
        earlier.name, env::to_string(address_of(earlier)), later.name, env::to_string(address_of(later)),
        hex(later.id.value), env::to_string(address_of(later)));
    if (twins_said_.is_due(text, core_.env.now())) core_.env.log().error("IDENTITY {}", text);
    discovery_.tell_twin(address_of(later), earlier);
}

// Somebody says that another run of this broker's identity is at work. It is asked itself.
void Node::on_twin_heard(const view::Member& twin) {
    if (left_ || twin.id != core_.self.id || twin.incarnation == core_.self.incarnation) return;
    // A datagram of an earlier run of this broker may come late.
    if (address_of(twin) == address_of(core_.self) || protocol::planted(protocol::Bug::kTwinsTolerated)) return;
    if (core_.env.now() < twin_asked_ + kTwinInterval) return;
    twin_asked_ = core_.env.now();
    (void)identity_check_.ask(twin, 0, [this, twin](const IdentityCheck::Outcome& outcome) {
        if (outcome.verdict == IdentityCheck::Verdict::kTrue && twin.id == core_.self.id) meet_twin(twin);
    });
}

// Of two, the one that is in a view goes on, and the other one stays out.
void Node::meet_twin(const view::Member& twin) {
    if (left_ || twin.incarnation == core_.self.incarnation) return;
    if (participant_.installed()) return on_twins(twin, core_.self);
    twin_ = twin;
    const std::string why = *why_outside();
    if (twins_said_.is_due(why, core_.env.now())) core_.env.log().error("IDENTITY {}", why);
    no_quorum_ = why;
    elector_.stop();
    coordinator_.stop();
    learner_.stop();
    seek("another broker has this identity");
}

void Node::look_for_twin() {
    if (!twin_ || core_.env.now() < twin_asked_ + kTwinInterval) return;
    twin_asked_ = core_.env.now();
    (void)identity_check_.ask(*twin_, 0, [this](const IdentityCheck::Outcome& outcome) {
        if (!twin_ || outcome.verdict == IdentityCheck::Verdict::kTrue) return;
        core_.env.log().warn("IDENTITY the other broker of this identity is gone: this one continues");
        twin_.reset();
        no_quorum_.clear();
    });
}

// A member that restarted: its old run is dead for certain, once the new one is known to be one and the old one is
// silent.
void Node::on_restart_heard(const view::Member& claimed) {
    if (tenure_.excluded.contains(claimed.id) || restarts_asked_.contains(claimed.id)) return;
    const auto view = serving_->number;
    const bool asked = identity_check_.ask(claimed, 0, [this, claimed, view](const IdentityCheck::Outcome& outcome) {
        // Who is known to be one of two is not asked about at each of its calls.
        if (outcome.verdict == IdentityCheck::Verdict::kTwin) on_twins(claimed, outcome.twin);
        core_.env.set_timer(outcome.verdict == IdentityCheck::Verdict::kTwin ? kTwinInterval : Duration{0},
                            lifetime_.guard([this, id = claimed.id] { restarts_asked_.erase(id); }));
        if (outcome.verdict != IdentityCheck::Verdict::kTrue || !is_leader() || serving_->number != view) return;
        if (tenure_.excluded.insert(claimed.id).second) want_change("a member restarted");
    });
    if (asked) restarts_asked_.insert(claimed.id);
}

// A datagram said that a leader is there. It is asked itself, by TCP, before anything is done about it.
void Node::ask_leader(Endpoint at) {
    if (left_ || twin_ || asked_leaders_.size() >= kMaxLeadersAsked || !asked_leaders_.insert(at).second) return;
    proto::Probe probe;
    *probe.mutable_from() = view::to_proto(core_.self);
    links_.request(at, MessageType::kProbe, probe, kAskLeaderTimeout, [this, at](const Result<Message>& reply) {
        asked_leaders_.erase(at);
        proto::ProbeResponse response;
        if (left_ || twin_ || !reply || !reply->parse(response)) return;
        const bool leads = response.serving() && response.leader().id() == response.node().id();
        if (!leads || address_of(view::from_proto(response.node())) != at) return;
        follow(at, ClusterId{response.cluster_id()}, response.members(), response.has_records());
    });
}

}  // namespace logstream::node
