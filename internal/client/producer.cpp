#include "internal/client/producer.h"

#include <xxhash.h>

#include <algorithm>
#include <set>
#include <utility>

#include "internal/client/partitioner.h"
#include "internal/client/retry.h"
#include "internal/client/topic_name.h"

namespace logstream::client {

namespace {
// Even one try looks for the topic and its owner for so long.
constexpr Duration kLeastStart = std::chrono::milliseconds(1800);
}  // namespace

ProducerId producer_id_of(std::string_view name) {
    return ProducerId{static_cast<std::int64_t>(XXH64(name.data(), name.size(), 0) >> 1)};
}

bool SentBefore::has(std::int64_t number) const {
    const std::int64_t sequence = first + number;
    const auto hole = std::ranges::lower_bound(missing, sequence, {}, &SequenceRange::last);
    return sequence < next && (hole == missing.end() || hole->first > sequence);
}

Producer::Producer(Router& router, ProducerOptions options, ReportHandler report)
    : router_(router),
      options_(std::move(options)),
      id_(options_.name.empty() ? ProducerId{static_cast<std::int64_t>(router.env().random() >> 1)}
                                : producer_id_of(options_.name)),
      report_(std::move(report)),
      on_report_([this](BatchReport batch) { on_report(std::move(batch)); }),
      waiting_(router.env()) {
    listener_ = router_.listen([this] { on_view(); });
    drained_ = router_.requests().on_drained([this] {
        for (const auto& sender : senders_) sender->on_drained();
    });
}

Producer::~Producer() {
    router_.unlisten(listener_);
    router_.requests().unlisten(drained_);
    for (const env::TimerId timer : {start_timer_, look_timer_, tick_timer_, progress_timer_, settle_timer_})
        router_.env().cancel_timer(timer);
    for (const RequestId barrier : barriers_) router_.requests().cancel(barrier);
}

void Producer::start(ReadyHandler ready_handler) {
    ready_ = std::move(ready_handler);
    if (auto valid = check_topic_name(options_.topic); !valid) return ready(std::move(valid));
    if (!options_.name.empty() && !keeps_sequences_whole(options_.acks))
        return ready(protocol::fail(ErrorCode::kInvalid, "a named producer needs acks quorum or all"));
    router_.want_topic(options_.topic, options_.auto_create);
    start_timer_ = router_.env().set_timer(std::max(options_.timeout, kLeastStart), [this] { on_start_timeout(); });
    look_timer_ = router_.env().set_timer(Waiting::kLookEvery, [this] { look_while_starting(); });
    router_.refresh();
    if (router_.view().known()) on_view();
}

void Producer::look(ReadyHandler ready_handler) {
    only_looks_ = true;
    start(std::move(ready_handler));
}

void Producer::take_over(ReadyHandler ready_handler) {
    LS_ASSERT(only_looks_ && !ready_);
    only_looks_ = false;
    ready_ = std::move(ready_handler);
    start_timer_ = router_.env().set_timer(std::max(options_.timeout, kLeastStart), [this] { on_start_timeout(); });
    ask_producer_state();
}

void Producer::on_view() {
    if (const Topic* known = router_.view().find_topic(options_.topic); known != nullptr && topic_.value != 0)
        on_topic(*known);
    if (topic_.value != 0 && router_.view().was_deleted(options_.topic) && !std::exchange(deleted_, true))
        router_.env().log().warn(
            "topic '{}' was deleted: its producer does not recreate it; unacknowledged records wait until somebody "
            "does",
            options_.topic);
    for (const auto& sender : senders_) sender->on_view();
    if (!ready_ || !senders_.empty()) return;
    if (router_.failure()) return ready(std::unexpected(*router_.failure()));
    if (!router_.view().known()) return;
    const auto topic = router_.view().topic(options_.topic);
    if (topic) return open_partitions(*topic);
    if (disposition(topic.error().code) == Disposition::kDefinite) return ready(std::unexpected(topic.error()));
    router_.refresh();  // it is being created, or will be
}

void Producer::on_start_timeout() {
    if (!ready_) return;
    if (!router_.no_quorum_reason().empty())
        return ready(std::unexpected(Error{ErrorCode::kNoQuorum, router_.no_quorum_reason()}));
    const auto topic = router_.view().topic(options_.topic);
    if (!topic) return ready(std::unexpected(topic.error()));
    ready(protocol::fail(ErrorCode::kTimeout, "the owners of topic '{}' do not answer", options_.topic));
}

void Producer::on_topic(const Topic& topic) {
    if (topic.id == topic_) {
        if (options_.name.empty() && !ready_) add_partitions(topic.partitions);
        return;
    }
    deleted_ = false;
    if (ready_) {  // nothing was sent yet
        state_calls_.clear();
        states_missing_ = 0;
        senders_.clear();
        return open_partitions(topic);
    }
    if (!options_.name.empty())
        return fail_all({ErrorCode::kUnknownTopic,
                         fmt::format("topic '{}' was deleted and recreated: run this again with --resume, which sends "
                                     "what the new one lacks",
                                     options_.topic)});
    begin_anew(topic);
}

void Producer::add_partitions(std::uint32_t count) {
    while (senders_.size() < count)
        senders_.push_back(std::make_unique<PartitionSender>(router_, options_, id_, partitions(), on_report_));
    chosen_.resize(senders_.size());
    sent_before_.resize(senders_.size());
}

void Producer::begin_anew(const Topic& topic) {
    router_.env().log().warn("topic '{}' was deleted and recreated with {} partitions: continuing with the new one",
                             options_.topic, topic.partitions);
    const auto senders = std::exchange(senders_, {});
    const auto chosen = std::exchange(chosen_, {});
    topic_ = topic.id;
    add_partitions(topic.partitions);
    for (std::uint32_t partition = 0; partition < senders.size(); ++partition)
        for (const PartitionSender::Unsent& unsent : senders[partition]->take_back())
            send_again(partition, chosen[partition], unsent);
    flush();
}

void Producer::send_again(std::uint32_t partition, bool chosen, const PartitionSender::Unsent& unsent) {
    const auto batch = protocol::BatchView::parse(unsent.bytes);
    LS_ASSERT(batch.has_value());  // our own
    if (chosen && partition >= partitions())
        return on_report({partition, static_cast<std::uint32_t>(batch->record_count()),
                          router_.env().now() - unsent.since,
                          protocol::fail(ErrorCode::kInvalid, "topic '{}' was recreated and no longer has partition {}",
                                         options_.topic, partition),
                          unsent.bytes});
    const auto sent = batch->for_each(protocol::kMaxStoredRecordsBytes, [&](const protocol::Record& record) {
        const std::uint32_t place =
            record.key && !chosen ? partition_of_key(*record.key, partitions()) : partition % partitions();
        if (chosen) chosen_[place] = true;
        senders_[place]->append(record.timestamp_ms, record.key, record.value, record.headers, unsent.since);
        return true;
    });
    LS_ASSERT(sent.has_value());
}

void Producer::open_partitions(const Topic& topic) {
    const std::uint32_t count = topic.partitions;
    topic_ = topic.id;
    if (router_.view().max_batch_bytes > 0)
        options_.batch_bytes = std::min(options_.batch_bytes, router_.view().max_batch_bytes);
    add_partitions(count);
    sticky_ = static_cast<std::uint32_t>(router_.env().random() % count);
    if (options_.acks == proto::NONE) return wait_for_owners();
    if (options_.name.empty()) return ready({});
    if (options_.named_partition && *options_.named_partition >= count)
        return ready(protocol::fail(ErrorCode::kInvalid, "topic '{}' has no partition {}", options_.topic,
                                    *options_.named_partition));
    ask_producer_state();
}

void Producer::ask_producer_state() {
    const Topic topic = *router_.view().topic(options_.topic);
    for (std::uint32_t partition = 0; partition < senders_.size(); ++partition) {
        if (options_.named_partition.value_or(partition) != partition) continue;
        ++states_missing_;
        proto::ProducerState ask;
        ask.set_cluster_id(router_.view().cluster_id.value);
        ask.set_topic(topic.id.value);
        ask.set_partition(partition);
        ask.set_producer_id(id_.value);
        ask.set_epoch(-1);
        ask.set_resumes(options_.resumes);
        ask.set_look(only_looks_);
        state_calls_.push_back(call_owner<proto::ProducerStateResponse>(
            router_, {topic.id, partition}, MessageType::kProducerState, ask, std::max(options_.timeout, kLeastStart),
            [this, partition](Result<proto::ProducerStateResponse> response, int /*tries*/) {
                on_producer_state(partition, std::move(response));
            }));
    }
}

// Nobody would tell that an owner does not know a new topic yet.
void Producer::wait_for_owners() {
    const Topic topic = *router_.view().topic(options_.topic);
    states_missing_ = senders_.size();
    for (std::uint32_t partition = 0; partition < senders_.size(); ++partition) {
        proto::ListOffsets ask;
        ask.set_cluster_id(router_.view().cluster_id.value);
        ask.set_topic(topic.id.value);
        ask.set_partition(partition);
        ask.set_timestamp_ms(-1);
        state_calls_.push_back(call_owner<proto::ListOffsetsResponse>(
            router_, {topic.id, partition}, MessageType::kListOffsets, ask, std::max(options_.timeout, kLeastStart),
            [this](const Result<proto::ListOffsetsResponse>& response, int /*tries*/) {
                if (!response) return ready(std::unexpected(response.error()));
                if (--states_missing_ == 0) ready({});
            }));
    }
}

void Producer::on_producer_state(std::uint32_t partition, Result<proto::ProducerStateResponse> response) {
    if (!ready_) return;
    if (!response) return ready(std::unexpected(response.error()));
    SentBefore& sent = sent_before_[partition];
    sent = {response->first(), response->next(), {}, std::nullopt};
    for (const proto::SequenceRange& hole : response->missing())
        sent.missing.push_back({static_cast<std::int64_t>(hole.first()), static_cast<std::int64_t>(hole.last())});
    if (response->content_known()) sent.content = response->content();
    if (!only_looks_)
        senders_[partition]->resume_at(static_cast<std::int16_t>(response->epoch()), sent.missing, sent.next);
    if (--states_missing_ == 0) ready({});
}

void Producer::ready(Result<void> result) {
    router_.env().cancel_timer(start_timer_);
    router_.env().cancel_timer(look_timer_);
    ReadyHandler handler = std::exchange(ready_, nullptr);
    if (handler) handler(std::move(result));
}

Result<void> Producer::send(const Record& record) {
    LS_ASSERT(!senders_.empty());
    std::size_t bytes = record.key.value_or("").size() + record.value.value_or("").size();
    for (const protocol::Header& header : record.headers)
        bytes += header.key.size() + header.value.value_or("").size() + 10;
    if (bytes > max_record_bytes())
        return protocol::fail(ErrorCode::kTooLarge,
                              "a record of {} bytes exceeds the cluster's limit of {} bytes: split it, or raise "
                              "limits.record_bytes on the brokers",
                              bytes, max_record_bytes());
    std::uint32_t partition = 0;
    if (record.partition) {
        partition = *record.partition;
        if (auto valid = check_partition(options_.topic, senders_.size(), partition); !valid) return valid;
        chosen_[partition] = true;
    } else if (record.key) {
        partition = partition_of_key(*record.key, partitions());
    } else {
        if (sticky_ >= partitions() || senders_[sticky_]->open_records() == 0) sticky_ = (sticky_ + 1) % partitions();
        partition = sticky_;
    }
    senders_[partition]->append(record.timestamp_ms.value_or(router_.env().wall_clock_ms()), record.key, record.value,
                                record.headers, router_.env().now());
    schedule_tick();
    return {};
}

SendTrouble Producer::trouble_so_far() const {
    SendTrouble sum;
    for (const auto& sender : senders_) {
        sum.batches_sent_again += sender->trouble_so_far().batches_sent_again;
        sum.owner_changes += sender->trouble_so_far().owner_changes;
    }
    return sum;
}

std::size_t Producer::max_record_bytes() const {
    const std::size_t limit = router_.view().max_batch_bytes;
    return limit == 0 ? std::numeric_limits<std::int32_t>::max() : limit;
}

std::size_t Producer::buffered_bytes() const {
    std::size_t bytes = 0;
    for (const auto& sender : senders_) bytes += sender->buffered_bytes();
    return bytes;
}

void Producer::flush() {
    for (const auto& sender : senders_) sender->flush();
}

bool Producer::idle() const {
    return std::ranges::all_of(senders_, [](const auto& sender) { return sender->idle(); });
}

void Producer::fail_all(const Error& error) {
    for (const auto& sender : senders_) sender->fail_all(error);
}

void Producer::settle(Duration limit, std::move_only_function<void()> done) {
    settled_ = std::move(done);
    const auto finish = [this] {
        router_.env().cancel_timer(settle_timer_);
        if (auto handler = std::exchange(settled_, nullptr)) handler();
    };
    std::set<Endpoint> targets;
    for (const auto& sender : senders_)
        if (const auto target = sender->target()) targets.insert(*target);
    look_timer_ = router_.env().set_timer(Waiting::kSayAfter, [this] {
        if (settled_) router_.env().log().warn("waiting: not all owners have read the data sent to them");
    });
    settle_timer_ = router_.env().set_timer(targets.empty() ? Duration{0} : limit, finish);
    barriers_missing_ = targets.size();
    // Messages of one connection are handled in order: when this one is answered, those before it have been read.
    for (const Endpoint target : targets) {
        barriers_.push_back(router_.requests().send(target, MessageType::kMetadata,
                                                    proto::Metadata{}.SerializeAsString(), {}, limit,
                                                    [this, finish](const Result<Message>&) {
                                                        if (--barriers_missing_ == 0) finish();
                                                    }));
    }
}

void Producer::on_report(BatchReport batch) {
    report_(batch);
    if (progress_scheduled_ || !progress_) return;
    progress_scheduled_ = true;
    progress_timer_ = router_.env().set_timer(Duration{0}, [this] {
        progress_scheduled_ = false;
        progress_();
    });
}

void Producer::look_while_starting() {
    look_timer_ = router_.env().set_timer(Waiting::kLookEvery, [this] { look_while_starting(); });
    waiting_.look(why_waiting());
}

std::string Producer::why_waiting() const {
    if (ready_) {
        if (std::string trouble = router_.trouble(); !trouble.empty()) return trouble;
        const auto topic = router_.view().topic(options_.topic);
        return topic ? fmt::format("the owners of topic '{}' do not answer", options_.topic) : topic.error().message;
    }
    for (const auto& sender : senders_)
        if (std::string trouble = sender->trouble(); !trouble.empty()) return trouble;
    return {};
}

void Producer::schedule_tick() {
    if (ticking_) return;
    ticking_ = true;
    tick_timer_ = router_.env().set_timer(PartitionSender::kTick, [this] {
        ticking_ = false;
        for (const auto& sender : senders_) sender->tick();
        waiting_.look(why_waiting());
        if (!idle()) schedule_tick();
    });
}

}  // namespace logstream::client
