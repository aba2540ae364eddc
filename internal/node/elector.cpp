#include "internal/node/elector.h"

#include <algorithm>

namespace logstream::node {

using protocol::ElectionId;
using protocol::hex;
using protocol::milliseconds;

namespace {
constexpr Duration kProbeTimeout = std::chrono::milliseconds(250);
constexpr Duration kHopTimeout = std::chrono::milliseconds(250);
constexpr Duration kElectionTimeout = std::chrono::milliseconds(1000);
constexpr std::size_t kMaxAddresses = 1024;

}  // namespace

Elector::Elector(env::Env& env, PeerLinks& links, Events events)
    : env_(env), links_(links), events_(std::move(events)) {}

Elector::~Elector() { env_.cancel_timer(expiry_); }

void Elector::stop() {
    probing_ = false;
    ++round_;
    env_.cancel_timer(expiry_);
    expiry_ = {};
    election_.abandon();
    forced_ = false;
}

void Elector::start(const view::Member& self, std::vector<Endpoint> known, std::string_view reason, Force force) {
    if (running()) return;
    forced_ = force == Force::kYes;
    if (election_.self() != self.id) election_ = election::Election(self.id);
    self_ = self;
    reason_ = reason;
    began_ = env_.now();
    found_ = {};
    found_.members[self.id] = self;
    found_.lineage = protocol::ClusterId{events_.describe().cluster_id()};
    claimed_leaders_.clear();
    twins_.clear();
    outside_.clear();
    dead_.clear();
    std::ranges::sort(known);
    const auto repeated = std::ranges::unique(known);
    known.erase(repeated.begin(), repeated.end());
    std::erase(known, address_of(self));
    probing_ = true;
    outstanding_ = known.size();
    const std::uint64_t round = ++round_;
    proto::Probe probe;
    *probe.mutable_from() = view::to_proto(self);
    for (Endpoint to : known)
        links_.request(to, MessageType::kProbe, probe, kProbeTimeout,
                       [this, round, to](auto reply) { probed(round, std::move(reply), to); });
    if (known.empty())
        env_.set_timer(Duration{0}, [this, round] {
            if (round == round_ && probing_) elect();
        });
}

void Elector::probed(std::uint64_t round, protocol::Result<Message> reply, Endpoint from) {
    if (round != round_ || !probing_) return;
    proto::ProbeResponse response;
    if (reply && reply->parse(response)) {
        found(response);
    } else if (!reply && reply.error().code == protocol::ErrorCode::kNetwork) {
        dead_.push_back(from);
    }
    if (--outstanding_ == 0) elect();
}

void Elector::found(const proto::ProbeResponse& response) {
    // One of another lineage has nothing to say here: neither its members nor its leader are ours.
    const protocol::ClusterId theirs{response.cluster_id()};
    if (found_.lineage.value == 0) found_.lineage = theirs;
    const view::Member member = view::from_proto(response.node());
    if ((theirs.value != 0 && theirs != found_.lineage) || member.id.value == 0) return;
    if (response.serving()) claimed_leaders_.push_back(view::from_proto(response.leader()));
    const auto [known, fresh] = found_.members.try_emplace(member.id, member);
    if (!fresh && known->second.incarnation != member.incarnation) {
        twins_.emplace_back(member, known->second);
        return;
    }
    if (response.coordinates()) found_.changing = std::max(found_.changing, ViewNumber{response.promised()});
    if (response.outside()) outside_.insert(member.id);
}

void Elector::elect() {
    probing_ = false;
    for (NodeId id : outside_) found_.members.erase(id);
    for (const auto& [one, other] : std::exchange(twins_, {})) {
        if (one.id != self_.id) found_.members.erase(one.id);
        events_.twins(one, other);
    }
    for (const view::Member& leader : claimed_leaders_)
        if (std::ranges::find(dead_, address_of(leader)) == dead_.end()) found_.leader = leader;
    if (!events_.may_elect(found_)) {
        events_.over();
        return;
    }
    std::vector<NodeId> ids;
    for (const auto& [id, member] : found_.members) {
        ids.push_back(id);
        addresses_[id] = member;
    }
    lineage_ = found_.lineage;
    const ElectionId id{env_.random()};
    env_.log().info("ELECTION start id={} ring={} reason={} probes_ms={:.1f}", hex(id.value), ids.size(), reason_,
                    milliseconds(env_.now() - began_));
    expect_end();
    deliver(election_.start(id, ids), ids);
}

void Elector::expect_end() {
    env_.cancel_timer(expiry_);
    expiry_ = env_.set_timer(kElectionTimeout, [this] {
        expiry_ = {};
        env_.log().warn("ELECTION did not finish in time");
        election_.abandon();
        events_.over();
    });
}

void Elector::on_message(const view::Member& self, const proto::Election& in) {
    if (election_.self() != self.id) election_ = election::Election(self.id);
    self_ = self;
    if (addresses_.size() > kMaxAddresses) addresses_.clear();
    for (const proto::Member& member : in.members())
        if (member.id() != self.id.value && std::ranges::find(in.ring(), member.id()) != in.ring().end())
            addresses_[NodeId{member.id()}] = view::from_proto(member);
    addresses_[self.id] = self;
    election::Message message{
        in.kind() == proto::Election::VICTORY ? election::Message::Kind::kVictory : election::Message::Kind::kElection,
        ElectionId{in.id()},
        NodeId{in.initiator()},
        NodeId{in.candidate()},
        {}};
    for (std::uint64_t id : in.ring()) message.ring.push_back(NodeId{id});
    forced_ = in.forced();
    lineage_ = protocol::ClusterId{in.cluster_id()};
    const election::Output output = election_.receive(message);
    if (output.outcome == election::Outcome::kRunning && expiry_.value == 0) {
        began_ = env_.now();
        expect_end();
    }
    deliver(output, message.ring);
}

void Elector::deliver(const election::Output& output, const std::vector<NodeId>& ring) {
    for (const election::Send& s : output.sends) send(s);
    if (output.outcome != election::Outcome::kWon && output.outcome != election::Outcome::kLost) return;
    env_.cancel_timer(expiry_);
    expiry_ = {};
    if (output.outcome == election::Outcome::kLost) {
        env_.log().info("COORDINATOR is {}", hex(output.winner.value));
        events_.over();
        return;
    }
    env_.log().info("ELECTION I WIN id={} ms={:.1f}", hex(self_.id.value), milliseconds(env_.now() - began_));
    std::vector<view::Member> members;
    for (NodeId id : ring)
        if (const auto known = addresses_.find(id); known != addresses_.end()) members.push_back(known->second);
    events_.won(members, lineage_);
}

void Elector::send(const election::Send& send) {
    const auto to = addresses_.find(send.to);
    if (to == addresses_.end()) return;
    proto::Election out;
    out.set_kind(send.message.kind == election::Message::Kind::kVictory ? proto::Election::VICTORY
                                                                        : proto::Election::ELECTION);
    out.set_id(send.message.id.value);
    out.set_forced(forced_);
    out.set_cluster_id(lineage_.value);
    out.set_initiator(send.message.initiator.value);
    out.set_candidate(send.message.candidate.value);
    for (NodeId id : send.message.ring) {
        out.add_ring(id.value);
        if (const auto known = addresses_.find(id); known != addresses_.end())
            *out.add_members() = view::to_proto(known->second);
    }
    links_.request(address_of(to->second), MessageType::kElection, out, kHopTimeout,
                   [this, dead = send.to, ring = send.message.ring](auto reply) mutable {
                       if (reply) return;
                       std::erase(ring, dead);
                       deliver(election_.successor_failed(dead, ElectionId{env_.random()}), ring);
                   });
}

}  // namespace logstream::node
