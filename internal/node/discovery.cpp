#include "internal/node/discovery.h"

namespace logstream::node {

using protocol::Bytes;

namespace {
constexpr Duration kSeekInterval = std::chrono::milliseconds(100);
constexpr Duration kAnnounceInterval = std::chrono::seconds(1);
constexpr Duration kMemory = std::chrono::seconds(3);  // a broker not heard for this long is no candidate
constexpr std::size_t kMaxCandidates = 256;
}  // namespace

Discovery::Discovery(env::Env& env, const Settings& settings, PeerLinks& links, Events events)
    : env_(env), settings_(settings), links_(links), events_(std::move(events)) {}

Discovery::~Discovery() { env_.cancel_timer(timer_); }

void Discovery::set_mode(Mode mode) {
    if (mode == mode_) return;
    mode_ = mode;
    since_ = env_.now();
    env_.cancel_timer(timer_);
    timer_ = {};
    if (mode != Mode::kQuiet) timer_ = env_.set_timer(Duration{0}, [this] { tick(); });
}

void Discovery::tick() {
    say_join();
    timer_ = env_.set_timer(mode_ == Mode::kSeek ? kSeekInterval : kAnnounceInterval, [this] { tick(); });
}

void Discovery::say_join() {
    const proto::Join join = events_.describe();
    if (!settings_.seeds.empty() || settings_.seeds_pending) {
        for (Endpoint seed : settings_.seeds) {
            if (seed == settings_.address) continue;
            links_.request(seed, MessageType::kJoin, join, std::chrono::seconds(1), [this](auto reply) {
                proto::JoinResponse response;
                if (reply && reply->parse(response)) on_join_response(response);
            });
        }
        return;
    }
    const protocol::FrameHeader header{
        MessageType::kJoin, 0, protocol::cluster_tag(settings_.cluster), ViewNumber{}, NodeId{join.node().id()}, {}};
    env_.broadcast({protocol::encode_frame(header, join), {}});
}

void Discovery::send_response(Endpoint to, const proto::JoinResponse& response, protocol::ClusterTag cluster) {
    const protocol::FrameHeader header{MessageType::kJoinResponse,        0, cluster, ViewNumber{},
                                       NodeId{response.responder().id()}, {}};
    env_.send_datagram(to, {protocol::encode_frame(header, response), {}});
}

void Discovery::tell_twin(Endpoint to, const view::Member& twin) {
    proto::JoinResponse out;
    out.set_cluster(settings_.cluster);
    *out.mutable_twin() = view::to_proto(twin);
    send_response(to, out, protocol::cluster_tag(settings_.cluster));
}

std::optional<protocol::Error> Discovery::why_not_of_our_family(const view::Member& other) {
    if (other.ip.is_v4() == settings_.address.ip.is_v4()) return std::nullopt;
    std::string text =
        fmt::format("{} at {} is ignored: this cluster's brokers have {} addresses; give it one with --address",
                    other.name, env::to_string(address_of(other)), other.ip.is_v4() ? "IPv6" : "IPv4");
    if (said_.is_due(text, env_.now())) env_.log().warn("DISCOVERY {}", text);
    return protocol::Error{protocol::ErrorCode::kRefused, std::move(text)};
}

void Discovery::on_join(const proto::Join& join, Endpoint from) {
    proto::JoinResponse answer = events_.answer();
    const bool any_cluster = join.client() && join.cluster().empty();
    if (join.cluster() != settings_.cluster && !any_cluster) return;
    if (!join.client() && why_not_of_our_family(view::from_proto(join.node()))) return;
    if (join.node().id() == answer.responder().id()) return events_.twin(view::from_proto(join.node()));
    // The leader answers brokers; everybody answers clients.
    if (join.client() || answer.serving()) {
        answer.set_nonce(join.nonce());
        send_response(join.client() ? from : address_of(view::from_proto(join.node())), answer,
                      any_cluster ? protocol::kAnyCluster : protocol::cluster_tag(settings_.cluster));
    }
    if (join.client()) return;
    const Candidate candidate{view::from_proto(join.node()),
                              ClusterId{join.cluster_id()},
                              ViewNumber{join.chosen()},
                              join.has_history(),
                              join.has_records(),
                              join.leader(),
                              join.members(),
                              env_.now()};
    std::erase_if(candidates_, [&](const auto& entry) { return env_.now() - entry.second.heard > kMemory; });
    if (candidates_.size() >= kMaxCandidates && !candidates_.contains(candidate.node.id)) return;
    candidates_.insert_or_assign(candidate.node.id, candidate);
    events_.heard(candidate);
}

void Discovery::on_join_response(const proto::JoinResponse& response) {
    if (response.cluster() != settings_.cluster) return;
    if (response.has_twin()) return events_.twin(view::from_proto(response.twin()));
    if (response.serving() && !why_not_of_our_family(view::from_proto(response.responder())))
        events_.found_leader(response);
}

const Candidate* Discovery::find(NodeId id) const {
    const auto found = candidates_.find(id);
    return found == candidates_.end() || env_.now() - found->second.heard > kMemory ? nullptr : &found->second;
}

std::vector<Candidate> Discovery::candidates() const {
    std::vector<Candidate> out;
    const protocol::TimePoint now = env_.now();
    for (const auto& [id, candidate] : candidates_)
        if (now - candidate.heard <= kMemory) out.push_back(candidate);
    return out;
}

}  // namespace logstream::node
