#include "internal/node/learner.h"

#include <algorithm>

namespace logstream::node {

namespace {
constexpr Duration kLearnTimeout = std::chrono::milliseconds(500);
constexpr Duration kReadyInterval = std::chrono::milliseconds(200);
// A round that fetched no more than this is near enough: the view change moves the rest in milliseconds.
constexpr std::uint64_t kNearBytes = 2u << 20;
constexpr std::size_t kNamesTold = 64;  // of views, to the leader
}  // namespace

void Learner::start(Endpoint leader) {
    if (leader_ == leader) return;
    stop();
    leader_ = leader;
    said_ = false;
    // A leader out of reach is tried again and again.
    const std::string name = env::to_string(leader);
    if (start_said_.is_due(name, core_.env.now())) core_.env.log().info("LEARNER start leader={}", name);
    ask(State::kBehind);
}

void Learner::stop() {
    core_.env.cancel_timer(timer_);
    timer_ = {};
    leader_.reset();
    lifetime_.renew();
    aligner_.reset();
}

void Learner::give_up(const Error& error) {
    stop();
    events_.gave_up(error);
}

void Learner::ask(State state) {
    proto::Learn request;
    *request.mutable_node() = view::to_proto(core_.self);
    request.set_cluster_id(core_.record.cluster.value);
    request.set_ready(state == State::kReady && !events_.stays_outside());
    for (NodeId id : events_.multicast_heard()) request.add_multicast_heard(id.value);
    view::put_names(core_.record.views.newest(kNamesTold), request);
    core_.links.request(*leader_, MessageType::kLearn, request, kLearnTimeout,
                        lifetime_.guard([this, state](Result<Message> reply) { taught(state, std::move(reply)); }));
}

void Learner::taught(State state, Result<Message> reply) {
    proto::LearnResponse response;
    if (!reply) return give_up(reply.error());
    if (!reply->parse(response)) return give_up(Error{ErrorCode::kInvalid, "an unreadable answer"});
    if (response.error().code() == static_cast<std::uint32_t>(ErrorCode::kConflict))
        return conflict(response.error().message());
    if (response.error().code() != 0)
        return give_up(Error{static_cast<ErrorCode>(response.error().code()), response.error().message()});
    auto chosen = view::from_proto(response.chosen());
    if (!chosen) return give_up(chosen.error());
    if (const auto name = core_.record.views.conflict(view::names_of(*chosen)))
        return conflict(view::explain_conflict(*name, chosen->find(chosen->coordinator)->name));
    taught_ = *chosen;
    if (state == State::kReady) {
        // Taken in by a STATE_EXCHANGE soon; until then go on following.
        timer_ = core_.env.set_timer(kReadyInterval, lifetime_.guard([this] { compare(); }));
        return;
    }
    const ClusterId cluster{response.cluster_id()};
    if (core_.record.cluster.value == 0 || core_.record.cluster == cluster)
        core_.record.ancestors = view::take_ancestors(response);  // on disk with the lineage
    events_.taught(cluster, *chosen, lifetime_.guard([this] { compare(); }));
}

// A member comes back when it reaches all members of the view: else it would be removed again at once.
void Learner::ask_when_all_are_reached() {
    struct Round {
        std::size_t missing{};
        bool all = true;
    };
    auto round = std::make_shared<Round>();
    const auto answered = [this, round](bool reached) {
        round->all = round->all && reached;
        if (--round->missing > 0) return;
        if (round->all) return ask(State::kReady);
        if (!std::exchange(said_, true))
            core_.env.log().warn("LEARNER waits until it reaches every member of view {}", taught_.number);
        timer_ = core_.env.set_timer(kReadyInterval, lifetime_.guard([this] { ask(State::kBehind); }));
    };
    proto::Probe probe;
    *probe.mutable_from() = view::to_proto(core_.self);
    round->missing = 1;
    for (const view::Member& member : taught_.members) {
        if (member.id == core_.self.id) continue;
        ++round->missing;
        core_.links.request(address_of(member), MessageType::kProbe, probe, kLearnTimeout,
                            lifetime_.guard([answered](const Result<Message>& reply) { answered(reply.has_value()); }));
    }
    answered(true);
}

void Learner::compare() {
    proto::Summary request;
    request.set_cluster_id(core_.record.cluster.value);
    core_.links.request(
        *leader_, MessageType::kSummary, request, kLearnTimeout, lifetime_.guard([this](Result<Message> reply) {
            proto::SummaryResponse response;
            if (!reply) return give_up(reply.error());
            if (!reply->parse(response)) return give_up(Error{ErrorCode::kInvalid, "an unreadable answer"});
            if (response.error().code() != 0)
                return give_up(Error{static_cast<ErrorCode>(response.error().code()), response.error().message()});
            if (ViewNumber{response.view()} != taught_.number)
                return ask(State::kBehind);  // the view changed in between
            note_views(response);
        }));
}

// The logs will name these views by number only: what they are is on disk first.
void Learner::note_views(const proto::SummaryResponse& summary) {
    std::vector<view::ViewName> names;
    for (const proto::StreamSummary& stream : summary.streams())
        std::ranges::move(view::names_of(view::holding_from_proto(stream).epochs), std::back_inserter(names));
    if (const auto name = core_.record.views.conflict(names))
        return conflict(view::explain_conflict(*name, taught_.find(taught_.coordinator)->name));
    if (!core_.record.views.note(names)) return align(summary);
    core_.persist(lifetime_.guard([this, summary] { align(summary); }));
}

void Learner::conflict(const std::string& text) {
    stop();
    events_.conflict(text);
}

void Learner::align(const proto::SummaryResponse& summary) {
    std::vector<AlignTarget> targets;
    for (const proto::StreamSummary& stream : summary.streams()) {
        view::StreamHolding holding = view::holding_from_proto(stream);
        // Any member of the view holds what is committed; the leader comes first because it is known to answer.
        std::vector<NodeId> sources{taught_.coordinator};
        for (const view::Member& member : taught_.members)
            if (member.id != taught_.coordinator) sources.push_back(member.id);
        targets.push_back({.plan = {holding.stream, holding.log_start, holding.log_end, std::move(holding.epochs),
                                    std::move(sources), holding.bytes},
                           .fetch_to = holding.high_watermark,
                           .current_view = taught_.number});
    }
    aligner_ = std::make_unique<Aligner>(
        core_, core_.record.cluster, std::move(targets),
        [this](NodeId id) -> std::optional<Endpoint> {
            const view::Member* member = taught_.find(id);
            return member == nullptr ? std::nullopt : std::optional(address_of(*member));
        },
        lifetime_.guard([this](Result<void> aligned) {
            const std::uint64_t fetched = aligner_->fetched_bytes();
            // The aligner is not destroyed inside its own callback.
            core_.env.set_timer(Duration{0}, lifetime_.guard([this, aligned, fetched] {
                aligner_.reset();
                if (!aligned) return give_up(aligned.error());
                if (fetched > 0) core_.env.log().info("LEARNER fetched_bytes={}", fetched);
                if (fetched > kNearBytes) return compare();
                ask_when_all_are_reached();
            }));
        }));
}

}  // namespace logstream::node
