#include "internal/client/consumer.h"

#include <algorithm>
#include <utility>

#include "internal/client/retry.h"
#include "internal/client/topic_name.h"

namespace logstream::client {

namespace {
constexpr Duration kCheckEvery = std::chrono::milliseconds(250);
// What a broker needs to notice that a session is over, and to tell the group.
constexpr Duration kExpiryTime = std::chrono::milliseconds(1500);
}  // namespace

Consumer::Consumer(Router& router, ConsumerOptions options, RecordHandler on_record, FinishHandler on_finish)
    : router_(router),
      options_(std::move(options)),
      record_handler_(std::move(on_record)),
      finish_handler_(std::move(on_finish)),
      on_record_([this](const ConsumedRecord& record) { return this->on_record(record); }),
      on_reader_end_([this] { on_reader_end(); }),
      waiting_(router.env()) {
    reader_options_.topic = options_.topic;
    reader_options_.follow = options_.follow;
    reader_options_.skip_unreadable = options_.skip_unreadable;
    reader_options_.until_ms = options_.until_ms;
    reader_options_.max_bytes = options_.max_bytes;
    listener_ = router_.listen([this] { on_view(); });
}

Consumer::~Consumer() {
    router_.unlisten(listener_);
    router_.env().cancel_timer(topic_timer_);
    router_.env().cancel_timer(check_timer_);
    router_.env().cancel_timer(look_timer_);
}

void Consumer::start() {
    if (auto valid = check_topic_name(options_.topic); !valid) return finish(std::move(valid));
    router_.want_topic(options_.topic, AutoCreate::kNo);
    topic_timer_ = router_.env().set_timer(options_.topic_timeout, [this] { on_topic_timeout(); });
    progress_at_ = router_.env().now();
    look_timer_ = router_.env().set_timer(Waiting::kLookEvery, [this] { look(); });
    router_.refresh();
    if (router_.view().known()) on_view();
}

void Consumer::on_view() {
    if (stopped_) return;
    if (router_.failure()) return finish(std::unexpected(*router_.failure()));
    const auto topic = router_.view().topic(options_.topic);
    if (topic) {
        on_topic(*topic);
    } else if (topic_ && router_.view().was_deleted(options_.topic)) {
        on_topic_gone("was deleted");
    }
    for (const auto& [partition, reader] : readers_) reader->on_view();
    if (opened_ || !router_.view().known()) return;
    if (disposition(topic.error().code) == Disposition::kDefinite) return finish(std::unexpected(topic.error()));
    // All of a topic that does not exist yet is later than now.
    if (options_.start.kind == StartAt::Kind::kLatest && router_.view().is_missing(options_.topic) &&
        router_.reaches_quorum())
        options_.start = {StartAt::Kind::kEarliest};
    router_.refresh();  // somebody may be creating it
}

void Consumer::on_topic(const Topic& topic) {
    const bool first = !opened_;
    if (topic_ && topic_->id != topic.id) on_topic_gone("was deleted and recreated");
    const std::uint32_t read = topic_ ? topic_->partitions : 0;
    if (stopped_ || (topic_ && read == topic.partitions)) return;
    topic_ = topic;
    if (first) {
        opened_ = true;
        router_.env().cancel_timer(topic_timer_);
        if (!options_.group.empty()) {
            join_group();
            return schedule_check();
        }
    }
    if (options_.partition)
        if (auto valid = check_partition(options_.topic, topic.partitions, *options_.partition); !valid)
            return finish(std::move(valid));
    if (member_ || (!first && !options_.follow)) return;
    for (std::uint32_t partition = read; partition < topic.partitions; ++partition)
        if (options_.partition.value_or(partition) == partition)
            open({topic.id, partition}, first ? options_.start : StartAt{StartAt::Kind::kEarliest});
}

// In a group its owner says what is read in place of it.
void Consumer::on_topic_gone(std::string_view what) {
    if (!options_.follow)
        return finish(protocol::fail(ErrorCode::kUnknownTopic, "topic '{}' {} while being read", options_.topic, what));
    router_.env().log().warn("topic '{}' {}: continuing at the beginning of the new one{}", options_.topic, what,
                             router_.view().was_deleted(options_.topic) ? ", once it exists" : "");
    topic_.reset();
    if (!member_) readers_.clear();
}

void Consumer::join_group() {
    member_ = std::make_unique<GroupMember>(
        router_, GroupMember::Options{options_.group, options_.topic, options_.session_timeout},
        GroupMember::Handlers{.assigned = [this](const GroupMember::Offsets& assigned) { on_assignment(assigned); },
                              .failed = [this](const Error& error) { finish(std::unexpected(error)); },
                              .lives_again = [this] { resume(); }});
    reader_options_.on_located = [this](StreamId stream, Offset begin) { member_->begins(stream, begin); };
    reader_options_.may_emit = [this] { return member_->lives(); };
    member_->start();
}

void Consumer::on_topic_timeout() {
    if (options_.follow || !router_.view().known()) return;
    const auto topic = router_.view().topic(options_.topic);
    if (topic) return;
    const std::string trouble = router_.trouble();
    finish(protocol::fail(topic.error().code,
                          "there is no topic '{}': see logstreamctl topics list, or wait for it with --follow{}{}",
                          options_.topic, trouble.empty() ? "" : "; other brokers may know it: ", trouble));
}

void Consumer::open(StreamId stream, StartAt start) {
    auto& reader = readers_[stream.partition];
    reader = std::make_unique<PartitionReader>(router_, reader_options_, stream, start, on_record_, on_reader_end_);
    reader->start();
}

bool Consumer::on_record(const ConsumedRecord& record) {
    if (member_) emitted_[readers_.at(record.partition)->stream()] = record.offset.value + 1;
    progress_at_ = router_.env().now();
    return record_handler_(record) && !stopped_;
}

void Consumer::resume() {
    if (stopped_) return;
    for (const auto& [partition, reader] : readers_) reader->resume();
}

void Consumer::written(std::uint32_t partition, Offset next) {
    if (!member_ || stopped_) return;
    // Of a partition that was lost the reader is gone, and a new one is not opened before all of it is written.
    const auto of_it = [partition](const auto& emitted) { return emitted.first.partition == partition; };
    const auto emitted = std::ranges::find_if(emitted_, of_it);
    if (emitted == emitted_.end()) return;
    written_[emitted->first] = next.value;
    member_->written(emitted->first, next);
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
    const auto in_doubt =
        std::ranges::find_if(readers_, [](const auto& entry) { return !entry.second->doubt().empty(); });
    if (all_ended && in_doubt != readers_.end())
        return finish(std::unexpected(Error{ErrorCode::kNoQuorum, in_doubt->second->doubt()}));
    if (!member_) {
        if (all_ended && opened_) finish({});
        return;
    }
    // A member without partitions waits until those who must give it some have had the time to, or have been found to
    // be dead.
    const Duration patience = readers_.empty() ? member_->longest_session() + kExpiryTime : Duration{0};
    if (all_ended && member_->stable() && !next_assignment_ && member_->unchanged_for() >= patience) return finish({});
    check_timer_ = router_.env().set_timer(kCheckEvery, [this] { check_end(); });
}

std::optional<Offset> Consumer::position(std::uint32_t partition) const {
    const auto reader = readers_.find(partition);
    return reader == readers_.end() ? std::nullopt : std::optional(reader->second->next());
}

std::int64_t Consumer::lag() const {
    std::int64_t lag = 0;
    for (const auto& [partition, reader] : readers_)
        lag += std::max<std::int64_t>(0, reader->high_watermark().value - reader->next().value);
    return lag;
}

bool Consumer::paused() const {
    return std::ranges::any_of(readers_, [](const auto& entry) { return entry.second->paused(); });
}

void Consumer::look() {
    if (stopped_) return;
    look_timer_ = router_.env().set_timer(Waiting::kLookEvery, [this] { look(); });
    const std::string why = why_waiting();
    waiting_.look(why);
    // Whoever takes the records may stand still for as long as it likes.
    const TimePoint now = router_.env().now();
    if (paused() && (!member_ || member_->lives())) progress_at_ = now;
    if (options_.timeout <= Duration{0} || now - progress_at_ < options_.timeout) return;
    finish(protocol::fail(ErrorCode::kTimeout, "no record arrived within {:g} s: {}",
                          std::chrono::duration<double>(options_.timeout).count(),
                          why.empty() ? "there is nothing new" : why));
}

// Why it does not go on; empty: it does, or only has to wait for new records.
std::string Consumer::why_waiting() const {
    if (!topic_) {
        const std::string trouble = router_.trouble();
        return trouble.empty() ? router_.view().topic(options_.topic).error().message : trouble;
    }
    for (const auto& [partition, reader] : readers_)
        if (std::string trouble = reader->trouble(); !trouble.empty()) return trouble;
    if (!member_) return {};
    if (!member_->trouble().empty()) return member_->trouble();
    if (!member_->stable()) {
        const std::string trouble = router_.trouble();
        return trouble.empty() ? fmt::format("group '{}' does not answer", options_.group) : trouble;
    }
    return readers_.empty() ? fmt::format("the other members of group '{}' read all partitions", options_.group) : "";
}

// Stops what is lost at once; the rest waits until everything lost has been written. Where another member went on,
// while this one was not heard of, reading begins anew.
void Consumer::on_assignment(const GroupMember::Offsets& assigned) {
    if (stopped_) return;
    std::erase_if(readers_, [this, &assigned](const auto& entry) {
        const auto kept = assigned.find(entry.second->stream());
        return kept == assigned.end() || entry.second->next().value < kept->second || member_->was_reset(kept->first);
    });
    next_assignment_ = assigned;
    hand_over();
    if (!options_.follow) schedule_check();
}

StartAt Consumer::start_in_group(std::int64_t position) const {
    if (position == GroupMember::kNewTopic) return {StartAt::Kind::kEarliest};
    if (position < 0) return options_.start;
    return {StartAt::Kind::kOffset, position, options_.start.kind == StartAt::Kind::kEarliest};
}

void Consumer::hand_over() {
    if (!next_assignment_) return;
    const auto is_read = [this](StreamId stream) {
        const auto reader = readers_.find(stream.partition);
        return reader != readers_.end() && reader->second->stream() == stream;
    };
    for (const auto& [stream, offset] : emitted_) {
        const auto found = written_.find(stream);
        const bool all_written = found != written_.end() && found->second >= offset;
        if (!is_read(stream) && !all_written) return;
    }
    const GroupMember::Offsets assigned = *std::exchange(next_assignment_, std::nullopt);
    const GroupMember::Offsets progress = written_;
    // What is read by others from now on, or anew.
    const auto is_not_read = [&is_read](const auto& entry) { return !is_read(entry.first); };
    std::erase_if(emitted_, is_not_read);
    std::erase_if(written_, is_not_read);
    tell_assignment(assigned);
    for (const auto& [stream, position] : assigned)
        if (!is_read(stream)) open(stream, start_in_group(position));
    if (!member_->stable()) member_->confirm(progress);
}

void Consumer::tell_assignment(const GroupMember::Offsets& assigned) {
    std::string partitions;
    for (const auto& [stream, position] : assigned)
        partitions += fmt::format("{}{}{}", partitions.empty() ? "" : ", ", stream.partition,
                                  position < 0 ? "" : fmt::format(" from {}", position));
    router_.env().log().info("group '{}' assigned this member {} of the partitions of '{}'{}{}", options_.group,
                             assigned.size(), options_.topic, assigned.empty() ? "" : ": ", partitions);
    const bool goes_on = std::ranges::any_of(assigned, [](const auto& entry) { return entry.second >= 0; });
    if (goes_on && options_.start_given && !std::exchange(told_start_, true))
        router_.env().log().warn(
            "group '{}' has read '{}' before and resumes where it stopped: --from applies only to partitions that it "
            "has "
            "not read (to move it, use logstreamctl groups reset)",
            options_.group, options_.topic);
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
