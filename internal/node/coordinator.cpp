#include "internal/node/coordinator.h"

#include <algorithm>

#include "internal/protocol/planted.h"

namespace logstream::node {

namespace {
// How long the silent are waited for. Known dead ones are not asked at all, and a dead process refuses at once, so this
// is spent only on a machine that vanished in the very moment.
constexpr Duration kExchangeTimeout = std::chrono::milliseconds(400);
// Includes the fetch of at most Change::Options::max_behind_bytes.
constexpr Duration kInstallTimeout = std::chrono::seconds(5);
// How long a disk may take that is known to be at work; its broker says so again and again meanwhile.
constexpr Duration kSlowDiskPatience = std::chrono::seconds(10);
// Members that could not flush at once need so long to make the base log durable: some groups of a disk under load.
constexpr Duration kSlowExchange = std::chrono::milliseconds(140);
constexpr Duration kSlowInstallTimeout = std::chrono::seconds(20);
constexpr Duration kLongInstall = std::chrono::seconds(1);
// How long others are waited for when all that answer may have lost records: about what a restart takes.
constexpr Duration kPatience = std::chrono::seconds(3);
constexpr std::size_t kNamesTold = 256;  // of views, to those who are asked

proto::ViewInstall install_message(ClusterId cluster, const view::Plan& plan) {
    proto::ViewInstall out;
    out.set_cluster_id(cluster.value);
    *out.mutable_view() = view::to_proto(plan.view);
    if (plan.chosen) *out.mutable_chosen() = view::to_proto(*plan.chosen);
    for (const view::StreamPlan& stream : plan.streams) *out.add_streams() = view::to_proto(stream);
    for (const view::Member& holder : plan.holders) *out.add_holders() = view::to_proto(holder);
    return out;
}

bool is_busy(const proto::StateExchangeResponse& response) {
    return response.error().code() == static_cast<std::uint32_t>(ErrorCode::kBusy);
}

std::string numbers_used_up(const view::Member& member, ViewNumber promised) {
    return fmt::format(
        "no quorum: {} has promised view {}, close to the highest possible number, so it can join no other view of "
        "this "
        "lineage. If too few others are left, `logstreamctl recover` starts a lineage with its own numbering",
        member.name, promised);
}
}  // namespace

Coordinator::Coordinator(Core& core, Participant& participant, Events events)
    : core_(core), participant_(participant), events_(std::move(events)) {}

Coordinator::~Coordinator() { core_.env.cancel_timer(timer_); }

void Coordinator::stop() {
    ++attempt_;
    core_.env.cancel_timer(timer_);
    timer_ = {};
    change_.reset();
}

void Coordinator::start(ClusterId cluster, view::Change::Lineage lineage, std::vector<view::Member> invited,
                        std::string_view reason) {
    LS_ASSERT(!running());
    invited_.clear();
    for (view::Member& member : invited) invited_[member.id] = std::move(member);
    invited_[core_.self.id] = core_.self;
    view::NodeSet ids;
    for (const auto& [id, member] : invited_) ids.insert(id);
    cluster_ = cluster;
    ViewNumber number = std::max(seen_, core_.record.greatest_number()) + 1;
    if (protocol::planted(protocol::Bug::kViewNumberReused) && core_.record.promised_to == core_.self.id &&
        core_.record.promised >= core_.record.accepted_number() && core_.record.promised.value > 0)
        number = core_.record.promised;
    view::Change::Options options;
    options.lineage = lineage;
    options.multicast_allowed = core_.settings.transport != Transport::kTcp;
    options.multicast_required = core_.settings.transport == Transport::kMulticast;
    change_ = std::make_unique<view::Change>(view::ViewName{number, protocol::ViewId{core_.env.random() | 1}},
                                             core_.self.id, std::move(ids), options);
    hint_.clear();
    ++attempt_;
    began_ = core_.env.now();
    reason_ = reason;
    core_.env.log().info("VIEW exchange view={} invited={} reason={}", number, invited_.size(), reason);
    if (number > core_.record.greatest_promisable() && number > core_.record.promised)
        return fail(Failure::kNoQuorum, numbers_used_up(core_.self, core_.record.promised));
    exchange();
}

void Coordinator::exchange() {
    request_.Clear();
    request_.set_cluster_id(cluster_.value);
    request_.set_number(change_->number().value);
    request_.set_founds(change_->founds());
    *request_.mutable_coordinator() = view::to_proto(core_.self);
    view::put_names(core_.record.views.newest(kNamesTold), request_);
    slow_.clear();
    promise_self();
}

// One's own promise comes first and is on disk before anybody is asked. Only then does the time begin that others have.
void Coordinator::promise_self() {
    participant_.on_exchange(request_, for_this_attempt([this](const proto::StateExchangeResponse& own) {
                                 if (is_busy(own)) {
                                     slow_[core_.self.id] = own.error().message();
                                     if (core_.env.now() - began_ < kSlowDiskPatience) return promise_self();
                                     return fail(Failure::kNoQuorum, "no quorum: " + own.error().message());
                                 }
                                 if (own.error().code() != 0) return fail(Failure::kBeaten, own.error().message());
                                 slow_.clear();
                                 for (const auto& [id, member] : invited_)
                                     if (id != core_.self.id) ask(id);
                                 time_is_up_in(kExchangeTimeout);
                                 on_exchange_answer(core_.self.id, own);
                             }));
}

void Coordinator::ask(NodeId id) {
    core_.links.request(address_of(invited_.at(id)), MessageType::kStateExchange, request_, kExchangeTimeout,
                        for_this_attempt([this, id](Result<Message> reply) {
                            proto::StateExchangeResponse response;
                            if (reply && reply->parse(response)) return on_exchange_answer(id, response);
                            not_answered(id);
                        }));
}

void Coordinator::time_is_up_in(Duration time) {
    core_.env.cancel_timer(timer_);
    timer_ = core_.env.set_timer(time, for_this_attempt([this] { consider_install(true); }));
}

bool Coordinator::waits_for_disks() const {
    if (!change_) return false;
    return change_->planned() ? core_.env.now() - planned_ > kLongInstall : !slow_.empty();
}

void Coordinator::on_exchange_answer(NodeId from, const proto::StateExchangeResponse& response) {
    if (change_->planned()) return;
    if (response.node().id() != from.value) return not_answered(from);
    if (is_busy(response) && core_.env.now() - began_ < kSlowDiskPatience) {
        slow_[from] = response.error().message();
        return ask(from);
    }
    slow_.erase(from);
    if (response.error().code() != 0) {
        const bool conflict = response.error().code() == static_cast<std::uint32_t>(ErrorCode::kConflict);
        core_.env.log().log(conflict ? spdlog::level::err : spdlog::level::info,
                            "VIEW exchange view={} refused by={}: {}", change_->number(), protocol::hex(from.value),
                            response.error().message());
        const ViewNumber promised{response.promised()};
        const bool refused = response.error().code() == static_cast<std::uint32_t>(ErrorCode::kRefused) &&
                             ClusterId{response.cluster_id()} == cluster_;
        if (!refused) return not_answered(from);
        if (promised >= core_.record.greatest_promisable()) {
            hint_ = numbers_used_up(invited_.at(from), promised);
            return not_answered(from);
        }
        std::vector<view::View> known;
        for (const proto::View* told : {&response.accepted(), &response.chosen()})
            if (auto view = view::from_proto(*told)) known.push_back(*std::move(view));
        change_->on_refusal(from, promised, std::move(known));
        return consider_install(false);
    }
    view::Answer answer;
    answer.member = view::from_proto(response.node());
    if (answer.member.id != from || response.number() != change_->number().value) return;
    for (auto [has, in, out] : {std::tuple(response.has_accepted(), &response.accepted(), &answer.accepted),
                                std::tuple(response.has_chosen(), &response.chosen(), &answer.chosen)}) {
        if (!has) continue;
        auto view = view::from_proto(*in);
        if (!view) return change_->on_unreachable(from);
        *out = *std::move(view);
    }
    for (const proto::StreamSummary& summary : response.streams())
        answer.streams.push_back(view::holding_from_proto(summary));
    for (std::uint64_t id : response.multicast_heard()) answer.multicast_heard.push_back(NodeId{id});
    answer.no_vote = response.no_vote();
    answer.leaving = response.leaving();
    answer.acknowledges_unflushed = response.acknowledges_unflushed();
    auto promises = view::take_promises(response);
    if (!promises) return change_->on_unreachable(from);
    answer.promises = *std::move(promises);
    if (auto taken = change_->on_answer(std::move(answer)); !taken)
        core_.env.log().error("VIEW exchange view={} excludes a broker: {}", change_->number(), taken.error().message);
    consider_install(false);
}

void Coordinator::not_answered(NodeId from) {
    change_->on_unreachable(from);
    consider_install(false);
}

void Coordinator::lost(NodeId node) {
    if (!change_) return;
    if (change_->planned()) return not_accepted(node);
    not_answered(node);
}

void Coordinator::consider_install(bool time_is_up) {
    if (change_->planned() || (!change_->all_heard() && !time_is_up)) return;
    saw(change_->greatest_number_seen());
    if (const auto member = change_->forgetful())
        core_.env.log().error(
            "VIEW exchange view={} gives node={} name={} no vote: it does not remember a view that counts on it, so "
            "its "
            "data folder is an older copy. It catches up first",
            change_->number(), protocol::hex(member->id.value), member->name);
    if (change_->has_quorum()) {
        if (!waits_for_others()) return install();
        return fail(
            Failure::kNoQuorum,
            "the members that answered may have lost records that they acknowledged: waiting for others that may "
            "hold them");
    }
    // They are there and have not refused: it is their disks that take so long.
    if (!slow_.empty() && !change_->all_heard()) return time_is_up_in(kExchangeTimeout);
    const std::optional<view::View> chosen = change_->chosen_so_far();
    fail(change_->refused() ? Failure::kBeaten : Failure::kNoQuorum, what_is_missing());
    // Else it would ask again and again, and freeze those who serve that view each time.
    if (chosen) events_.learned(*chosen);
}

// Of those that have not answered, too, when that is why.
std::string Coordinator::what_is_missing() const {
    if (!hint_.empty()) return hint_;
    std::string out = change_->what_is_missing();
    for (const auto& [id, text] : slow_) out += "; " + text;
    return out;
}

// Who was left out of the last views may be back in a moment, and hold what their members have lost.
bool Coordinator::waits_for_others() {
    if (!change_->counts_without_vote()) {
        without_vote_since_.reset();
        return false;
    }
    if (!without_vote_since_) without_vote_since_ = core_.env.now();
    return core_.env.now() - *without_vote_since_ < kPatience;
}

void Coordinator::install() {
    core_.env.cancel_timer(timer_);
    const view::Plan& plan = change_->plan();
    planned_ = core_.env.now();
    core_.env.log().info("VIEW install view={} members={} bases={} streams={} transport={} exchange_ms={:.1f}",
                         plan.view.number, plan.view.members.size(), plan.view.bases.size(), plan.streams.size(),
                         plan.view.multicast ? "multicast" : "tcp", milliseconds(planned_ - began_));
    if (plan.counted_without_vote)
        core_.env.log().error(
            "VIEW install view={} counts members that may have lost acknowledged records: all members of the "
            "last view answered, and too few of them kept what was not flushed",
            plan.view.number);
    const proto::ViewInstall message = install_message(cluster_, plan);
    const Duration time = planned_ - began_ < kSlowExchange ? kInstallTimeout : kSlowInstallTimeout;
    timer_ = core_.env.set_timer(
        time, for_this_attempt([this] { fail(Failure::kNotInstalled, "too few members installed the view in time"); }));
    for (const view::Member& member : plan.view.members) {
        if (member.id == core_.self.id) continue;
        core_.links.request(address_of(member), MessageType::kViewInstall, message, time,
                            for_this_attempt([this, id = member.id](Result<Message> reply) {
                                proto::ViewInstallAck ack;
                                if (!reply || !reply->parse(ack)) return not_accepted(id);
                                on_install_answer(id, ack);
                            }));
    }
    participant_.on_install(
        message, for_this_attempt([this](const proto::ViewInstallAck& ack) { on_install_answer(core_.self.id, ack); }));
}

void Coordinator::on_install_answer(NodeId from, const proto::ViewInstallAck& ack) {
    if (ack.error().code() != 0) {
        core_.env.log().warn("VIEW install view={} refused by={}: {}", change_->number(), protocol::hex(from.value),
                             ack.error().message());
        const ViewNumber promised{ack.promised()};
        if (ack.error().code() == static_cast<std::uint32_t>(ErrorCode::kRefused) &&
            promised < core_.record.greatest_promisable())
            saw(promised);
        if (from == core_.self.id) return fail(Failure::kBeaten, ack.error().message());
        return not_accepted(from);
    }
    change_->on_accepted(from);
    if (!change_->is_chosen() || !change_->accepted_by(core_.self.id)) return;
    if (!core_.record.learn_chosen(change_->plan().view)) return;
    core_.env.cancel_timer(timer_);
    // It is running until the disk has it, so that an election that ends meanwhile does not begin another one. Not
    // announced when this node has left the lineage before.
    core_.persist(for_this_attempt([this] {
        const view::Plan plan = change_->plan();
        stop();
        announce(plan);
    }));
}

void Coordinator::not_accepted(NodeId node) {
    change_->on_not_accepted(node);
    if (!change_->can_be_chosen()) fail(Failure::kNotInstalled, "too few members can install the view");
}

void Coordinator::announce(const view::Plan& plan) {
    core_.env.log().info("VIEW chosen view={} members={} install_ms={:.1f} total_ms={:.1f}", plan.view.number,
                         plan.view.members.size(), milliseconds(core_.env.now() - planned_),
                         milliseconds(core_.env.now() - began_));
    last_steps_ = {plan.view.number, reason_, planned_ - began_, core_.env.now() - planned_};
    proto::ViewChosen message;
    message.set_cluster_id(cluster_.value);
    *message.mutable_view() = view::to_proto(plan.view);
    for (const view::Member& holder : plan.holders)
        if (holder.id != core_.self.id)
            core_.links.send(address_of(holder), protocol::request(MessageType::kViewChosen, Correlation{}, message));
    events_.chosen(plan);
}

void Coordinator::fail(Failure failure, const std::string& reason) {
    core_.env.log().warn("VIEW failed view={} {}", change_->number(), reason);
    stop();
    events_.failed(failure, reason);
}

}  // namespace logstream::node
