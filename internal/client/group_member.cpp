#include "internal/client/group_member.h"

#include <algorithm>
#include <utility>

namespace logstream::client {

namespace {
// While an assignment is fresh, others still hand over what they lose: ask more often than the session needs.
constexpr Duration kSettlingInterval = std::chrono::milliseconds(250);
constexpr Duration kRebalanceRetry = std::chrono::milliseconds(100);
constexpr Duration kLastWords = std::chrono::seconds(3);
}  // namespace

GroupMember::GroupMember(Router& router, Options options, AssignmentHandler on_assignment, FailureHandler on_failure)
    : router_(router),
      options_(std::move(options)),
      on_assignment_(std::move(on_assignment)),
      on_failure_(std::move(on_failure)),
      member_("consumer-" + protocol::hex(router.env().random())) {}

GroupMember::~GroupMember() {
    router_.env().cancel_timer(subscribe_timer_);
    router_.env().cancel_timer(commit_timer_);
}

void GroupMember::start() {
    changed_at_ = router_.env().now();
    subscribe();
}

Duration GroupMember::unchanged_for() const { return router_.env().now() - changed_at_; }

void GroupMember::schedule_subscribe(Duration after) {
    router_.env().cancel_timer(subscribe_timer_);
    subscribe_timer_ = router_.env().set_timer(after, [this] { subscribe(); });
}

void GroupMember::subscribe() {
    if (leaving_) return;
    proto::Subscribe ask;
    ask.set_group(options_.group);
    ask.set_member(member_);
    ask.add_topics(options_.topic);
    ask.set_session_timeout_ms(static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(options_.session_timeout).count()));
    ask.set_generation(generation_);
    subscribe_call_ = call_owner<proto::SubscribeResponse>(
        router_, protocol::kGroupsStream, MessageType::kSubscribe, ask, options_.session_timeout,
        [this](Result<proto::SubscribeResponse> response, int /*tries*/) { on_subscribed(std::move(response)); });
}

void GroupMember::on_subscribed(Result<proto::SubscribeResponse> response) {
    if (leaving_) return;
    if (!response) {
        const ErrorCode code = response.error().code;
        if (code == ErrorCode::kInvalid || code == ErrorCode::kWrongCluster || router_.failure())
            return on_failure_(response.error());
        // Our session ended while we were cut off: we come back as a new member and keep what we have until told
        // otherwise.
        if (code == ErrorCode::kFenced) generation_ = 0;
        return schedule_subscribe(kRebalanceRetry);
    }
    Offsets assigned;
    for (const proto::PartitionOffset& part : response->assigned())
        if (part.topic() == options_.topic) assigned[part.partition()] = part.offset();
    const bool other_generation = response->generation() != generation_;
    const auto same_partitions = [](const auto& a, const auto& b) { return a.first == b.first; };
    const bool other_partitions = !std::ranges::equal(assigned, assigned_, same_partitions);
    generation_ = response->generation();
    if (other_generation || other_partitions) {
        changed_at_ = router_.env().now();
        assigned_ = std::move(assigned);
        confirmed_ = !other_generation;
        on_assignment_(assigned_);
        if (!confirmed_) return;  // confirm() goes on
    }
    schedule_subscribe(unchanged_for() < options_.session_timeout ? kSettlingInterval : options_.session_timeout / 3);
}

void GroupMember::confirm(const Offsets& written_offsets) {
    if (leaving_) return;
    for (const auto& [partition, offset] : written_offsets) uncommitted_[partition] = offset;
    commit([this] {
        // What is lost can't be committed any more, should it not have been.
        std::erase_if(uncommitted_, [this](const auto& offset) { return !assigned_.contains(offset.first); });
        confirmed_ = true;
        subscribe();
    });
}

void GroupMember::written(const Offsets& offsets) {
    for (const auto& [partition, offset] : offsets) uncommitted_[partition] = offset;
    schedule_commit();
}

void GroupMember::schedule_commit() {
    if (commit_scheduled_ || leaving_) return;
    commit_scheduled_ = true;
    commit_timer_ = router_.env().set_timer(kCommitEvery, [this] {
        commit_scheduled_ = false;
        if (committing_) return schedule_commit();
        commit([] {});
    });
}

void GroupMember::commit(std::move_only_function<void()> then) {
    if (uncommitted_.empty()) return then();
    if (generation_ == 0 && !leaving_) return schedule_commit();  // not a member now
    proto::CommitOffsets ask;
    ask.set_group(options_.group);
    ask.set_member(member_);
    ask.set_generation(generation_);
    for (const auto& [partition, offset] : uncommitted_) {
        auto* part = ask.add_offsets();
        part->set_topic(options_.topic);
        part->set_partition(partition);
        part->set_offset(offset);
    }
    committing_ = true;
    commit_call_ = call_owner<proto::CommitOffsetsResponse>(
        router_, protocol::kGroupsStream, MessageType::kCommitOffsets, ask,
        leaving_ ? kLastWords : options_.session_timeout,
        [this, sent = uncommitted_, then = std::move(then)](const Result<proto::CommitOffsetsResponse>& response,
                                                            int /*tries*/) mutable {
            committing_ = false;
            if (response) {
                std::erase_if(uncommitted_, [&sent](const auto& offset) {
                    const auto found = sent.find(offset.first);
                    return found != sent.end() && found->second == offset.second;
                });
            } else {
                router_.env().log().warn("COMMIT group={} failed: {}", options_.group, response.error().message);
                if (!leaving_ && confirmed_) schedule_subscribe(Duration{0});
            }
            then();
        });
}

void GroupMember::leave(std::move_only_function<void()> done) {
    leaving_ = true;
    left_ = std::move(done);
    router_.env().cancel_timer(subscribe_timer_);
    router_.env().cancel_timer(commit_timer_);
    subscribe_call_.reset();
    commit([this] { send_leave(); });
}

void GroupMember::send_leave() {
    proto::Subscribe ask;
    ask.set_group(options_.group);
    ask.set_member(member_);
    ask.set_generation(generation_);
    ask.set_leave(true);
    subscribe_call_ = call_owner<proto::SubscribeResponse>(
        router_, protocol::kGroupsStream, MessageType::kSubscribe, ask, kLastWords,
        [this](const Result<proto::SubscribeResponse>&, int /*tries*/) { left_(); });
}

}  // namespace logstream::client
