#include "internal/node/watch.h"

#include <algorithm>

#include "internal/protocol/planted.h"

namespace logstream::node {

using failure::Verdict;
using protocol::hex;

namespace {
constexpr Duration kProbeTimeout = std::chrono::milliseconds(300);
// A timer this late means that our own loop stood still (a stopped process, a busy machine): what waits in the sockets
// is read before anybody is judged.
constexpr Duration kLate = std::chrono::milliseconds(30);
constexpr Duration kDrain = std::chrono::milliseconds(20);
}  // namespace

Watch::Watch(env::Env& env, const Settings& settings, PeerLinks& links, FailedHandler on_failed)
    : env_(env), settings_(settings), links_(links), on_failed_(std::move(on_failed)), awake_at_(env.now()) {
    // Half of the time that a detector takes at the least.
    const protocol::TimePoint now = env.now();
    const failure::PhiDetector fresh(options(), now);
    protocol::TimePoint failed = now;
    while (fresh.verdict(failed) != Verdict::kFailed) failed = fresh.next_change(failed);
    patience_ = (failed - now) / 2;
}

Watch::~Watch() { env_.cancel_timer(timer_); }

failure::PhiDetector::Options Watch::options() const {
    failure::PhiDetector::Options out;
    out.expected_interval = settings_.heartbeat;
    out.min_deviation = settings_.heartbeat / 2;
    out.phi_suspect = settings_.phi_suspect;
    out.phi_fail = settings_.phi_fail;
    out.timeout = settings_.failure_timeout;
    return out;
}

void Watch::watch(const view::View& view, const view::Member& self) {
    awake();
    const bool in_doubt = slept().count() > 0;
    self_ = self;
    view_ = view.number;
    std::map<NodeId, Peer> kept;
    for (const view::Member& member : view.members) {
        if (member.id == self.id) continue;
        const auto known = peers_.find(member.id);
        if (known != peers_.end() && known->second.member.incarnation == member.incarnation &&
            known->second.told != Verdict::kFailed) {
            Peer& peer = kept.emplace(member.id, std::move(known->second)).first->second;
            peer.member = member;
            peer.told = Verdict::kAlive;
            peer.detector.known_alive(env_.now());
        } else {
            kept.emplace(member.id, Peer{member, failure::PhiDetector(options(), env_.now())});
        }
    }
    peers_ = std::move(kept);
    for (auto& [id, peer] : peers_) {
        peer.doubtful = in_doubt;
        peer.asked = false;
    }
    arm();
}

void Watch::awake() {
    const protocol::TimePoint now = env_.now();
    const Duration pause = now - std::exchange(awake_at_, now);
    if (pause > patience_) {
        ++pauses_;
        slept_ = pause;
        for (auto& [id, peer] : peers_) {
            peer.doubtful = true;
            peer.asked = false;
        }
    }
    ask_doubtful();
}

void Watch::ask_doubtful() {
    for (auto& [id, peer] : peers_) {
        if (!peer.doubtful || std::exchange(peer.asked, true)) continue;
        proto::Probe probe;
        *probe.mutable_from() = view::to_proto(self_);
        links_.request(Endpoint{peer.member.ip, peer.member.port}, MessageType::kProbe, probe, kProbeTimeout,
                       [this, member = id, incarnation = peer.member.incarnation, view = view_,
                        pauses = pauses_](const protocol::Result<Message>& reply) {
                           // The answer itself may have come before another pause.
                           if (env_.now() - awake_at_ > patience_ || pauses != pauses_ || view != view_) return;
                           const auto found = peers_.find(member);
                           if (found == peers_.end() || found->second.member.incarnation != incarnation) return;
                           proto::ProbeResponse response;
                           const bool same_run =
                               reply && reply->parse(response) && response.node().incarnation() == incarnation.value;
                           found->second.asked = false;
                           if (same_run && response.promised() <= view.value) found->second.doubtful = false;
                       });
    }
}

std::size_t Watch::heard() const {
    const protocol::TimePoint now = env_.now();
    const bool sleeper = protocol::planted(protocol::Bug::kSleeperAccepts);
    if (!sleeper && now - awake_at_ > patience_) return 1;
    return 1 + static_cast<std::size_t>(std::ranges::count_if(peers_, [&](const auto& entry) {
               const Peer& peer = entry.second;
               if (peer.told == Verdict::kFailed || sleeper) return peer.told != Verdict::kFailed;
               return !peer.doubtful && peer.detector.verdict(now) != Verdict::kFailed;
           }));
}

Duration Watch::slept() const {
    const Duration pause = env_.now() - awake_at_;
    if (pause > patience_) return pause;
    const auto sure = std::ranges::count_if(peers_, [](const auto& entry) { return !entry.second.doubtful; });
    return (1 + static_cast<std::size_t>(sure)) * 2 > peers_.size() + 1 ? Duration{} : slept_;
}

void Watch::heartbeat(NodeId member) {
    const auto found = peers_.find(member);
    if (found == peers_.end()) return;
    Peer& peer = found->second;
    peer.detector.heartbeat(env_.now());
    if (peer.told == Verdict::kSuspect) peer.told = Verdict::kAlive;
}

void Watch::link_lost(Endpoint address) {
    for (const auto& [id, peer] : peers_) {
        if (Endpoint{peer.member.ip, peer.member.port} != address) continue;
        proto::Probe probe;
        *probe.mutable_from() = view::to_proto(self_);
        const NodeId member = id;
        const auto incarnation = peer.member.incarnation;
        links_.request(address, MessageType::kProbe, probe, kProbeTimeout, [this, member, incarnation](auto reply) {
            const auto again = peers_.find(member);
            if (again == peers_.end() || again->second.member.incarnation != incarnation) return;
            proto::ProbeResponse response;
            const bool same_run = reply && reply->parse(response) && !response.outside() &&
                                  response.node().incarnation() == incarnation.value;
            // Silence is left to the detector; a refused connection or another run at this address is certain.
            if (!same_run && (reply || reply.error().code == protocol::ErrorCode::kNetwork))
                judge(again->second, Verdict::kFailed);
        });
        return;
    }
}

void Watch::judge(Peer& peer, Verdict verdict) {
    if (verdict <= peer.told) return;
    peer.told = verdict;
    env_.log().warn("PHI {} peer={} name={} phi={:.1f}", verdict == Verdict::kFailed ? "fail" : "suspect",
                    hex(peer.member.id.value), peer.member.name, peer.detector.phi(env_.now()));
    if (verdict == Verdict::kFailed) on_failed_(peer.member.id);  // may change peers_: nothing is touched after it
}

void Watch::arm() {
    env_.cancel_timer(timer_);
    timer_ = {};
    const protocol::TimePoint now = env_.now();
    protocol::TimePoint next = protocol::TimePoint::max();
    for (const auto& [id, peer] : peers_)
        if (peer.told != Verdict::kFailed)
            next = std::min(next, peer.detector.verdict(now) > peer.told ? now : peer.detector.next_change(now));
    if (next == protocol::TimePoint::max()) return;
    // Heartbeats move the moment on without touching the timer, so it may find nothing to do and is set again.
    timer_ = env_.set_timer(next - now, [this, next] { look(next); });
}

void Watch::look(protocol::TimePoint scheduled) {
    timer_ = {};
    const protocol::TimePoint now = env_.now();
    if (now - scheduled > kLate) {
        timer_ = env_.set_timer(kDrain, [this, drained = now + kDrain] { look(drained); });
        return;
    }
    std::vector<NodeId> worse;
    for (const auto& [id, peer] : peers_)
        if (peer.detector.verdict(now) > peer.told) worse.push_back(id);
    for (NodeId id : worse)
        if (const auto found = peers_.find(id); found != peers_.end())
            judge(found->second, found->second.detector.verdict(now));
    arm();
}

bool Watch::failed(NodeId member) const {
    const auto found = peers_.find(member);
    return found != peers_.end() && found->second.told == Verdict::kFailed;
}

std::vector<NodeId> Watch::failed() const {
    std::vector<NodeId> out;
    for (const auto& [id, peer] : peers_)
        if (peer.told == Verdict::kFailed) out.push_back(id);
    return out;
}

double Watch::phi(NodeId member) const {
    const auto found = peers_.find(member);
    return found == peers_.end() ? 0 : found->second.detector.phi(env_.now());
}

std::size_t Watch::in_reach() const {
    return 1 + static_cast<std::size_t>(std::ranges::count_if(
                   peers_, [](const auto& entry) { return entry.second.told != Verdict::kFailed; }));
}

}  // namespace logstream::node
