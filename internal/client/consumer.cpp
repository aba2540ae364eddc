#include "internal/client/consumer.h"

#include <algorithm>
#include <utility>

#include "internal/client/retry.h"
#include "internal/client/topic_name.h"

namespace logstream::client {

namespace {
constexpr Duration kCheckEvery = std::chrono::milliseconds(250);
}

Consumer::Consumer(Router& router, ConsumerOptions options, RecordHandler on_record, FinishHandler on_finish)
    : router_(router),
      options_(std::move(options)),
      record_handler_(std::move(on_record)),
      finish_handler_(std::move(on_finish)),
      on_record_([this](const ConsumedRecord& record) { return this->on_record(record); }),
      on_reader_end_([this] { on_reader_end(); }) {
    reader_options_.topic = options_.topic;
    reader_options_.follow = options_.follow;
    reader_options_.skip_unreadable = options_.skip_unreadable;
    reader_options_.max_bytes = options_.max_bytes;
    listener_ = router_.listen([this] { on_view(); });
}

Consumer::~Consumer() {
    router_.unlisten(listener_);
    router_.env().cancel_timer(topic_timer_);
    router_.env().cancel_timer(check_timer_);
}

void Consumer::start() {
    if (auto valid = check_topic_name(options_.topic); !valid) return finish(std::move(valid));
    router_.want_topic(options_.topic, AutoCreate::kNo);
    topic_timer_ = router_.env().set_timer(options_.topic_timeout, [this] { on_topic_timeout(); });
    router_.refresh();
    if (router_.view().known()) on_view();
}

void Consumer::on_view() {
    if (stopped_) return;
    if (router_.failure()) return finish(std::unexpected(*router_.failure()));
    for (const auto& [partition, reader] : readers_) reader->on_view();
    if (opened_ || !router_.view().known()) return;
    const auto topic = router_.view().topic(options_.topic);
    if (!topic) {
        if (disposition(topic.error().code) == Disposition::kDefinite) return finish(std::unexpected(topic.error()));
        return router_.refresh();  // somebody may be creating it
    }
    opened_ = true;
    router_.env().cancel_timer(topic_timer_);
    if (!options_.group.empty()) {
        member_ = std::make_unique<GroupMember>(
            router_, GroupMember::Options{options_.group, options_.topic, options_.session_timeout},
            [this](const GroupMember::Offsets& assigned) { on_assignment(assigned); },
            [this](const Error& error) { finish(std::unexpected(error)); });
        member_->start();
        return schedule_check();
    }
    if (options_.partition && *options_.partition >= topic->partitions)
        return finish(protocol::fail(ErrorCode::kInvalid, "topic '{}' has the partitions 0 to {}, not {}",
                                     options_.topic, topic->partitions - 1, *options_.partition));
    for (std::uint32_t partition = 0; partition < topic->partitions; ++partition)
        if (options_.partition.value_or(partition) == partition) open(partition, options_.start);
}

void Consumer::on_topic_timeout() {
    if (options_.follow || !router_.view().known()) return;
    const auto topic = router_.view().topic(options_.topic);
    if (topic) return;
    finish(protocol::fail(topic.error().code,
                          "there is no topic '{}': see logstreamctl topics list, or wait for it with --follow",
                          options_.topic));
}

void Consumer::open(std::uint32_t partition, StartAt start) {
    auto& reader = readers_[partition];
    reader = std::make_unique<PartitionReader>(router_, reader_options_, partition, start, on_record_, on_reader_end_);
    reader->start();
}

bool Consumer::on_record(const ConsumedRecord& record) {
    emitted_[record.partition] = record.offset.value + 1;
    return record_handler_(record) && !stopped_;
}

void Consumer::resume() {
    if (stopped_) return;
    for (const auto& [partition, reader] : readers_) reader->resume();
}

void Consumer::written(std::uint32_t partition, Offset next) {
    written_[partition] = next.value;
    if (!member_ || stopped_) return;
    member_->written({{partition, next.value}});
    hand_over();
}

// Not from within a reader's call: finishing may end the readers.
void Consumer::on_reader_end() { schedule_check(); }

void Consumer::schedule_check() {
    router_.env().cancel_timer(check_timer_);
    check_timer_ = router_.env().set_timer(Duration{0}, [this] { check_end(); });
}

void Consumer::check_end() {
    if (stopped_) return;
    for (const auto& [partition, reader] : readers_)
        if (reader->failure()) return finish(std::unexpected(*reader->failure()));
    const bool all_ended = std::ranges::all_of(readers_, [](const auto& entry) { return entry.second->ended(); });
    if (options_.follow) return;
    if (!member_) {
        if (all_ended && opened_) finish({});
        return;
    }
    // A member without partitions waits until those who must give it some have had the time to.
    const Duration patience = readers_.empty() ? member_->session_timeout() * 2 / 3 : Duration{0};
    if (all_ended && member_->stable() && !next_assignment_ && member_->unchanged_for() >= patience) return finish({});
    check_timer_ = router_.env().set_timer(kCheckEvery, [this] { check_end(); });
}

// Stops what is lost at once; the rest waits until everything lost has been written.
void Consumer::on_assignment(const GroupMember::Offsets& assigned) {
    if (stopped_) return;
    std::erase_if(readers_, [&assigned](const auto& entry) { return !assigned.contains(entry.first); });
    next_assignment_ = assigned;
    hand_over();
    if (!options_.follow) schedule_check();
}

void Consumer::hand_over() {
    if (!next_assignment_) return;
    for (const auto& [partition, offset] : emitted_) {
        const auto found = written_.find(partition);
        const bool all_written = found != written_.end() && found->second >= offset;
        if (!readers_.contains(partition) && !all_written) return;
    }
    const GroupMember::Offsets assigned = *std::exchange(next_assignment_, std::nullopt);
    GroupMember::Offsets progress(written_.begin(), written_.end());
    for (const auto& [partition, committed] : assigned) {
        if (readers_.contains(partition)) continue;
        StartAt start = options_.start;
        if (committed >= 0)
            start = {StartAt::Kind::kOffset, committed, options_.start.kind == StartAt::Kind::kEarliest};
        open(partition, start);
    }
    // What is gone is others' from now on.
    const auto not_ours = [&assigned](const auto& entry) { return !assigned.contains(entry.first); };
    std::erase_if(emitted_, not_ours);
    std::erase_if(written_, not_ours);
    if (!member_->stable()) member_->confirm(progress);
}

void Consumer::stop(std::move_only_function<void()> done) {
    stopped_ = true;
    router_.env().cancel_timer(check_timer_);
    // Not at once: this may be called by a reader's record.
    check_timer_ = router_.env().set_timer(Duration{0}, [this, done = std::move(done)]() mutable {
        readers_.clear();
        if (!member_) return done();
        member_->leave(std::move(done));
    });
}

void Consumer::finish(Result<void> result) {
    if (FinishHandler handler = std::exchange(finish_handler_, nullptr)) handler(std::move(result));
}

}  // namespace logstream::client
