#include "internal/client/partition_sender.h"

#include <algorithm>
#include <utility>

#include "internal/client/retry.h"

namespace logstream::client {

namespace {

// After so long without an answer the connection is given up and the batch is sent again.
constexpr Duration kRequestTimeout = std::chrono::seconds(5);
// How long a sender relies on METADATA saying that the broker refuses writes, at least, and up to twice as long.
constexpr Duration kTryAnyway = std::chrono::seconds(5);
// An answer that stays out so long makes us ask whether the view has changed.
constexpr Duration kStalled = std::chrono::milliseconds(250);
// Without an acknowledgement for so long it is said why, if that lasts.
constexpr Duration kSlow = std::chrono::seconds(1);
// One try includes finding the owner, for so long.
constexpr Duration kOneTrySearch = std::chrono::milliseconds(1500);
constexpr Duration kOneTryNoQuorum = std::chrono::milliseconds(500);
// Above this, what waits to be sent to a broker is left where it is.
constexpr std::size_t kSendQueueBytes = 16u << 20;

}  // namespace

PartitionSender::PartitionSender(Router& router, const ProducerOptions& options, ProducerId id, std::uint32_t partition,
                                 const ReportHandler& report)
    : router_(router),
      options_(options),
      id_(id),
      partition_(partition),
      report_(report),
      builder_({.codec = options.compression.value_or(protocol::Codec::kNone), .named = !options.name.empty()}) {}

PartitionSender::~PartitionSender() {
    router_.env().cancel_timer(linger_timer_);
    router_.env().cancel_timer(wake_timer_);
    for (const Batch& batch : queue_) router_.requests().cancel(batch.request);
}

void PartitionSender::resume_at(std::int16_t epoch, std::vector<SequenceRange> holes, std::int64_t next) {
    LS_ASSERT(queue_.empty() && last_serial_ == 0);
    epoch_ = epoch;
    runs_.assign(holes.begin(), holes.end());
    runs_.push_back({next, kEndless});
    begin_run();
}

// The records from here on get the sequences of the first of `runs_`.
void PartitionSender::begin_run() {
    const SequenceRange run = runs_.front();
    runs_.pop_front();
    next_sequence_ = protocol::wire_sequence(run.first);
    run_left_ = run.last == kEndless ? kEndless : run.last - run.first + 1;
}

bool PartitionSender::append(std::int64_t timestamp_ms, std::optional<std::string_view> key,
                             std::optional<std::string_view> value, std::span<const protocol::Header> headers,
                             TimePoint since) {
    std::size_t record_bytes = key.value_or("").size() + value.value_or("").size() + kRecordOverheadBytes;
    for (const protocol::Header& header : headers)
        record_bytes += header.key.size() + header.value.value_or("").size() + 10;
    const bool closes_early = builder_.count() > 0 && builder_.estimated_bytes() + record_bytes > options_.batch_bytes;
    if (closes_early) close_batch();
    if (builder_.count() == 0) {
        opened_ = since;
        linger_timer_ = router_.env().set_timer(options_.linger, [this] { flush(); });
    }
    builder_.add(timestamp_ms, key, value, headers);
    if (broken_) {
        close_batch();
        fail_all(*broken_);
        return true;
    }
    const bool full = builder_.estimated_bytes() >= options_.batch_bytes || builder_.count() == run_left_;
    if (full) close_batch();
    if (closes_early || full) pump();
    return closes_early || full;
}

void PartitionSender::flush() {
    flush_ = builder_.count() > 0;
    pump();
}

void PartitionSender::close_batch() {
    router_.env().cancel_timer(linger_timer_);
    flush_ = false;
    if (builder_.count() == 0) return;
    Batch batch;
    batch.serial = ++last_serial_;
    batch.records = open_records();
    batch.created = opened_;
    builder_.set_producer(id_, epoch_, next_sequence_);
    if (!options_.compression) builder_.set_codec(codec_choice_.next(builder_.records()));
    auto bytes = builder_.finish();
    LS_ASSERT(bytes.has_value());  // it has records, and far fewer bytes than a batch may have
    batch.bytes = std::move(*bytes);
    next_sequence_ = protocol::advance_sequence(next_sequence_, static_cast<std::int32_t>(batch.records));
    if (run_left_ != kEndless && (run_left_ -= batch.records) == 0) begin_run();
    queued_bytes_ += batch.bytes.size();
    if (queue_.empty()) progress_at_ = router_.env().now();
    queue_.push_back(std::move(batch));
}

void PartitionSender::pump() {
    if (broken_) return;
    if (phase_ == Phase::kSettling && in_flight_ == 0) settle();
    while (phase_ == Phase::kFlowing || phase_ == Phase::kProbing) {
        if (in_flight_ >= (phase_ == Phase::kProbing ? 1 : options_.max_in_flight)) return;
        if (in_flight_ == queue_.size() && !flush_) return;
        if (!find_target()) return;
        if (in_flight_ == queue_.size()) close_batch();
        if (in_flight_ == 0 && hole_ && !queue_.front().sent) renumber();
        if (in_flight_ == queue_.size()) return;
        if (router_.requests().queued_bytes(target_) > kSendQueueBytes) return;  // on_drained or an answer goes on
        transmit(queue_[in_flight_]);
    }
}

// Where the next batch goes. When that is not known, waits.
bool PartitionSender::find_target() {
    const Topic* topic = router_.view().find_topic(options_.topic);
    const Broker* owner = topic != nullptr ? router_.view().owner({topic->id, partition_}) : nullptr;
    // Partitions that are gone: the producer takes back what they were to get.
    if (owner == nullptr || partition_ >= topic->partitions) {
        last_error_ = topic != nullptr ? Error{ErrorCode::kNetwork, "no broker is known that owns the partition"}
                                       : router_.view().topic(options_.topic).error();
        if (topic == nullptr && disposition(last_error_.code) == Disposition::kDefinite) {
            fail_all(Error(last_error_));
        } else {
            wait();
        }
        return false;
    }
    LS_ASSERT(topic_.value == 0 || topic_ == topic->id);  // the producer makes new senders for a new topic
    topic_ = topic->id;
    if (in_flight_ > 0 && owner->endpoint != target_) abandon_in_flight();
    if (target_.port != 0 && owner->endpoint != target_) ++troubles_.owner_changes;
    target_ = owner->endpoint;
    target_view_ = router_.view().number;
    return true;
}

void PartitionSender::transmit(Batch& batch) {
    proto::Produce header;
    header.set_cluster_id(router_.view().cluster_id.value);
    header.set_topic(topic_.value);
    header.set_partition(partition_);
    header.set_acks(options_.acks);
    auto handler = [this, serial = batch.serial](const Result<Message>& answer) { on_answer(serial, answer); };
    batch.in_flight = true;
    troubles_.batches_sent_again += batch.sent ? 1 : 0;
    batch.sent = true;
    batch.sent_at = router_.env().now();
    batch.refusal = ErrorCode::kNone;
    ++in_flight_;
    Requests& requests = router_.requests();
    batch.request = options_.acks == proto::NONE
                        ? requests.post(target_, MessageType::kProduce, header.SerializeAsString(), {batch.bytes},
                                        kRequestTimeout, std::move(handler))
                        : requests.send(target_, MessageType::kProduce, header.SerializeAsString(), {batch.bytes},
                                        kRequestTimeout, std::move(handler));
}

void PartitionSender::on_answer(std::uint64_t serial, const Result<Message>& answer) {
    const auto batch = std::ranges::find(queue_, serial, &Batch::serial);
    if (batch == queue_.end()) return;
    batch->in_flight = false;
    batch->request = {};
    --in_flight_;
    Result<Offset> outcome = Offset{-1};
    if (options_.acks != proto::NONE) {
        const auto response = read_response<proto::ProduceResponse>(answer);
        outcome = response ? Result<Offset>(Offset{response->base_offset()}) : std::unexpected(response.error());
    } else if (!answer) {
        outcome = std::unexpected(answer.error());
    }
    if (outcome) {
        router_.pin_lineage();
        backoff_.reset();
        renumbered_ = false;
        progress_at_ = router_.env().now();
        last_error_ = {};
        if (phase_ == Phase::kProbing) phase_ = Phase::kFlowing;
        Batch acknowledged = std::move(*batch);
        queue_.erase(batch);
        report(std::move(acknowledged), std::move(outcome));
    } else {
        refused(static_cast<std::size_t>(batch - queue_.begin()), outcome.error());
    }
    pump();
}

void PartitionSender::refused(std::size_t index, const Error& error) {
    Batch& batch = queue_[index];
    router_.env().log().debug("partition {} batch {} after {:.1f} ms from {}: {}", partition_, batch.serial,
                              protocol::milliseconds(router_.env().now() - batch.sent_at), env::to_string(target_),
                              error.message);
    batch.refusal = error.code;
    const bool no_answer = error.code == ErrorCode::kTimeout || error.code == ErrorCode::kNetwork;
    batch.unknown |= error.code == ErrorCode::kUnknown || (no_answer && router_.requests().had_been_sent());
    if (error.code != ErrorCode::kSequenceGap || last_error_.message.empty()) last_error_ = error;
    phase_ = Phase::kSettling;
    const Disposition what = disposition(error.code);
    if (error.code == ErrorCode::kFenced) return fail_all(error);
    if (what == Disposition::kDefinite || (one_try() && what == Disposition::kRetry && !is_redirection(error.code)))
        return give_up(index, what == Disposition::kDefinite ? error : too_late(batch));
    if (error.code == ErrorCode::kTimeout && options_.acks != proto::NONE) {
        // Perhaps only this connection is dead: a new one will show. Ends the other requests on it, too.
        router_.requests().drop(target_, {ErrorCode::kNetwork, error.message});
    }
    if (what == Disposition::kRetry) router_.refresh();
}

// The batch at `index` is reported as failed; those behind it go on under a new epoch.
void PartitionSender::give_up(std::size_t index, const Error& error) {
    Batch batch = std::move(queue_[index]);
    queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(index));
    if (batch.in_flight) {
        router_.requests().cancel(batch.request);
        --in_flight_;
    }
    hole_ = true;
    if (phase_ == Phase::kFlowing && in_flight_ > 0) phase_ = Phase::kSettling;
    report(std::move(batch), std::unexpected(error));
    // A named producer's sequences are the line numbers of its file: what follows a hole waits for the next run.
    if (!options_.name.empty())
        fail_all({error.code,
                  fmt::format("not sent, because an earlier record of the partition failed: {}", error.message)});
}

// All answers are in. Everything that is left goes out again, in order.
void PartitionSender::settle() {
    if (queue_.empty()) {
        phase_ = Phase::kFlowing;
        return;
    }
    const Batch& first = queue_.front();
    if (first.refusal == ErrorCode::kSequenceGap) {
        // What stands before it is acknowledged or given up, so the gap is there to stay: the owner does not know our
        // earlier batches any more, or never got the one given up. It did not append this one either.
        if (!options_.name.empty())
            return fail_all({ErrorCode::kSequenceGap,
                             "the owner has lost the place of this named producer; run it again with --resume"});
        const bool again = std::exchange(renumbered_, true);
        renumber();
        if (again) return wait();
        phase_ = Phase::kProbing;
        return;
    }
    const bool after_refusal = std::ranges::any_of(queue_, [](const Batch& batch) {
        return batch.refusal != ErrorCode::kNone && batch.refusal != ErrorCode::kSequenceGap;
    });
    if (after_refusal) return wait();
    phase_ = Phase::kProbing;
}

// A new epoch, with sequences from 0, for everything that is not acknowledged.
void PartitionSender::renumber() {
    LS_ASSERT(in_flight_ == 0);
    if (epoch_ == std::numeric_limits<std::int16_t>::max()) {
        id_ = ProducerId{static_cast<std::int64_t>(router_.env().random() >> 1)};
        epoch_ = -1;
    }
    ++epoch_;
    next_sequence_ = 0;
    // One that may stand in an earlier owner's log comes back from there as an orphan, under the numbers that it had:
    // with new ones nobody would know it again.
    for (Batch& batch : std::exchange(queue_, {})) {
        if (!batch.unknown) {
            queue_.push_back(std::move(batch));
            continue;
        }
        Error outcome = honest(batch, best_reason());
        report(std::move(batch), std::unexpected(std::move(outcome)));
    }
    for (Batch& batch : queue_) {
        // The old bytes may still wait in a socket: what is sent stays as it is.
        Bytes bytes = Bytes::copy_of(batch.bytes.span());
        protocol::restamp_producer(bytes, id_, epoch_, next_sequence_);
        batch.bytes = std::move(bytes);
        batch.refusal = ErrorCode::kNone;
        next_sequence_ = protocol::advance_sequence(next_sequence_, static_cast<std::int32_t>(batch.records));
    }
    hole_ = false;
}

void PartitionSender::wait() {
    phase_ = Phase::kWaiting;
    router_.refresh();
    router_.env().cancel_timer(wake_timer_);
    wake_timer_ =
        router_.env().set_timer(backoff_.next(router_.env().now(), router_.env().random()), [this] { try_again(); });
}

// A broker that refuses all writes reports in METADATA when it accepts them again. One request serves thousands of
// partitions; retries of each by itself would overload the broker. After `kTryAnyway` it tries all the same.
void PartitionSender::try_again() {
    if (!router_.refuses_writes(target_)) return wake();
    held_ = true;
    router_.refresh();
    const Duration jitter{static_cast<std::int64_t>(router_.env().random() % kTryAnyway.count())};
    wake_timer_ = router_.env().set_timer(kTryAnyway + jitter, [this] { wake(); });
}

void PartitionSender::wake() {
    held_ = false;
    router_.env().cancel_timer(wake_timer_);
    if (phase_ == Phase::kWaiting) phase_ = Phase::kProbing;
    pump();
}

void PartitionSender::on_view() {
    if (router_.failure()) return fail_all(*router_.failure());
    const Topic* topic = router_.view().find_topic(options_.topic);
    const Broker* owner = topic != nullptr ? router_.view().owner({topic->id, partition_}) : nullptr;
    if (owner == nullptr) return;
    const bool moved = owner->endpoint != target_;
    if (moved && !queue_.empty())
        router_.env().log().debug("partition {} goes to {} from view {} on", partition_,
                                  env::to_string(owner->endpoint), router_.view().number);
    if (moved && in_flight_ > 0) abandon_in_flight();
    const bool refused = router_.refuses_writes(target_);
    if (phase_ == Phase::kWaiting && (moved || router_.view().number != target_view_ || (held_ && !refused))) wake();
    if (held_) router_.refresh();
    pump();
}

// Another broker owns the partition now. What the old one did with our batches is not known; the new one will tell.
void PartitionSender::abandon_in_flight() {
    for (Batch& batch : queue_) {
        if (!batch.in_flight) continue;
        router_.requests().cancel(std::exchange(batch.request, RequestId{}));
        batch.in_flight = false;
        batch.unknown = true;
        batch.refusal = ErrorCode::kNone;
    }
    in_flight_ = 0;
    phase_ = Phase::kProbing;
}

void PartitionSender::tick() {
    const TimePoint now = router_.env().now();
    if (in_flight_ > 0 && now - queue_.front().sent_at > kStalled) {
        router_.env().log().debug("partition {} waits for {} since {:.0f} ms", partition_, env::to_string(target_),
                                  protocol::milliseconds(now - queue_.front().sent_at));
        router_.refresh();
    }
    while (!queue_.empty() && !broken_) {
        const Batch& first = queue_.front();
        bool over = now - first.created >= options_.timeout;
        if (one_try()) {
            over = first.in_flight ? now - first.sent_at >= kOneTryNoQuorum && !router_.no_quorum_reason().empty()
                                   : now - first.created >= kOneTrySearch;
        }
        if (!over) break;
        give_up(0, too_late(first));
    }
    pump();
}

// What a person needs to hear about why it does not go on.
Error PartitionSender::best_reason() const {
    if (!router_.no_quorum_reason().empty()) return {ErrorCode::kNoQuorum, router_.no_quorum_reason()};
    if (!last_error_.message.empty()) return last_error_;
    if (std::string refusal = router_.write_refusal(target_); !refusal.empty())
        return {ErrorCode::kRefused, std::move(refusal)};
    return {ErrorCode::kTimeout, fmt::format("no answer from {}", env::to_string(target_))};
}

Error PartitionSender::too_late(const Batch& batch) const {
    Error error = best_reason();
    if (!one_try())
        error.message = fmt::format("not acknowledged within {:g} s: {}",
                                    std::chrono::duration<double>(options_.timeout).count(), error.message);
    return honest(batch, std::move(error));
}

// A batch that may stand in a log is never reported as refused.
Error PartitionSender::honest(const Batch& batch, Error error) {
    if (batch.unknown || batch.in_flight) {
        error.code = ErrorCode::kUnknown;
        error.message += " (it was sent, and whether it stands in the log is not known)";
    }
    return error;
}

void PartitionSender::fail_all(const Error& error) {
    broken_ = error;
    close_batch();
    in_flight_ = 0;
    phase_ = Phase::kFlowing;
    for (Batch& batch : std::exchange(queue_, {})) {
        router_.requests().cancel(batch.request);
        Error outcome = honest(batch, error);
        report(std::move(batch), std::unexpected(std::move(outcome)));
    }
}

std::vector<PartitionSender::Unsent> PartitionSender::take_back() {
    close_batch();
    std::vector<Unsent> out;
    for (Batch& batch : std::exchange(queue_, {})) {
        router_.requests().cancel(batch.request);
        out.push_back({std::move(batch.bytes), batch.created});
    }
    in_flight_ = 0;
    queued_bytes_ = 0;
    return out;
}

std::string PartitionSender::trouble() const {
    if (queue_.empty() || router_.env().now() - progress_at_ < kSlow) return {};
    const std::string common = router_.trouble();
    return common.empty() ? best_reason().message : common;
}

void PartitionSender::report(Batch batch, Result<Offset> outcome) {
    queued_bytes_ -= batch.bytes.size();
    report_(
        {partition_, batch.records, router_.env().now() - batch.created, std::move(outcome), std::move(batch.bytes)});
}

}  // namespace logstream::client
