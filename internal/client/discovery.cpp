#include "internal/client/discovery.h"

#include <algorithm>
#include <utility>

#include "internal/client/cluster_view.h"
#include "internal/client/topic_name.h"
#include "logstream.pb.h"

namespace logstream::client {

namespace {
constexpr std::size_t kMaxLineages = 16;
constexpr std::size_t kMaxBrokers = 256;
constexpr std::size_t kMaxOthers = 8;
constexpr std::size_t kMaxUnready = 16;
constexpr std::uint64_t kAnyClusterEvery = 5;  // of the questions
}  // namespace

Discovery::Discovery(env::Env& env, std::string cluster, FoundHandler found, UnreadyHandler unready)
    : env_(env),
      cluster_(std::move(cluster)),
      found_(std::move(found)),
      unready_(std::move(unready)),
      nonce_(env.random()) {}

Discovery::~Discovery() { stop(); }

void Discovery::start() {
    if (running_) return;
    running_ = true;
    asked_ = 0;
    others_.clear();
    unready_brokers_.clear();
    ask();
}

void Discovery::stop() {
    running_ = false;
    answers_.clear();
    env_.cancel_timer(ask_timer_);
    env_.cancel_timer(judge_timer_);
}

// Who did not hear of its own cluster soon wants to know which other ones there are.
void Discovery::ask() {
    broadcast_join(cluster_);
    if (++asked_ % kAnyClusterEvery == 0) broadcast_join("");
    ask_timer_ = env_.set_timer(kInterval, [this] { ask(); });
}

void Discovery::broadcast_join(const std::string& cluster) {
    proto::Join join;
    join.set_cluster(cluster);
    join.set_client(true);
    join.set_nonce(nonce_);
    const std::string payload = join.SerializeAsString();
    protocol::FrameHeader header;
    header.type = protocol::MessageType::kJoin;
    header.cluster = protocol::cluster_tag(cluster);
    env_.broadcast({protocol::encode_frame(header, std::as_bytes(std::span(payload))), {}});
}

void Discovery::on_frame(const env::ReceivedFrame& frame) {
    if (!running_ || frame.header.type != protocol::MessageType::kJoinResponse) return;
    proto::JoinResponse response;
    if (!response.ParseFromArray(frame.payload.data(), static_cast<int>(frame.payload.size()))) return;
    if (response.nonce() != nonce_) return;
    std::set<env::Endpoint> brokers;
    const auto add = [&brokers, &frame](const proto::Member& member) {
        if (member.port() == 0 || !std::in_range<std::uint16_t>(member.port())) return;
        const env::Endpoint at = endpoint_of(member, frame.from);
        if (!at.ip.is_unspecified()) brokers.insert(at);
    };
    add(response.responder());
    for (const proto::Member& member : response.view().members()) add(member);
    if (brokers.empty()) return;
    if (response.cluster() != cluster_) {
        // Their names are shown: the rule for them is that for topics.
        if (others_.size() < kMaxOthers && check_topic_name(response.cluster()))
            others_.emplace(response.cluster(), *brokers.begin());
        return;
    }
    // A broker without a lineage is still looking for its own cluster.
    if (response.cluster_id() == 0) {
        const env::Endpoint broker = *brokers.begin();
        if (unready_brokers_.size() < kMaxUnready) unready_brokers_.insert(broker);
        if (unready_brokers_.contains(broker)) unready_(broker);
        return;
    }
    if (answers_.empty()) judge_timer_ = env_.set_timer(kGather, [this] { judge(); });
    if (answers_.size() >= kMaxLineages) return;
    Lineage& lineage = answers_[protocol::ClusterId{response.cluster_id()}];
    lineage.has_records |= response.has_records();
    lineage.serving |= response.serving();
    for (const env::Endpoint broker : brokers)
        if (lineage.brokers.size() < kMaxBrokers) lineage.brokers.insert(broker);
}

void Discovery::judge() {
    const auto answers = std::exchange(answers_, {});
    stop();
    std::string with_records;
    for (const auto& [id, lineage] : answers) {
        if (!lineage.has_records) continue;
        with_records += fmt::format("{}{} (at {})", with_records.empty() ? "" : " and ", protocol::to_string(id),
                                    env::to_string(*lineage.brokers.begin()));
    }
    if (std::ranges::count_if(answers, [](const auto& a) { return a.second.has_records; }) > 1) {
        found_(protocol::fail(protocol::ErrorCode::kWrongCluster,
                              "separate clusters share the name '{}': {}. Choose one with --brokers, "
                              "or join them with logstreamctl merge",
                              cluster_, with_records));
        return;
    }
    const auto best = std::ranges::max_element(
        answers, {}, [](const auto& answer) { return std::pair(answer.second.has_records, answer.second.serving); });
    found_(best->second.brokers);
}

}  // namespace logstream::client
