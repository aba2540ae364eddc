#include "internal/client/partition_reader.h"

#include <algorithm>
#include <utility>

#include "internal/client/retry.h"

namespace logstream::client {

namespace {
// An answer is awaited this much longer than the broker was asked to wait; doubled with each silence.
constexpr Duration kGrace = std::chrono::milliseconds(500);
constexpr unsigned kMaxDoublings = 3;
// How long a replica is read from before the owner is tried again (at once in another view).
constexpr Duration kReplicaMode = std::chrono::seconds(5);
// Damage that stays in every answer for so long is reported and ends reading.
constexpr Duration kCorruptFor = std::chrono::seconds(30);
}  // namespace

PartitionReader::PartitionReader(Router& router, const ReaderOptions& options, StreamId stream, StartAt start,
                                 const RecordHandler& on_record, const EndHandler& on_end)
    : router_(router), options_(options), stream_(stream), start_(start), on_record_(on_record), on_end_(on_end) {}

PartitionReader::~PartitionReader() {
    router_.env().cancel_timer(retry_timer_);
    router_.requests().cancel(asked_);
}

void PartitionReader::start() {
    began_ = good_since_ = router_.env().now();
    ask();
}

void PartitionReader::resume() {
    if (!std::exchange(paused_, false) || phase_ != Phase::kReading) return;
    good_since_ = router_.env().now();  // nobody was asked meanwhile
    emit();
}

void PartitionReader::on_view() {
    if (phase_ == Phase::kEnded || phase_ == Phase::kFailed) return;
    if (router_.failure()) return fail(*router_.failure());
    const bool other_view = router_.view().number != asked_view_;
    if (asked_.value == 0) {
        if (!paused_ && other_view && backoff_.in_trouble()) ask();
        return;
    }
    // A question that stands at a broker that does not own the partition any more would wait in vain.
    const Broker* owner = router_.view().owner(stream_);
    if (owner == nullptr || owner->endpoint == target_.endpoint || (target_.any_replica && !other_view)) return;
    router_.requests().cancel(std::exchange(asked_, RequestId{}));
    ask();
}

std::optional<PartitionReader::Target> PartitionReader::choose_target() {
    const ClusterView& view = router_.view();
    const TimePoint now = router_.env().now();
    const Broker* owner = view.owner(stream_);
    const bool reads_replica = replica_mode_until_ != TimePoint{} && view.number == replica_mode_view_;
    const bool owner_stands = owner != nullptr && router_.in_quorum(owner->endpoint);
    const bool stay_with_replica = reads_replica && (now < replica_mode_until_ || !owner_stands);
    if (stay_with_replica && timeouts_ == 0 && !backoff_.in_trouble()) return target_;
    const bool owner_lives = owner != nullptr && router_.heard_of_late(owner->endpoint);
    if (owner != nullptr && now - good_since_ < kPatience) return Target{owner->endpoint, false};
    if (owner_lives && turn_++ % 2 == 0) return Target{owner->endpoint, false};
    std::vector<Endpoint> in_quorum;
    std::vector<Endpoint> heard;
    std::vector<Endpoint> all;
    for (const Broker& member : view.members) {
        if (router_.in_quorum(member.endpoint)) in_quorum.push_back(member.endpoint);
        if (router_.heard_of_late(member.endpoint)) heard.push_back(member.endpoint);
        all.push_back(member.endpoint);
    }
    const std::vector<Endpoint>& replicas = !in_quorum.empty() ? in_quorum : !heard.empty() ? heard : all;
    if (replicas.empty()) return std::nullopt;
    return Target{replicas[turn_++ / 2 % replicas.size()], true};
}

void PartitionReader::ask() {
    if (asked_.value != 0) return;
    router_.env().cancel_timer(retry_timer_);
    const auto target = choose_target();
    if (!target) return trouble({ErrorCode::kNetwork, "no broker is known that owns the partition"});
    target_ = *target;
    asked_view_ = router_.view().number;
    phase_ == Phase::kLocating ? ask_offsets(target_) : ask_records(target_);
}

void PartitionReader::ask_offsets(const Target& target) {
    proto::ListOffsets header;
    header.set_cluster_id(router_.view().cluster_id.value);
    header.set_topic(stream_.topic.value);
    header.set_partition(stream_.partition);
    const bool by_time = start_.kind == StartAt::Kind::kTime && !located_;
    header.set_timestamp_ms(by_time ? start_.value : -1);
    header.set_any_replica(target.any_replica);
    const Duration limit = kGrace * (2U << std::min(timeouts_, kMaxDoublings));
    overdue_ = router_.env().now() + limit + kGrace;
    asked_ = router_.requests().send(target.endpoint, MessageType::kListOffsets, header.SerializeAsString(), {}, limit,
                                     [this](const Result<Message>& answer) {
                                         asked_ = {};
                                         on_offsets(answer);
                                     });
}

void PartitionReader::ask_records(const Target& target) {
    proto::Fetch header;
    header.set_cluster_id(router_.view().cluster_id.value);
    header.set_topic(stream_.topic.value);
    header.set_partition(stream_.partition);
    header.set_offset((phase_ == Phase::kCounting ? tail_->next() : next_).value);
    header.set_max_bytes(options_.max_bytes);
    header.set_max_wait_ms(
        static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(options_.max_wait).count()));
    header.set_any_replica(target.any_replica);
    const Duration limit = options_.max_wait + kGrace * (1U << std::min(timeouts_, kMaxDoublings));
    overdue_ = router_.env().now() + limit + kGrace;
    asked_ = router_.requests().send(target.endpoint, MessageType::kFetch, header.SerializeAsString(), {}, limit,
                                     [this](const Result<Message>& answer) {
                                         asked_ = {};
                                         on_records(answer);
                                     });
}

void PartitionReader::on_offsets(const Result<Message>& answer) {
    const auto response = read_response<proto::ListOffsetsResponse>(answer);
    if (!response) return trouble(response.error());
    const bool in_doubt = response->history().code() != 0;
    if (in_doubt && !located_ && !options_.follow && router_.env().now() - began_ < kEndPatience)
        return trouble({static_cast<ErrorCode>(response->history().code()), response->history().message()});
    answered_well(response->history());
    const Offset log_start{response->log_start()};
    high_watermark_ = std::max(high_watermark_, Offset{response->high_watermark()});
    phase_ = Phase::kReading;
    if (located_) {  // asked again because our offset was refused
        if (next_ < log_start) return below_log_start(log_start);
        return retry_later();  // it is not refused for good: that broker is behind
    }
    located_ = true;
    backoff_.reset();
    end_ = high_watermark_;
    if (in_doubt)
        doubt_ =
            fmt::format("{}/{} was read to offset {}, the end as known to {}; there may be more: {}", options_.topic,
                        stream_.partition, end_.value, env::to_string(target_.endpoint), response->history().message());
    switch (start_.kind) {
        case StartAt::Kind::kEarliest:
            return begin_at(log_start, log_start);
        case StartAt::Kind::kLatest:
            return begin_at(high_watermark_, log_start);
        case StartAt::Kind::kOffset:
            tell_if_beyond_end(Offset{start_.value});
            return begin_at(Offset{start_.value}, log_start);
        case StartAt::Kind::kTime:
            older_ms_ = start_.value;
            return begin_at(std::clamp(Offset{response->offset()}, log_start, std::max(log_start, high_watermark_)),
                            log_start);
        case StartAt::Kind::kTail:
            tail_.emplace(log_start, end_, start_.value);
            phase_ = Phase::kCounting;
            return count_tail();
    }
}

void PartitionReader::tell_if_beyond_end(Offset start) const {
    if (start <= high_watermark_) return;
    router_.env().log().warn(
        "{}/{} ends at offset {}, before {}: {}", options_.topic, stream_.partition, high_watermark_, start,
        options_.follow ? "nothing is read until it has grown that far" : "there is nothing to read");
}

void PartitionReader::begin_at(Offset next, Offset log_start) {
    next_ = next;
    if (next_ < log_start) return below_log_start(log_start);
    emit();
}

// Goes on with what is pending, or asks for more, until it is known where the last records begin.
void PartitionReader::count_tail() {
    while (!tail_->done() && !pending_.empty()) {
        const auto size = protocol::peek_batch_bytes(pending_.span());
        if (!size || *size > pending_.size()) return corrupt("an answer that ends within a batch");
        const auto batch = protocol::BatchView::parse(pending_.slice(0, *size));
        if (!batch || !batch->crc_ok() || !tail_->take(*batch, protocol::kMaxStoredRecordsBytes))
            return corrupt(fmt::format("a damaged batch after offset {}", tail_->next().value));
        pending_ = pending_.from(*size);
        // It looks further back now, and what is left here has been counted.
        if (tail_->next() < batch->next_offset()) pending_ = {};
        backoff_.reset();
    }
    if (!tail_->done()) return ask();
    pending_ = {};
    phase_ = Phase::kReading;
    next_ = tail_->begin();
    surplus_ = tail_->surplus();
    tail_.reset();
    emit();
}

void PartitionReader::on_records(const Result<Message>& answer) {
    const auto response = read_response<proto::FetchResponse>(answer);
    if (!response) {
        // Below the log's start, or above what this broker has? LIST_OFFSETS tells.
        if (response.error().code == ErrorCode::kOffsetOutOfRange) {
            phase_ = Phase::kLocating;
            if (tail_) located_ = false;  // retention: the search begins anew
            tail_.reset();
        }
        return trouble(response.error());
    }
    answered_well(response->history());
    high_watermark_ = std::max(high_watermark_, Offset{response->high_watermark()});
    pending_ = answer->body;
    if (pending_.empty()) backoff_.reset();
    if (!pending_.empty()) router_.pin_lineage();
    phase_ == Phase::kCounting ? count_tail() : emit();
}

void PartitionReader::below_log_start(Offset log_start) {
    if (start_.kind == StartAt::Kind::kEarliest || start_.earliest_if_gone) {
        router_.env().log().warn("{}/{}: records {} to {} are gone (retention); continuing at {}", options_.topic,
                                 stream_.partition, next_.value, log_start.value - 1, log_start.value);
        next_ = log_start;
        surplus_ = 0;
        return emit();
    }
    fail({ErrorCode::kOffsetOutOfRange,
          fmt::format(
              "offset {} of {}/{} is gone: the log starts at {} (retention). Start there with --from {}, or with "
              "--from earliest",
              next_.value, options_.topic, stream_.partition, log_start.value, log_start.value)});
}

// Gives out what is pending, then ends or asks for more.
void PartitionReader::emit() {
    if (!std::exchange(begun_, true)) options_.on_located(stream_, next_);
    while (phase_ == Phase::kReading && !paused_) {
        if (!options_.follow && next_ >= end_) return end();
        if (pending_.empty()) return ask();
        if (!options_.may_emit()) {
            paused_ = true;
            return;
        }
        const auto size = protocol::peek_batch_bytes(pending_.span());
        if (!size || *size > pending_.size()) return corrupt("an answer that ends within a batch");
        const auto batch = protocol::BatchView::parse(pending_.slice(0, *size));
        if (!batch) return corrupt(batch.error().message);
        if (!emit_batch(*batch)) return;
        pending_ = pending_.from(*size);
    }
}

// True when the batch is done with.
bool PartitionReader::emit_batch(const protocol::BatchView& batch) {
    if (batch.next_offset() <= next_) return true;
    const Topic* topic = router_.view().find_topic(options_.topic);
    if (batch.base_offset() > next_ && topic != nullptr && topic->id == stream_.topic && !topic->settings.compact()) {
        corrupt(fmt::format("an answer that lacks offsets {} to {}", next_.value, batch.base_offset().value - 1));
        return false;
    }
    if (!batch.crc_ok()) {
        corrupt(fmt::format("a batch with a wrong checksum at offset {}", batch.base_offset().value));
        return false;
    }
    if (!batch.is_control()) {
        bool stopped = false;
        const auto decoded =
            batch.for_each(protocol::kMaxStoredRecordsBytes, [this, &stopped](const protocol::Record& record) {
                if (record.offset < next_) return true;
                if (options_.until_ms && record.timestamp_ms >= *options_.until_ms)
                    end_ = std::min(end_, record.offset);
                if (!options_.follow && record.offset >= end_) return false;
                next_ = record.offset + 1;
                if (older_ms_ && record.timestamp_ms < *older_ms_) return true;
                older_ms_.reset();
                if (surplus_ > 0) {
                    --surplus_;
                    return true;
                }
                if (on_record_({stream_.partition, record.offset, record})) return true;
                stopped = true;
                return false;
            });
        if (!decoded && !passes_unreadable(batch, decoded.error())) return false;
        if (stopped) {
            paused_ = true;
            return false;
        }
    }
    next_ = std::max(next_, batch.next_offset());
    corrupt_since_ = {};
    backoff_.reset();
    return true;
}

// The checksum is right, so these are the bytes that were appended, and no other broker has better ones.
bool PartitionReader::passes_unreadable(const protocol::BatchView& batch, const Error& why) {
    const std::string what = fmt::format("{}/{}: the records at offsets {} to {} cannot be decoded: {}", options_.topic,
                                         stream_.partition, next_, batch.last_offset(), why.message);
    if (!options_.skip_unreadable) {
        fail({ErrorCode::kCorrupt, what + ". Continue after them with consumer --skip-unreadable"});
        return false;
    }
    router_.env().log().warn("{}; skipping them", what);
    return true;
}

// What one broker holds damaged, another one may hold whole.
void PartitionReader::corrupt(std::string_view what) {
    pending_ = {};
    trouble({ErrorCode::kCorrupt, fmt::format("{} sent {} of {}/{}", env::to_string(target_.endpoint), what,
                                              options_.topic, stream_.partition)});
}

void PartitionReader::answered_well(const proto::Failure& history) {
    const TimePoint now = router_.env().now();
    good_since_ = now;
    timeouts_ = 0;
    last_error_ = {ErrorCode::kNone, {}};
    const bool has_quorum = history.code() == 0;
    if (!target_.any_replica) {
        replica_mode_until_ = {};
        return;
    }
    if (replica_mode_until_ == TimePoint{})
        router_.env().log().warn("{}/{}: {}; reading what {} knows to be committed; the newest records may be missing",
                                 options_.topic, stream_.partition,
                                 !has_quorum ? history.message() : "the owner does not answer",
                                 env::to_string(target_.endpoint));
    // When the quorum is back the owner may be, too.
    const bool had_quorum = std::exchange(replica_has_quorum_, has_quorum);
    if (has_quorum && !had_quorum && now < replica_mode_until_) {
        replica_mode_until_ = now;
    } else if (now >= replica_mode_until_) {
        replica_mode_until_ = now + kReplicaMode;
        replica_mode_view_ = router_.view().number;
    }
}

std::string PartitionReader::trouble() const {
    if (paused_ || last_error_.code == ErrorCode::kNone) return {};
    const std::string common = router_.trouble();
    return common.empty() ? last_error_.message : common;
}

void PartitionReader::ask_others_too() { good_since_ = std::min(good_since_, router_.env().now() - kPatience); }

void PartitionReader::trouble(const Error& error) {
    last_error_ = error;
    // This process stood still: it knows nothing of how long the others did not answer.
    if (error.code == ErrorCode::kTimeout && router_.env().now() > overdue_) good_since_ = router_.env().now();
    // That broker went over to another history; whether all of this one's did, the router will tell.
    if (error.code == ErrorCode::kWrongCluster) ask_others_too();
    if (disposition(error.code) == Disposition::kDefinite && error.code != ErrorCode::kOffsetOutOfRange)
        return fail(error);
    if (error.code == ErrorCode::kCorrupt) {
        router_.env().log().warn("{}", error.message);
        if (corrupt_since_ == TimePoint{}) corrupt_since_ = router_.env().now();
        if (router_.env().now() - corrupt_since_ > kCorruptFor) return fail(error);
        ask_others_too();
    }
    if (error.code == ErrorCode::kTimeout && ++timeouts_ > 1)
        router_.requests().drop(target_.endpoint, {ErrorCode::kNetwork, error.message});
    if (error.code != ErrorCode::kOffsetOutOfRange) router_.refresh();
    retry_later();
}

void PartitionReader::retry_later() {
    router_.env().cancel_timer(retry_timer_);
    retry_timer_ =
        router_.env().set_timer(backoff_.next(router_.env().now(), router_.env().random()), [this] { ask(); });
}

void PartitionReader::end() {
    phase_ = Phase::kEnded;
    pending_ = {};
    on_end_();
}

void PartitionReader::fail(Error error) {
    phase_ = Phase::kFailed;
    failure_ = std::move(error);
    pending_ = {};
    router_.requests().cancel(std::exchange(asked_, RequestId{}));
    router_.env().cancel_timer(retry_timer_);
    on_end_();
}

}  // namespace logstream::client
