#include "internal/node/participant.h"

#include <algorithm>
#include <set>

#include "internal/protocol/planted.h"

namespace logstream::node {

namespace {
// No honest attempt of who was no member of this broker's views is that far ahead of it.
constexpr std::uint64_t kMaxAhead = 1'000'000;
constexpr Duration kDiskPatience = std::chrono::milliseconds(250);  // less than a coordinator waits for an answer
constexpr Duration kFlushPatience = std::chrono::seconds(8);        // less than a coordinator waits for a slow disk
}  // namespace

Participant::~Participant() { stop_timers(); }

void Participant::stop_timers() {
    if (!promise_) return;
    for (env::TimerId* timer : {&promise_->patience, &promise_->flush_patience})
        core_.env.cancel_timer(std::exchange(*timer, {}));
}

void Participant::stop_installing() {
    aligner_.reset();
    aligning_ = {};
}

void Participant::reset() {
    ++resets_;
    installed_.reset();
    stop_installing();
}

void Participant::refuse(ViewNumber number, ErrorCode code, std::string text, const ExchangeReply& reply) const {
    proto::StateExchangeResponse out;
    *out.mutable_error() = to_proto(Error{code, std::move(text)});
    out.set_number(number.value);
    *out.mutable_node() = view::to_proto(core_.self);
    out.set_cluster_id(core_.record.cluster.value);
    out.set_promised(core_.record.promised.value);
    if (code == ErrorCode::kRefused) put_views(out);
    reply(out);
}

void Participant::put_views(proto::StateExchangeResponse& out) const {
    if (core_.record.accepted) *out.mutable_accepted() = view::to_proto(*core_.record.accepted);
    if (core_.record.chosen) *out.mutable_chosen() = view::to_proto(*core_.record.chosen);
}

bool Participant::is_member_of_mine(NodeId node) const {
    const view::Record& record = core_.record;
    return node == core_.self.id || (record.accepted && record.accepted->has(node)) ||
           (record.chosen && record.chosen->has(node));
}

void Participant::on_exchange(const proto::StateExchange& request, ExchangeReply reply) {
    const ViewNumber number{request.number()};
    const NodeId coordinator{request.coordinator().id()};
    const protocol::Incarnation incarnation{request.coordinator().incarnation()};
    if (core_.record.cluster.value != 0 && request.cluster_id() != core_.record.cluster.value)
        return refuse(number, ErrorCode::kWrongCluster, "this broker belongs to another lineage", reply);
    if (const auto why = events_.why_outside()) return refuse(number, ErrorCode::kInvalid, *why, reply);
    const auto conflict = core_.record.views.conflict(view::take_names(request));
    if (conflict && !events_.recovers()) {
        std::string text = view::explain_conflict(*conflict, request.coordinator().name());
        if (conflict_said_.is_due(text, core_.env.now())) core_.env.log().error("VIEW exchange refused: {}", text);
        return refuse(number, ErrorCode::kConflict, std::move(text), reply);
    }
    if (!is_member_of_mine(coordinator) && number > core_.record.greatest_number() + kMaxAhead)
        return refuse(number, ErrorCode::kInvalid,
                      fmt::format("number {} is further ahead than an unknown coordinator may propose", number), reply);
    if (!core_.record.may_promise(number, coordinator, incarnation))
        return refuse(number, ErrorCode::kRefused, fmt::format("number {} is promised", core_.record.promised), reply);
    if (promise_ && promise_->number == number && core_.record.promised == number) {
        if (promise_->kept) return answer_exchange(number, reply);
        return await_promise(std::move(reply));
    }
    if (!frozen()) {
        frozen_at_ = core_.env.now();
        core_.env.log().info("VIEW freeze view={} for={}", installed_->number, number);
    }
    core_.record.promise(number, coordinator, incarnation);
    // A view of an old lineage may soon need this broker: it founds no other one. A lineage that is being founded is
    // entered with its first accepted view only, or this broker would wait for one that never came to be.
    if (!request.founds()) core_.record.cluster = ClusterId{request.cluster_id()};
    stop_installing();
    begin_promise(number, std::move(reply));
    events_.freeze();
    const auto promised = [this, promise = promises_] {
        core_.when_still([this, promise] { flush_and_answer(promise); });
    };
    if (protocol::planted(protocol::Bug::kPromiseNotPersisted)) return promised();
    core_.persist(promised);
}

void Participant::begin_promise(ViewNumber number, ExchangeReply reply) {
    stop_timers();
    if (promise_) {
        for (const ExchangeReply& waiting : std::exchange(promise_->waiting, {}))
            refuse(promise_->number, ErrorCode::kRefused, fmt::format("number {} is promised", number), waiting);
    }
    promise_ = Promise{number, core_.env.now(), {}, {}, {}, false};
    ++promises_;
    await_promise(std::move(reply));
}

// Whoever waits is told before it gives up that it is the disk that takes so long, and asks again.
void Participant::await_promise(ExchangeReply reply) {
    promise_->waiting.push_back(std::move(reply));
    if (promise_->patience.value != 0) return;
    promise_->patience = core_.env.set_timer(kDiskPatience, [this] {
        promise_->patience = {};
        const std::string text =
            fmt::format("the disk of {} is {}: writing its promise has taken {:.1f} s so far", core_.self.name,
                        core_.has_room ? "slow" : "full", milliseconds(core_.env.now() - promise_->since) / 1000);
        for (const ExchangeReply& waiting : std::exchange(promise_->waiting, {}))
            refuse(promise_->number, ErrorCode::kBusy, text, waiting);
    });
}

// What was appended becomes durable before it is reported, as long as the coordinator is known to wait for that: else
// it would be taken for departed from the base log, and come back as orphans. What is reported then is what is durable,
// which covers all that was acknowledged and cannot shrink.
void Participant::flush_and_answer(std::uint64_t promise) {
    if (promise != promises_) return;
    const auto answer = [this, promise] {
        if (promise != promises_ || std::exchange(promise_->kept, true)) return;
        stop_timers();
        for (const ExchangeReply& waiting : std::exchange(promise_->waiting, {}))
            answer_exchange(promise_->number, waiting);
    };
    promise_->flush_patience = core_.env.set_timer(kFlushPatience, answer);
    core_.store.flush([this, answer](const Result<void>& flushed) {
        if (!flushed) return core_.fatal(flushed.error());
        answer();
    });
}

void Participant::answer_exchange(ViewNumber number, const ExchangeReply& reply) {
    if (core_.record.promised != number)
        return refuse(number, ErrorCode::kRefused, fmt::format("number {} is promised", core_.record.promised), reply);
    proto::StateExchangeResponse out;
    out.set_number(number.value);
    *out.mutable_node() = view::to_proto(core_.self);
    out.set_cluster_id(core_.record.cluster.value);
    out.set_promised(core_.record.promised.value);
    put_views(out);
    for (const view::StreamHolding& holding : core_.streams.holdings(Streams::Extent::kDurable, core_.record.views))
        *out.add_streams() = view::to_proto(holding);
    out.set_no_vote(core_.record.must_relearn || core_.store.damaged());
    for (NodeId id : events_.multicast_heard()) out.add_multicast_heard(id.value);
    out.set_leaving(events_.leaving());
    out.set_acknowledges_unflushed(core_.settings.loses_unflushed);
    view::put_promises(core_.record.promises, out);
    reply(out);
}

void Participant::reply_install(ViewNumber number, const Result<void>& result, const InstallReply& reply) const {
    proto::ViewInstallAck out;
    if (!result) *out.mutable_error() = to_proto(result.error());
    out.set_number(number.value);
    out.set_node(core_.self.id.value);
    out.set_promised(core_.record.promised.value);
    reply(out);
}

void Participant::refuse_install(ViewNumber number, const InstallReply& reply) const {
    reply_install(number,
                  protocol::fail(ErrorCode::kRefused, "number {} is promised, view {} chosen", core_.record.promised,
                                 core_.record.chosen_number()),
                  reply);
}

void Participant::on_install(const proto::ViewInstall& request, InstallReply reply) {
    const ViewNumber number{request.view().number()};
    auto view = view::from_proto(request.view());
    if (!view) return reply_install(number, std::unexpected(view.error()), reply);
    if (core_.condemned())
        return reply_install(number, protocol::fail(ErrorCode::kBusy, "{}", core_.record.verdict), reply);
    if (core_.record.cluster.value != 0 && request.cluster_id() != core_.record.cluster.value)
        return reply_install(number, protocol::fail(ErrorCode::kWrongCluster, "this broker belongs to another lineage"),
                             reply);
    if (installed_ && *installed_ == *view && core_.record.promised == number) return reply_install(number, {}, reply);
    if (!view->has(core_.self.id, core_.self.incarnation))
        return reply_install(
            number, protocol::fail(ErrorCode::kRefused, "the view names an earlier or later run of this broker"),
            reply);
    const bool over = core_.record.accepted_number() >= number && !protocol::planted(protocol::Bug::kViewNumberReused);
    if (!core_.record.may_accept(*view) || !core_.record.is_latest(number) || over)
        return refuse_install(number, reply);
    if (aligning_ == number && aligner_)
        return reply_install(number, protocol::fail(ErrorCode::kBusy, "view {} is being installed", number), reply);

    std::vector<NodeId> holders;
    for (const proto::Member& holder : request.holders()) holders.push_back(NodeId{holder.id()});
    std::vector<AlignTarget> targets;
    std::set<StreamId> planned;
    std::vector<view::ViewName> names = view::names_of(*view);
    // Brokers that found a lineage hold nothing; so these go on by a person's word.
    const bool recovers = view->bases.empty();
    const auto purpose = recovers ? AlignTarget::Purpose::kRecover : AlignTarget::Purpose::kAgree;
    // Survivors may have histories that contradict; only the plan knows whose log is the base log.
    const std::vector<NodeId> others = recovers ? std::vector<NodeId>{} : holders;
    for (const proto::StreamBase& base : request.streams()) {
        view::StreamPlan plan = view::plan_from_proto(base);
        const Offset end = plan.log_end;
        planned.insert(plan.stream);
        std::ranges::move(view::names_of(plan.epochs), std::back_inserter(names));
        targets.push_back({.plan = std::move(plan), .fetch_to = end, .others = others, .purpose = purpose});
    }
    if (const auto conflict = core_.record.views.conflict(names); conflict && !recovers)
        return reply_install(number,
                             protocol::fail(ErrorCode::kConflict, "{}",
                                            view::explain_conflict(*conflict, view->find(view->coordinator)->name)),
                             reply);
    // A stream that the base log does not have is empty in it. What was committed is in every base log, unless its
    // topic was deleted while this broker was away: that is told by the metadata stream once the view is chosen, and
    // nothing is given up before.
    unplanned_.clear();
    for (const auto& [id, stream] : core_.streams.all()) {
        if (planned.contains(id)) continue;
        const bool committed = stream.high_watermark > stream.log->log_start();
        if (committed && !protocol::is_internal(id) && !recovers)
            unplanned_.push_back(id);
        else
            targets.push_back({.plan = {id, Offset{}, Offset{}, {}, {}, 0}, .purpose = purpose});
    }

    aligning_ = number;
    const protocol::TimePoint began = core_.env.now();
    aligner_ = std::make_unique<Aligner>(
        core_, ClusterId{request.cluster_id()}, std::move(targets),
        [holders = request.holders()](NodeId id) -> std::optional<Endpoint> {
            for (const proto::Member& holder : holders)
                if (holder.id() == id.value) return address_of(view::from_proto(holder));
            return std::nullopt;
        },
        [this, request, view = *view, reply, began, names](Result<void> aligned) {
            core_.env.log().info("VIEW merge view={} fetched_bytes={} ms={:.1f}{}", view.number,
                                 aligner_->fetched_bytes(), milliseconds(core_.env.now() - began),
                                 aligned ? "" : " failed: " + aligned.error().message);
            // The aligner is not destroyed inside its own callback.
            core_.env.set_timer(Duration{0}, [this, request, view, reply, aligned, names] {
                if (!aligned) {
                    if (aligning_ == view.number) stop_installing();
                    return reply_install(view.number, aligned, reply);
                }
                finish_install(request, view, names, reply);
            });
        });
}

void Participant::finish_install(const proto::ViewInstall& request, const view::View& view,
                                 const std::vector<view::ViewName>& names, const InstallReply& reply) {
    // While the disk works another number may be promised, a newer view be known to be chosen, or the view be left.
    const auto stands = [this, number = view.number, resets = resets_] {
        return resets == resets_ && core_.record.is_latest(number);
    };
    if (installing() != view.number) return refuse_install(view.number, reply);
    stop_installing();
    if (!stands()) return refuse_install(view.number, reply);
    core_.record.cluster = ClusterId{request.cluster_id()};
    core_.record.views.adopt(names);
    core_.record.accept(view);
    core_.record.must_relearn = false;
    if (request.has_chosen())
        if (auto chosen = view::from_proto(request.chosen())) core_.record.learn_chosen(*chosen);
    core_.persist([this, view, reply, stands] {
        if (!stands()) return refuse_install(view.number, reply);
        installed_ = view;
        events_.accepted(view);
        reply_install(view.number, {}, reply);
    });
}

}  // namespace logstream::node
