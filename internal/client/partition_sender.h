// Sends one partition's batches: in order, pipelined, each record once, through whatever happens to its owner.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "internal/client/codec_choice.h"
#include "internal/client/router.h"
#include "internal/protocol/record_batch.h"

namespace logstream::client {

using protocol::Offset;
using protocol::ProducerId;

struct ProducerOptions {
    std::string topic;
    proto::Acks acks = proto::QUORUM;
    std::optional<protocol::Codec> compression = protocol::Codec::kNone;  // nullopt: whichever pays (CodecChoice)
    std::size_t batch_bytes = 256u << 10;                                 // a batch is closed when it holds so much
    Duration linger = std::chrono::milliseconds(5);
    Duration timeout = std::chrono::seconds(120);  // how long one record is retried; 0: one try
    std::size_t max_in_flight = 5;                 // batches per partition; brokers remember the last five
    std::size_t buffer_bytes = 64u << 20;          // records that are not acknowledged yet
    AutoCreate auto_create = AutoCreate::kYes;
    // Not empty: the producer's id is a hash of it, an older instance is fenced, and `Producer::sent_before` says what
    // the cluster has from it.
    std::string name;
    // With a name: this instance sends again whatever of the older ones it does not find there. A record of theirs that
    // comes to light later (an orphan) would stand there twice, and is dropped. Else it begins anew: what it sends is
    // something else than what they did.
    bool resumes{};
    // With a name: the only partition that it writes to. Else it takes over in all of them.
    std::optional<std::uint32_t> named_partition;
};

// Sequences of a named producer; they count on past 2^31.
struct SequenceRange {
    std::int64_t first{};
    std::int64_t last{};
    friend bool operator==(const SequenceRange&, const SequenceRange&) = default;
};

// What went wrong on the way and was mended.
struct SendTrouble {
    std::uint64_t batches_sent_again{};
    std::uint64_t owner_changes{};  // of partitions that were written to
};

// What became of one batch.
struct BatchReport {
    std::uint32_t partition{};
    std::uint32_t records{};
    Duration latency{};      // since its first record was handed over
    Result<Offset> outcome;  // of its first record; -1 when nobody was asked to acknowledge
    Bytes batch;             // as it was sent
};

// The protocol per partition is that of Kafka's idempotent producer. Batches carry producer id, epoch and a sequence
// that counts records. Up to `max_in_flight` are under way on one connection. After any failure nothing new is sent
// until all answers are in or given up; then everything that is not acknowledged goes out again, the same bytes in the
// same order, first one alone, then the rest. When a batch is given up, the owner refuses its successors
// (kSequenceGap); what is left then gets a new epoch and sequences from 0.
class PartitionSender {
public:
    using ReportHandler = std::function<void(BatchReport report)>;

    PartitionSender(Router& router, const ProducerOptions& options, ProducerId id, std::uint32_t partition,
                    const ReportHandler& report);
    ~PartitionSender();
    PartitionSender(const PartitionSender&) = delete;
    PartitionSender& operator=(const PartitionSender&) = delete;

    // Continues after what an earlier instance of a named producer wrote: the first records get the sequences of
    // `holes`, those behind them go on at `next`. Before the first append.
    void resume_at(std::int16_t epoch, std::vector<SequenceRange> holes, std::int64_t next);

    // Takes a record (copied) that was handed over at `since`. True when this closed a batch.
    bool append(std::int64_t timestamp_ms, std::optional<std::string_view> key, std::optional<std::string_view> value,
                std::span<const protocol::Header> headers, TimePoint since);
    // Closes the open batch and sends what may be sent.
    void flush();
    // The view or what is known of the topic changed.
    void on_view();
    // A connection has room again.
    void on_drained() { pump(); }
    // Gives up what is too old and asks for news when answers stay out. Called every `kTick` while not idle.
    void tick();
    // Ends everything with `error`; later records too.
    void fail_all(const Error& error);
    // Gives back what is not acknowledged, in order, for another topic of the same name to get: of this one nothing is
    // left, wherever it had come to.
    struct Unsent {
        Bytes bytes;
        TimePoint since{};
    };
    std::vector<Unsent> take_back();
    // Why nothing is acknowledged, for a person; empty: it is, or there is nothing to send.
    std::string trouble() const;

    static constexpr Duration kTick = std::chrono::milliseconds(100);
    static constexpr std::int64_t kEndless = std::numeric_limits<std::int64_t>::max();

    // What a record takes at most in a batch beside its key and value: lengths, deltas, and the header of the batch.
    static constexpr std::size_t kRecordOverheadBytes = protocol::kBatchHeaderBytes + 40;

    std::uint32_t open_records() const { return static_cast<std::uint32_t>(builder_.count()); }
    bool idle() const { return queue_.empty() && builder_.count() == 0; }
    std::size_t buffered_bytes() const { return queued_bytes_ + builder_.estimated_bytes(); }
    const SendTrouble& trouble_so_far() const { return troubles_; }
    // The owner that was sent to last.
    std::optional<Endpoint> target() const { return target_.port == 0 ? std::nullopt : std::optional(target_); }

private:
    struct Batch {
        std::uint64_t serial{};  // names it in handlers
        Bytes bytes;
        std::uint32_t records{};
        TimePoint created{};
        bool in_flight{};
        bool sent{};     // at least once
        bool unknown{};  // an answer was lost, or said so: it may stand in the log
        RequestId request;
        TimePoint sent_at{};
        ErrorCode refusal{ErrorCode::kNone};  // of the last try
    };
    enum class Phase : std::uint8_t {
        kFlowing,   // up to max_in_flight
        kProbing,   // after trouble: one batch, to see whether the owner takes it
        kSettling,  // a batch failed: waiting for the answers of the others
        kWaiting,   // for the back-off or for another view
    };

    void close_batch();
    void begin_run();
    void pump();
    bool find_target();
    void transmit(Batch& batch);
    void on_answer(std::uint64_t serial, const Result<Message>& answer);
    void refused(std::size_t index, const Error& error);
    void give_up(std::size_t index, const Error& error);
    void settle();
    void renumber();
    void wait();
    void try_again();
    void wake();
    void abandon_in_flight();
    bool one_try() const { return options_.timeout <= Duration{0}; }
    Error best_reason() const;
    Error too_late(const Batch& batch) const;
    static Error honest(const Batch& batch, Error error);
    void report(Batch batch, Result<Offset> outcome);

    Router& router_;
    const ProducerOptions& options_;
    ProducerId id_;
    std::uint32_t partition_;
    const ReportHandler& report_;

    protocol::BatchBuilder builder_;
    CodecChoice codec_choice_;
    TimePoint opened_{};  // when the open batch got its first record
    bool flush_{};        // close the open batch as soon as the window has room
    env::TimerId linger_timer_;

    std::deque<Batch> queue_;  // not acknowledged, in order; those in flight first
    std::size_t queued_bytes_{};
    TimePoint progress_at_{};  // of what waits: when it began to, or something before it was acknowledged
    std::size_t in_flight_{};
    std::uint64_t last_serial_{};

    std::int16_t epoch_{};
    std::int32_t next_sequence_{};
    std::deque<SequenceRange> runs_;  // of sequences to use; empty: they go on from where they are
    std::int64_t run_left_{kEndless};
    bool hole_{};        // a batch was given up and the sequences behind it have not been renumbered
    bool renumbered_{};  // and nothing acknowledged since

    Phase phase_{Phase::kFlowing};
    TopicId topic_;
    Endpoint target_;
    ViewNumber target_view_;
    Backoff backoff_;
    env::TimerId wake_timer_;
    bool held_{};  // waiting until the owner takes writes again
    Error last_error_;
    SendTrouble troubles_;
    std::optional<Error> broken_;
};

}  // namespace logstream::client
