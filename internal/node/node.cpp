#include "internal/node/node.h"

#include <algorithm>

#include "internal/protocol/planted.h"

namespace logstream::node {

using protocol::hex;

namespace {
constexpr Duration kTick = std::chrono::milliseconds(100);
// Fewer than what makes a failure: members that fail because multicast stopped do not rely on it in the next view.
constexpr int kHeardOfLateBeats = 4;
constexpr Duration kWatermarksInterval = std::chrono::seconds(5);
constexpr Duration kLeaveTimeout = std::chrono::seconds(2);
// Leaders announce themselves every second or so.
constexpr Duration kApartMemory = std::chrono::seconds(10);
constexpr Duration kCloseTimeout = std::chrono::seconds(5);
}  // namespace

Node::Node(env::Env& env, storage::Store& store, Settings settings, FatalHandler fatal)
    : settings_(std::move(settings)),
      links_(env, [this](Endpoint address) { watch_.link_lost(address); }),
      streams_(store),
      clocks_(env),
      core_{env, settings_, store, links_, streams_, clocks_, {}, {}, std::move(fatal)},
      watch_(env, settings_, links_, [this](NodeId member) { on_member_failed(member); }),
      identity_check_(env, links_,
                      {.known_runs = [this](NodeId id) { return known_runs(id); },
                       .heard = [this](const view::Member& run) { return is_member(run) && !watch_.failed(run.id); }}),
      introductions_(
          env, identity_check_,
          {.confirmed = [this](env::ConnectionId connection, const view::Member& from,
                               Message message) { service_.on_broker(connection, from, std::move(message)); },
           .is_member = [this](const view::Member& run) { return is_member(run); },
           .twins = [this](const view::Member& later, const view::Member& earlier) { on_twins(later, earlier); },
           .refused = [this](env::ConnectionId connection) { service_.close(connection); }}),
      participant_(core_, {.freeze = [this] { on_freeze(); },
                           .accepted = [this](const view::View& view) { on_accepted(view); },
                           .multicast_heard = [this] { return multicast_heard(); },
                           .leaving = [this] { return left_ != nullptr || draining_; },
                           .why_outside = [this] { return why_outside(); },
                           .recovers = [this] { return !survivors_.empty(); }}),
      coordinator_(
          core_, participant_,
          {.chosen = [this](const view::Plan& plan) { on_change_done(plan); },
           .failed = [this](Coordinator::Failure failure, const std::string& why) { on_change_failed(failure, why); },
           .learned = [this](const view::View& view) { went_on_without(view); }}),
      elector_(
          env, links_,
          {.may_elect = [this](const Reachable& found) { return may_elect(found); },
           .won = [this](const std::vector<view::Member>& ring, ClusterId lineage) { on_election_won(ring, lineage); },
           .over =
               [this] {
                   if (!settled()) arm_watchdog(std::chrono::milliseconds(700));
               },
           .describe = [this] { return on_probe({}); },
           .twins =
               [this](const view::Member& a, const view::Member& b) {
                   if (a.id == core_.self.id) return meet_twin(a);
                   on_twins(a, b);
               }}),
      discovery_(env, settings_, links_,
                 {.describe = [this] { return describe_join(); },
                  .answer = [this] { return describe_answer(); },
                  .heard = [this](const Candidate& candidate) { on_candidate(candidate); },
                  .found_leader = [this](const proto::JoinResponse& r) { on_leader_found(r); },
                  .twin = [this](const view::Member& twin) { on_twin_heard(twin); }}),
      learner_(core_,
               {.taught = [this](ClusterId cluster, const view::View& view,
                                 std::function<void()> recorded) { on_taught(cluster, view, std::move(recorded)); },
                .gave_up = [this](const Error& error) { seek(error.message); },
                .multicast_heard = [this] { return multicast_heard(); },
                .conflict = [this](const std::string& text) { core_.condemn({ErrorCode::kConflict, text}); },
                .stays_outside = [this] { return draining_ || left_ != nullptr || elsewhere_; }}),
      replicator_(core_, {.unheard = [this] { return unheard(); },
                          .proves_chosen =
                              [this](ViewNumber view) {
                                  const auto& installed = participant_.installed();
                                  if (installed && installed->number == view && !participant_.frozen())
                                      on_chosen(*installed);
                              },
                          .slow =
                              [this](NodeId member) {
                                  proto::PeerReport report;
                                  report.set_cluster_id(core_.record.cluster.value);
                                  report.set_view(serving_ ? serving_->number.value : 0);
                                  report.set_node(core_.self.id.value);
                                  report.add_slow(member.value);
                                  if (is_leader()) return on_peer_report(report);
                                  if (serving_)
                                      links_.send(address_of(*serving_->find(serving_->coordinator)),
                                                  protocol::request(MessageType::kPeerReport, Correlation{}, report));
                              },
                          .broken =
                              [this](const std::string& why) {
                                  core_.env.log().error("REPLICATE broken: {}; leaving the view to catch up again",
                                                        why);
                                  leave_view(why);
                                  seek("cannot follow the owner");
                              },
                          .committed =
                              [this] {
                                  if (!left_) send_heartbeat(Beat::kExtra);
                              }}),
      topics_(env, streams_, [this](protocol::TopicId topic) { streams_.remove(topic); }),
      groups_(env, settings_, streams_, topics_,
              [this](protocol::Bytes batch, Groups::AppendHandler done) {
                  auto stream = streams_.open(protocol::kGroupsStream);
                  if (!stream) return done(std::unexpected(stream.error()));
                  replicator_.produce(**stream, std::move(batch), proto::QUORUM, std::move(done));
              }),
      retention_(core_, topics_),
      orphans_(
          core_, [this](StreamId stream) { return owner_of(stream); },
          [this](StreamId stream) { return topics_.was_deleted(stream.topic); }),
      repair_(core_,
              [this](const std::string& why) {
                  // Alone there is nobody to catch up with: what is whole is served, until retention takes the rest.
                  if (serving_->members.size() == 1) return;
                  core_.env.log().error("REPAIR {}; leaving the view to catch up again", why);
                  leave_view(why);
                  seek("damage on disk");
              }),
      service_(*this) {}

Node::~Node() {
    for (env::TimerId timer : {tick_timer_, seek_timer_, change_timer_, watchdog_}) core_.env.cancel_timer(timer);
}

void Node::start() {
    env::Env& env = core_.env;
    std::string unreadable = core_.store.state_damaged() ? "it is damaged" : "";
    if (core_.store.state() && !core_.store.state_damaged()) {
        auto record = view::decode_record(core_.store.state()->view());
        if (record)
            core_.record = *std::move(record);
        else
            unreadable = record.error().message;
    }
    if (settings_.new_identity) renew_identity();
    if (core_.record.node.value == 0) {
        if (!unreadable.empty())
            env.log().error(
                "STATE the state file cannot be trusted: this broker discards its old id and promises and joins as a "
                "new member ({})",
                unreadable);
        core_.record = view::Record::made_for(NodeId{env.random() | 1});
        core_.record.must_relearn = !unreadable.empty();
    }
    if (settings_.loses_unflushed)
        env.log().warn(
            "STORAGE storage.fsync is {}: records are acknowledged before they are flushed; if most machines lose "
            "their "
            "power at once, the last ones acknowledged are lost",
            settings_.fsync);
    if (core_.store.may_lack_acknowledged()) {
        env.log().warn(
            "STATE the machine went down uncleanly and records were acknowledged before they were flushed: some may be "
            "missing here; this broker catches up before it votes");
        core_.record.must_relearn = true;
    }
    const env::DatagramLimits limits = env.datagram_limits();
    core_.self = view::Member{core_.record.node,
                              protocol::Incarnation{env.random() | 1},
                              settings_.name,
                              settings_.address.ip,
                              settings_.address.port,
                              settings_.http_port,
                              std::min<std::uint64_t>(settings_.window_bytes, limits.receive_buffer_bytes / 2),
                              static_cast<std::uint32_t>(limits.max_datagram_bytes),
                              settings_.protocol_version};
    look_where_it_woke();
    // With the incarnation that the view names, the others take it for the member that it was.
    bool goes_on = protocol::planted(protocol::Bug::kRestartedOwner) && core_.record.accepted &&
                   core_.record.chosen == core_.record.accepted &&
                   core_.record.promised == core_.record.accepted_number();
    if (goes_on) core_.self.incarnation = core_.record.accepted->find(core_.record.node)->incarnation;
    streams_.recall(core_.record.cluster);
    topics_.reader().start();
    groups_.start();
    links_.introduce_as(view::to_proto(core_.self));
    core_.persist([this, goes_on] {
        if (left_) return;  // it waited for room till then
        if (goes_on) participant_.go_on_after_restart();
        core_.env.log().info("NODE start id={} name={} address={} cluster={} chosen={} streams={}",
                             hex(core_.self.id.value), settings_.name, env::to_string(settings_.address),
                             settings_.cluster, core_.record.chosen_number(), streams_.all().size());
        tick();
        if (core_.condemned()) say_condemned();
        seek("started");
    });
}

void Node::say_condemned() const {
    const std::string address = env::to_string(settings_.address);
    core_.env.log().error(
        "ClusterState role=stopped this broker does not take part in the cluster and leaves its data unchanged: {}. If "
        "the other "
        "brokers are right, move its data folder away and start it: it joins as a new one. If its records are the ones "
        "to keep, `logstreamctl recover {}` starts a new lineage from them; `logstreamctl merge` then adds the others'",
        core_.record.verdict, address);
}

const view::Member* Node::owner_of(StreamId stream) const {
    if (!serving_) return nullptr;
    return serving_->find(stream == protocol::kMetadataStream ? serving_->coordinator : ring_.owner(stream));
}

std::optional<Error> Node::unheard() const {
    if (!serving_ || watch_.majority_heard() || protocol::planted(protocol::Bug::kMinorityWrites)) return std::nullopt;
    if (const Duration slept = watch_.slept(); slept.count() > 0 && watch_.majority_in_reach())
        return Error{
            ErrorCode::kNoQuorum,
            fmt::format("this broker was suspended for {:.1f} s and accepts no writes until a majority of view {} "
                        "has answered it; retry",
                        protocol::milliseconds(slept) / 1000, serving_->number)};
    return Error{ErrorCode::kNoQuorum, fmt::format("no quorum: view {} has {} of {} members in reach", serving_->number,
                                                   watch_.heard(), serving_->members.size())};
}

std::string Node::why_no_view() const {
    const std::size_t here = discovery_.candidates().size() + 1;
    if (has_history() || here >= settings_.expect) return "this broker is not in a view yet; retry";
    return fmt::format("this broker is not in a view yet: it waits for {} more broker{} (cluster.expect is {})",
                       settings_.expect - here, settings_.expect - here == 1 ? "" : "s", settings_.expect);
}

std::optional<Error> Node::history() const {
    if (const auto why = why_outside()) return Error{ErrorCode::kNoQuorum, *why};
    if (!serving_ || participant_.frozen()) {
        if (!no_quorum_.empty()) return Error{ErrorCode::kNoQuorum, no_quorum_};
        if (!serving_) return Error{ErrorCode::kBusy, why_no_view()};
    }
    if (auto error = unheard()) return error;
    if (!serving()) return Error{ErrorCode::kBusy, fmt::format("view {} is changing; retry", serving_->number)};
    return std::nullopt;
}

std::optional<Error> Node::refusal() const {
    if (core_.store.failed())
        return Error{ErrorCode::kDisk, "this broker's disk failed; it accepts no records until it is restarted"};
    if (const auto history = this->history()) return history;
    if (sealed_)
        return Error{ErrorCode::kRefused,
                     "this cluster's records are being merged into another one: it accepts no more"};
    if (serving_->members.size() < settings_.min_in_sync)
        return Error{ErrorCode::kRefused,
                     fmt::format("view {} has {} members, but replication.min_in_sync requires {}", serving_->number,
                                 serving_->members.size(), settings_.min_in_sync)};
    return std::nullopt;
}

void Node::on_frame(const env::ReceivedFrame& frame) {
    if (core_.self.id.value == 0) return;  // not started
    if (frame.channel == env::Channel::kMulticast) note_multicast(frame.header.sender, frame.from);
    const auto parse = [&frame](auto& out) {
        return out.ParseFromArray(frame.payload.data(), static_cast<int>(frame.payload.size()));
    };
    switch (frame.header.type) {
        case MessageType::kJoin:
            if (proto::Join join; parse(join)) discovery_.on_join(join, frame.from);
            break;
        case MessageType::kJoinResponse:
            if (proto::JoinResponse response; parse(response)) discovery_.on_join_response(response);
            break;
        case MessageType::kHeartbeat:
            if (proto::Heartbeat heartbeat; parse(heartbeat) && is_known_at(NodeId{heartbeat.node()}, frame.from))
                on_peer_heartbeat(heartbeat, frame.from);
            break;
        case MessageType::kReplicate:
            replicator_.on_frame(frame.header, frame.payload, frame.from);
            break;
        case MessageType::kNack:
            if (proto::Nack nack; parse(nack)) replicator_.on_nack(nack, frame.from);
            break;
        case MessageType::kNackGone:
            if (proto::NackGone gone; parse(gone)) replicator_.on_nack_gone(gone, frame.header.sender, frame.from);
            break;
        default:
            break;
    }
}

// Strangers are of account only to who looks for a cluster, and never in the place of those that it knows.
void Node::note_multicast(NodeId sender, Endpoint from) {
    constexpr std::size_t kMaxStrangers = 256;
    const bool looks_for_others = !participant_.installed() && multicast_heard_.size() < kMaxStrangers;
    if (looks_for_others || is_known_at(sender, from)) multicast_heard_[sender] = core_.env.now();
}

void Node::on_peer_heartbeat(const proto::Heartbeat& heartbeat, Endpoint from) {
    const NodeId node{heartbeat.node()};
    const auto& installed = participant_.installed();
    if (!installed || heartbeat.cluster_id() != core_.record.cluster.value) return;
    if (heartbeat.view() > installed->number.value) {
        // Others went on without this node, or it missed its VIEW_INSTALL: look for the leader if that lasts.
        if (!participant_.frozen() && watchdog_.value == 0) arm_watchdog(std::chrono::milliseconds(500));
        return;
    }
    if (heartbeat.view() != installed->number.value || heartbeat.view_id() != installed->id.value ||
        !installed->has(node, protocol::Incarnation{heartbeat.incarnation()}))
        return;
    if (!heartbeat.extra()) watch_.heartbeat(node);
    clocks_.heard(*installed->find(node), heartbeat.wall_clock_ms());
    log_end_totals_[node] = heartbeat.log_end_total();
    replicator_.on_heartbeat(heartbeat, from);
    on_reach_report(node, heartbeat);
}

void Node::send_heartbeat(Beat beat) {
    const auto& installed = participant_.installed();
    const protocol::ClusterTag tag = protocol::cluster_tag(settings_.cluster);
    if (!installed) {
        proto::ProbeMulticast probe;
        probe.set_node(core_.self.id.value);
        probe.set_incarnation(core_.self.incarnation.value);
        const env::OutFrame frame{
            protocol::encode_frame({MessageType::kProbeMulticast, 0, tag, {}, core_.self.id, {}}, probe), {}};
        core_.env.multicast(std::span(&frame, 1));
        return;
    }
    proto::Heartbeat heartbeat;
    heartbeat.set_cluster_id(core_.record.cluster.value);
    heartbeat.set_view(installed->number.value);
    heartbeat.set_view_id(installed->id.value);
    heartbeat.set_node(core_.self.id.value);
    heartbeat.set_incarnation(core_.self.incarnation.value);
    heartbeat.set_log_end_total(streams_.log_end_total());
    heartbeat.set_wall_clock_ms(core_.env.wall_clock_ms());
    heartbeat.set_extra(beat == Beat::kExtra);
    for (NodeId lost : watch_.failed()) heartbeat.add_lost(lost.value);
    if (!installed->multicast)
        for (NodeId heard : multicast_heard()) heartbeat.add_multicast_heard(heard.value);
    heartbeat.set_serving(serving() && serving_->number == installed->number);
    replicator_.fill(heartbeat);
    // Multicast always, so that its return is noticed; by TCP to the leader, and to all where multicast does not work.
    const env::OutFrame frame{
        protocol::encode_frame({MessageType::kHeartbeat, 0, tag, installed->number, core_.self.id, {}}, heartbeat), {}};
    core_.env.multicast(std::span(&frame, 1));
    for (const view::Member& member : installed->members)
        if (member.id != core_.self.id && (!installed->multicast || member.id == installed->coordinator))
            links_.send(address_of(member), protocol::request(MessageType::kHeartbeat, Correlation{}, heartbeat));
}

std::vector<NodeId> Node::multicast_heard() const {
    std::vector<NodeId> out;
    for (const auto& [id, at] : multicast_heard_)
        if (core_.env.now() - at <= kHeardOfLateBeats * settings_.heartbeat) out.push_back(id);
    return out;
}

void Node::tick() {
    tick_timer_ = core_.env.set_timer(std::min(kTick, settings_.heartbeat), [this] { tick(); });
    const protocol::TimePoint now = core_.env.now();
    watch_.awake();
    core_.store.tick(now);
    if (core_.store.failed()) return core_.fatal(Error{ErrorCode::kDisk, "the disk failed a write or a flush"});
    send_heartbeat(Beat::kRegular);
    replicator_.tick();
    service_.tick();
    if (serving() && repair_.is_due()) repair_.tick(serving_->number, repair_peers());
    // An election may have found nobody to make a quorum of; their connections may pass again any moment.
    if (serving() && !settled() && !elector_.running() && !coordinator_.running() && !learner_.running())
        seek("the leader or a majority is out of reach");
    if (!apart_.empty() && core_.env.now() - apart_heard_ > kApartMemory) apart_.clear();
    const view::Member* groups_owner = owner_of(protocol::kGroupsStream);
    if (!refusal() && groups_owner != nullptr && groups_owner->id == core_.self.id && groups_.ready()) groups_.tick();
    if (now - last_watermarks_ >= kWatermarksInterval) {
        last_watermarks_ = now;
        core_.store.save_watermarks(core_.record.cluster, streams_.watermarks());
    }
    clocks_.compare_with(serving() ? std::optional(serving_->members.size() - 1) : std::nullopt);
    clocks_.tick();
    retention_.tick();
    streams_.sample_rates(now);
    std::erase_if(multicast_heard_, [&](const auto& entry) { return now - entry.second > std::chrono::seconds(60); });
    if (is_leader()) look_for_multicast();
    if (is_leader() && !ready_learners_.empty()) want_change("a learner is ready");
}

// The other members, and those who wait outside: of a view that shrank to one the records are there.
std::vector<view::Member> Node::repair_peers() const {
    std::vector<view::Member> out;
    for (const view::Member& member : serving_->members)
        if (member.id != core_.self.id) out.push_back(member);
    for (const auto& [id, learner] : learners_)
        if (core_.env.now() - learner.heard <= kOutsiderMemory) out.push_back(learner.member);
    return out;
}

void Node::leave(std::function<void()> done) {
    if (left_) return;
    left_ = std::move(done);
    core_.env.log().info("NODE leaving");
    env::Env& env = core_.env;
    env.set_timer(kLeaveTimeout, lifetime_.guard([this] { finish_leaving(); }));
    // The view shrinks only while at least two members remain, so that stopping a whole cluster strands nobody.
    if (!serving() || serving_->members.size() < 3) return finish_leaving();
    const view::Member* heir = nullptr;
    for (const view::Member& member : serving_->members)
        if (member.id != core_.self.id && !watch_.failed(member.id)) heir = &member;
    if (heir == nullptr) return finish_leaving();
    // The leader asks its heir to propose the view without it; anybody else asks the leader.
    const view::Member& asked = is_leader() ? *heir : *serving_->find(serving_->coordinator);
    proto::Handover request;
    request.set_leaving(core_.self.id.value);
    request.set_cluster_id(core_.record.cluster.value);
    links_.request(address_of(asked), MessageType::kHandover, request, std::chrono::seconds(1),
                   lifetime_.guard([this](auto reply) {
                       proto::HandoverResponse response;
                       if (!reply || !reply->parse(response) || response.error().code() != 0) finish_leaving();
                   }));
}

void Node::finish_leaving() {
    if (!left_ || std::exchange(finishes_, true)) return;
    for (env::TimerId* timer : {&tick_timer_, &seek_timer_, &change_timer_, &watchdog_}) {
        core_.env.cancel_timer(*timer);
        *timer = {};
    }
    elector_.stop();
    coordinator_.stop();
    learner_.stop();
    replicator_.stop("the broker is stopping");
    discovery_.set_mode(Discovery::Mode::kQuiet);
    participant_.reset();
    const auto end = [this, ended = std::make_shared<bool>(false)] {
        if (std::exchange(*ended, true)) return;
        core_.env.log().info("NODE stopped");
        const auto done = left_;
        done();
    };
    // A full disk takes nothing, perhaps for hours; what was acknowledged is on it already.
    core_.env.set_timer(kCloseTimeout, lifetime_.guard([this, end] {
        core_.env.log().error(
            "STORE was not closed in time: the next start will recover as after a crash; nothing is lost");
        end();
    }));
    core_.store.save_watermarks(core_.record.cluster, streams_.watermarks());
    core_.persist([this, end] {
        core_.store.close([this, end](Result<void> closed) {
            if (!closed) core_.env.log().error("STORE close failed: {}", closed.error().message);
            end();
        });
    });
}

}  // namespace logstream::node
