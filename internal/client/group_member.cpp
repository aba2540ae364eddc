#include "internal/client/group_member.h"

#include <algorithm>
#include <utility>

#include "internal/client/retry.h"

namespace logstream::client {

namespace {
// While an assignment is fresh, others still hand over what they lose: ask more often than the session needs.
constexpr Duration kSettlingInterval = std::chrono::milliseconds(250);
constexpr Duration kRebalanceRetry = std::chrono::milliseconds(100);
constexpr Duration kLastWords = std::chrono::seconds(3);
// An answer that has not come by then is asked for anew, with what has changed meanwhile.
constexpr Duration kPatience = std::chrono::seconds(3);
}  // namespace

GroupMember::GroupMember(Router& router, Options options, Handlers handlers)
    : router_(router),
      options_(std::move(options)),
      handlers_(std::move(handlers)),
      member_("consumer-" + protocol::hex(router.env().random())) {}

GroupMember::~GroupMember() {
    for (const env::TimerId timer : {subscribe_timer_, confirm_timer_, commit_timer_})
        router_.env().cancel_timer(timer);
}

void GroupMember::start() {
    changed_at_ = heard_at_ = router_.env().now();
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
    ask.set_cluster_id(router_.view().cluster_id.value);
    ask.set_group(options_.group);
    ask.set_member(member_);
    ask.add_topics(options_.topic);
    ask.set_session_timeout_ms(static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(options_.session_timeout).count()));
    ask.set_generation(confirmed_generation_);
    subscribe_call_ = call_owner<proto::SubscribeResponse>(
        router_, protocol::kGroupsStream, MessageType::kSubscribe, ask, std::min(options_.session_timeout, kPatience),
        [this, at = router_.env().now()](Result<proto::SubscribeResponse> response, int /*tries*/) {
            on_subscribed(std::move(response), at);
        });
}

void GroupMember::on_subscribed(Result<proto::SubscribeResponse> response, TimePoint asked_at) {
    if (leaving_) return;
    if (!response) return on_refused(response.error());
    trouble_.clear();
    Offsets assigned;
    for (const proto::PartitionOffset& part : response->assigned())
        if (part.topic() == options_.topic) assigned[{TopicId{part.topic_id()}, part.partition()}] = part.offset();
    const bool lived = lives();
    heard_at_ = asked_at;
    const bool other_generation = response->generation() != generation_;
    const auto same_partitions = [](const auto& a, const auto& b) { return a.first == b.first; };
    const bool other_partitions = !std::ranges::equal(assigned, assigned_, same_partitions);
    const bool changed = other_generation || other_partitions;
    generation_ = response->generation();
    longest_session_ =
        std::max(options_.session_timeout, Duration(std::chrono::milliseconds(response->longest_session_ms())));
    if (changed) {
        changed_at_ = router_.env().now();
        assigned_ = std::move(assigned);
        take_resets();
    }
    schedule_subscribe(unchanged_for() < options_.session_timeout ? kSettlingInterval : options_.session_timeout / 3);
    if (changed) handlers_.assigned(assigned_);
    if (!lived) handlers_.lives_again();
}

// Commits never move an offset back: an operator has, while this member was not in the group.
void GroupMember::take_resets() {
    for (const auto& [stream, position] : assigned_) {
        const auto committed = committed_.find(stream);
        if (position < 0 || committed == committed_.end() || position >= committed->second) continue;
        router_.env().log().warn("group '{}' was reset: partition {} of '{}' continues at offset {} instead of {}",
                                 options_.group, stream.partition, options_.topic, position, committed->second);
        committed_.erase(committed);
        uncommitted_.erase(stream);
        reset_.insert(stream);
    }
}

void GroupMember::on_refused(const Error& error) {
    if (disposition(error.code) == Disposition::kDefinite || router_.failure()) return handlers_.failed(error);
    trouble_ = error.message;
    schedule_subscribe(kRebalanceRetry);
}

// Nobody else begins to read what was lost before it is confirmed; so what was written of it is committed first.
void GroupMember::confirm(const Offsets& written_offsets) {
    if (leaving_) return;
    for (const auto& [stream, offset] : written_offsets) uncommitted_[stream] = offset;
    // Another member has come further while this one was not heard of.
    std::erase_if(uncommitted_, [this](const auto& offset) {
        const auto assigned = assigned_.find(offset.first);
        return reset_.contains(offset.first) || (assigned != assigned_.end() && assigned->second > offset.second);
    });
    reset_.clear();
    confirm_generation(generation_);
}

void GroupMember::confirm_generation(std::uint64_t generation) {
    commit([this, generation](const Result<void>& committed) {
        if (!committed && committed.error().code != ErrorCode::kRebalance) {
            router_.env().cancel_timer(confirm_timer_);
            confirm_timer_ =
                router_.env().set_timer(kRebalanceRetry, [this, generation] { confirm_generation(generation); });
            return;
        }
        std::erase_if(uncommitted_, [this](const auto& offset) { return !assigned_.contains(offset.first); });
        confirmed_generation_ = generation;
        schedule_subscribe(Duration{0});
    });
}

void GroupMember::begins(StreamId stream, Offset at) {
    const auto assigned = assigned_.find(stream);
    if (assigned == assigned_.end() || assigned->second >= 0) return;
    assigned->second = at.value;
    uncommitted_[stream] = at.value;
    schedule_commit(Duration{0});
}

void GroupMember::written(StreamId stream, Offset next) {
    if (reset_.contains(stream)) return;
    uncommitted_[stream] = next.value;
    if (!commit_scheduled_) schedule_commit(kCommitEvery);
}

void GroupMember::schedule_commit(Duration after) {
    if (leaving_) return;
    commit_scheduled_ = true;
    router_.env().cancel_timer(commit_timer_);
    commit_timer_ = router_.env().set_timer(after, [this] { commit_progress(); });
}

void GroupMember::commit_progress() {
    commit_scheduled_ = false;
    if (committing_) return schedule_commit(kRebalanceRetry);
    commit([this](const Result<void>& committed) {
        if (committed) return;
        schedule_commit(kCommitEvery);
        schedule_subscribe(Duration{0});
    });
}

void GroupMember::commit(CommitHandler then) {
    if (uncommitted_.empty()) return then({});
    proto::CommitOffsets ask;
    ask.set_cluster_id(router_.view().cluster_id.value);
    ask.set_group(options_.group);
    ask.set_member(member_);
    ask.set_generation(generation_);
    for (const auto& [stream, offset] : uncommitted_) {
        auto* part = ask.add_offsets();
        part->set_topic(options_.topic);
        part->set_topic_id(stream.topic.value);
        part->set_partition(stream.partition);
        part->set_offset(offset);
    }
    committing_ = true;
    commit_call_ = call_owner<proto::CommitOffsetsResponse>(
        router_, protocol::kGroupsStream, MessageType::kCommitOffsets, ask,
        leaving_ ? kLastWords : std::min(options_.session_timeout, kPatience),
        [this, sent = uncommitted_, then = std::move(then)](const Result<proto::CommitOffsetsResponse>& response,
                                                            int /*tries*/) mutable {
            committing_ = false;
            if (!response) {
                if (response.error().code != ErrorCode::kRebalance) trouble_ = response.error().message;
                return then(std::unexpected(response.error()));
            }
            trouble_.clear();
            for (const auto& [stream, offset] : sent) committed_[stream] = offset;
            std::erase_if(uncommitted_, [&sent](const auto& offset) {
                const auto found = sent.find(offset.first);
                return found != sent.end() && found->second == offset.second;
            });
            then({});
        });
}

void GroupMember::leave(std::move_only_function<void()> done) {
    leaving_ = true;
    left_ = std::move(done);
    for (const env::TimerId timer : {subscribe_timer_, confirm_timer_, commit_timer_})
        router_.env().cancel_timer(timer);
    subscribe_call_.reset();
    commit([this](const Result<void>& committed) {
        if (!committed)
            router_.env().log().warn(
                "group {}: the last offsets of this consumer were not committed: {}; what it wrote last will "
                "be read again",
                options_.group, committed.error().message);
        send_leave();
    });
}

void GroupMember::send_leave() {
    proto::Subscribe ask;
    ask.set_cluster_id(router_.view().cluster_id.value);
    ask.set_group(options_.group);
    ask.set_member(member_);
    ask.set_generation(generation_);
    ask.set_leave(true);
    subscribe_call_ = call_owner<proto::SubscribeResponse>(
        router_, protocol::kGroupsStream, MessageType::kSubscribe, ask, kLastWords,
        [this](const Result<proto::SubscribeResponse>&, int /*tries*/) { left_(); });
}

}  // namespace logstream::client
