#include "internal/client/partition_reader.h"

#include <algorithm>
#include <utility>

#include "internal/client/retry.h"

namespace logstream::client {

namespace {
// An answer is awaited this much longer than the broker was asked to wait; doubled with each silence.
constexpr Duration kGrace = std::chrono::milliseconds(500);
constexpr unsigned kMaxDoublings = 5;
// How long a replica is read from before the owner is tried again (at once in another view).
constexpr Duration kReplicaMode = std::chrono::seconds(5);
// Of one batch. What brokers accept is far below; this is against a broken one.
constexpr std::size_t kMaxDecompressedBytes = 256u << 20;
// Damage that stays in every answer for so long is reported and ends reading.
constexpr Duration kCorruptFor = std::chrono::seconds(30);
}  // namespace

PartitionReader::PartitionReader(Router& router, const ReaderOptions& options, std::uint32_t partition, StartAt start,
                                 const RecordHandler& on_record, const EndHandler& on_end)
    : router_(router),
      options_(options),
      partition_(partition),
      start_(start),
      on_record_(on_record),
      on_end_(on_end) {}

PartitionReader::~PartitionReader() {
    router_.env().cancel_timer(retry_timer_);
    router_.requests().cancel(asked_);
}

void PartitionReader::start() {
    good_since_ = router_.env().now();
    ask();
}

void PartitionReader::resume() {
    if (!std::exchange(paused_, false) || phase_ != Phase::kReading) return;
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
    const auto topic = router_.view().topic(options_.topic);
    const Broker* owner = topic ? router_.view().owner({topic->id, partition_}) : nullptr;
    if (owner == nullptr || owner->endpoint == target_.endpoint || (target_.any_replica && !other_view)) return;
    router_.requests().cancel(std::exchange(asked_, RequestId{}));
    ask();
}

std::optional<PartitionReader::Target> PartitionReader::choose_target() {
    const ClusterView& view = router_.view();
    const auto topic = view.topic(options_.topic);
    if (!topic) return std::nullopt;
    const TimePoint now = router_.env().now();
    const Broker* owner = view.owner({topic->id, partition_});
    const bool stay_with_replica = now < replica_mode_until_ && view.number == replica_mode_view_;
    if (stay_with_replica && timeouts_ == 0 && !backoff_.in_trouble()) return target_;
    const bool owner_lives = owner != nullptr && router_.heard_of_late(owner->endpoint);
    if (owner != nullptr && now - good_since_ < kPatience) return Target{owner->endpoint, false};
    if (owner_lives && turn_++ % 2 == 0) return Target{owner->endpoint, false};
    std::vector<Endpoint> replicas;
    for (const Broker& member : view.members)
        if (router_.heard_of_late(member.endpoint)) replicas.push_back(member.endpoint);
    if (replicas.empty())
        for (const Broker& member : view.members) replicas.push_back(member.endpoint);
    if (replicas.empty()) return std::nullopt;
    return Target{replicas[turn_++ / 2 % replicas.size()], true};
}

void PartitionReader::ask() {
    if (asked_.value != 0) return;
    router_.env().cancel_timer(retry_timer_);
    const auto target = choose_target();
    if (!target) {
        const auto topic = router_.view().topic(options_.topic);
        if (!topic && router_.view().known() && disposition(topic.error().code) == Disposition::kDefinite)
            return fail(topic.error());
        return trouble({ErrorCode::kNetwork, "no broker is known that owns the partition"});
    }
    target_ = *target;
    asked_view_ = router_.view().number;
    const TopicId topic = router_.view().topic(options_.topic)->id;
    if (phase_ == Phase::kLocating) return ask_offsets(target_, topic);
    ask_records(target_, topic);
}

void PartitionReader::ask_offsets(const Target& target, TopicId topic) {
    proto::ListOffsets header;
    header.set_cluster_id(router_.view().cluster_id.value);
    header.set_topic(topic.value);
    header.set_partition(partition_);
    header.set_timestamp_ms(-1);
    header.set_any_replica(target.any_replica);
    asked_ = router_.requests().send(target.endpoint, MessageType::kListOffsets, header.SerializeAsString(), {},
                                     kGrace * (2U << std::min(timeouts_, kMaxDoublings)),
                                     [this](const Result<Message>& answer) {
                                         asked_ = {};
                                         on_offsets(answer);
                                     });
}

void PartitionReader::ask_records(const Target& target, TopicId topic) {
    proto::Fetch header;
    header.set_cluster_id(router_.view().cluster_id.value);
    header.set_topic(topic.value);
    header.set_partition(partition_);
    header.set_offset(next_.value);
    header.set_max_bytes(options_.max_bytes);
    header.set_max_wait_ms(
        static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(options_.max_wait).count()));
    header.set_any_replica(target.any_replica);
    asked_ = router_.requests().send(target.endpoint, MessageType::kFetch, header.SerializeAsString(), {},
                                     options_.max_wait + kGrace * (1U << std::min(timeouts_, kMaxDoublings)),
                                     [this](const Result<Message>& answer) {
                                         asked_ = {};
                                         on_records(answer);
                                     });
}

void PartitionReader::on_offsets(const Result<Message>& answer) {
    const auto response = read_response<proto::ListOffsetsResponse>(answer);
    if (!response) return trouble(response.error());
    answered_well();
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
    switch (start_.kind) {
        case StartAt::Kind::kEarliest:
            next_ = log_start;
            break;
        case StartAt::Kind::kLatest:
            next_ = high_watermark_;
            break;
        case StartAt::Kind::kOffset:
            next_ = Offset{start_.value};
            break;
        case StartAt::Kind::kTail:
            next_ = std::max(log_start, high_watermark_ - start_.value);
            break;
    }
    if (next_ < log_start) return below_log_start(log_start);
    emit();
}

void PartitionReader::on_records(const Result<Message>& answer) {
    const auto response = read_response<proto::FetchResponse>(answer);
    if (!response) {
        // Below the log's start, or above what this broker has? LIST_OFFSETS tells.
        if (response.error().code == ErrorCode::kOffsetOutOfRange) phase_ = Phase::kLocating;
        return trouble(response.error());
    }
    answered_well();
    high_watermark_ = std::max(high_watermark_, Offset{response->high_watermark()});
    pending_ = answer->body;
    if (pending_.empty()) backoff_.reset();
    if (!pending_.empty()) router_.pin_lineage();
    emit();
}

void PartitionReader::below_log_start(Offset log_start) {
    if (start_.kind == StartAt::Kind::kEarliest || start_.earliest_if_gone) {
        router_.env().log().warn("{}/{}: the records {} to {} are gone (retention); going on at {}", options_.topic,
                                 partition_, next_.value, log_start.value - 1, log_start.value);
        next_ = log_start;
        return emit();
    }
    fail({ErrorCode::kOffsetOutOfRange,
          fmt::format(
              "offset {} of {}/{} is gone: the log starts at {} (retention). Begin there with --from {}, or with "
              "--from earliest",
              next_.value, options_.topic, partition_, log_start.value, log_start.value)});
}

// Gives out what is pending, then ends or asks for more.
void PartitionReader::emit() {
    while (phase_ == Phase::kReading && !paused_) {
        if (!options_.follow && next_ >= end_) return end();
        if (pending_.empty()) return ask();
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
    const auto topic = router_.view().topic(options_.topic);
    if (batch.base_offset() > next_ && topic && !topic->settings.compact()) {
        corrupt(
            fmt::format("an answer that leaves out the offsets {} to {}", next_.value, batch.base_offset().value - 1));
        return false;
    }
    if (!batch.crc_ok()) {
        corrupt(fmt::format("a batch with a wrong checksum at offset {}", batch.base_offset().value));
        return false;
    }
    if (!batch.is_control()) {
        bool stopped = false;
        const auto decoded = batch.for_each(kMaxDecompressedBytes, [this, &stopped](const protocol::Record& record) {
            if (record.offset < next_) return true;
            if (!options_.follow && record.offset >= end_) return false;
            next_ = record.offset + 1;
            if (on_record_({partition_, record.offset, record})) return true;
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
    const std::string what = fmt::format("{}/{}: the records at the offsets {} to {} cannot be decoded: {}",
                                         options_.topic, partition_, next_, batch.last_offset(), why.message);
    if (!options_.skip_unreadable) {
        fail({ErrorCode::kCorrupt, what + ". consumer --skip-unreadable goes on behind them"});
        return false;
    }
    router_.env().log().warn("{}; they are skipped", what);
    return true;
}

// What one broker holds damaged, another one may hold whole.
void PartitionReader::corrupt(std::string_view what) {
    pending_ = {};
    trouble({ErrorCode::kCorrupt,
             fmt::format("{} sent {} of {}/{}", env::to_string(target_.endpoint), what, options_.topic, partition_)});
}

void PartitionReader::answered_well() {
    const TimePoint now = router_.env().now();
    good_since_ = now;
    timeouts_ = 0;
    if (target_.any_replica && now >= replica_mode_until_) {
        if (replica_mode_until_ == TimePoint{})
            router_.env().log().warn(
                "{}/{}: {}; reading what {} knows to be committed, which may lack the newest records", options_.topic,
                partition_,
                router_.no_quorum_reason().empty() ? "the owner does not answer" : router_.no_quorum_reason(),
                env::to_string(target_.endpoint));
        replica_mode_until_ = now + kReplicaMode;
        replica_mode_view_ = router_.view().number;
    } else if (!target_.any_replica) {
        replica_mode_until_ = {};
    }
}

void PartitionReader::ask_others_too() { good_since_ = std::min(good_since_, router_.env().now() - kPatience); }

void PartitionReader::trouble(const Error& error) {
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
