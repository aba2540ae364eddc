// Appends records to a topic: partitions them, batches them, and reports what became of each batch.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "internal/client/owner_call.h"
#include "internal/client/partition_sender.h"
#include "internal/client/waiting.h"

namespace logstream::client {

// The id that a named producer has: 63 bits of a hash of its name.
ProducerId producer_id_of(std::string_view name);
// Whether a named producer may ask for these: a later one goes by the last sequence that the log has, so nothing below
// it may be missing there.
constexpr bool keeps_sequences_whole(proto::Acks acks) { return acks == proto::QUORUM || acks == proto::ALL; }

// What earlier instances of a named producer got into a partition, since one of them began anew.
struct SentBefore {
    std::int64_t first{};                  // sequence of the first record
    std::int64_t next{};                   // of the one behind the last
    std::vector<SequenceRange> missing;    // of these the log has none; rising
    std::optional<std::uint64_t> content;  // sum of protocol::content_of over those that are there; nullopt: not known
    std::int64_t count() const { return next - first; }
    // Whether the record with this number, from 0, is there.
    bool has(std::int64_t number) const;
    friend bool operator==(const SentBefore&, const SentBefore&) = default;
};

// Each record that `send` accepted is reported exactly once, with its batch, in the order of the outcomes. Memory is
// bounded by `buffer_bytes`: the caller asks `has_room` and waits for the progress handler.
//
// A topic that is deleted while it is written to is not made again: who deleted it meant it. Records wait for somebody
// to make it, as for anything else; what was not acknowledged then goes to the new topic, placed anew. Partitions that
// are added are written to. Not so with a name: what an instance has sent is counted by partition.
class Producer {
public:
    struct Record {
        std::optional<std::string_view> key;
        std::optional<std::string_view> value;
        std::optional<std::uint32_t> partition = std::nullopt;    // else by key, else in turn, a batch each
        std::optional<std::int64_t> timestamp_ms = std::nullopt;  // else now
        std::span<const protocol::Header> headers = {};
    };
    using ReportHandler = std::function<void(const BatchReport& report)>;
    using ReadyHandler = std::move_only_function<void(Result<void>)>;

    Producer(Router& router, ProducerOptions options, ReportHandler report);
    ~Producer();
    Producer(const Producer&) = delete;
    Producer& operator=(const Producer&) = delete;

    // Looks the topic up (creating it if allowed) and, for a named producer, takes over from earlier instances. Nothing
    // may be sent before `ready` was called with success.
    void start(ReadyHandler ready);
    // In place of `start`, in two steps: `look` takes nothing over, so that the caller may compare what is there with
    // what it has. `sent_before` may have changed when `take_over` is ready, if an older instance still sent.
    void look(ReadyHandler ready);
    void take_over(ReadyHandler ready);
    // Called from the loop after reports; there may be room again, or nothing left to wait for.
    void on_progress(std::function<void()> handler) { progress_ = std::move(handler); }

    // kInvalid or kTooLarge: refused before anything was sent. The bytes are copied.
    Result<void> send(const Record& record);
    bool has_room() const { return buffered_bytes() < options_.buffer_bytes; }
    std::size_t buffered_bytes() const;
    // Sends open batches without waiting for the linger time.
    void flush();
    // Every record has been reported. With acks `none` the caller closes orderly by `settle`.
    bool idle() const;
    // With acks `none`: calls `done` when the owners have read what was sent to them, or after `limit`.
    void settle(Duration limit, std::move_only_function<void()> done);
    // Ends what is not acknowledged with `error`.
    void fail_all(const Error& error);

    // Valid when ready. A topic that was made anew may have others.
    std::uint32_t partitions() const { return static_cast<std::uint32_t>(senders_.size()); }
    // One that resumes skips the records that are there, and sends those that are missing before what comes behind.
    const SentBefore& sent_before(std::uint32_t partition) const { return sent_before_[partition]; }
    // Of all partitions, as long as the topic is the same.
    SendTrouble trouble_so_far() const;
    // Key, value and headers of one record together.
    std::size_t max_record_bytes() const;

private:
    void on_view();
    void on_start_timeout();
    void on_topic(const Topic& topic);
    void add_partitions(std::uint32_t count);
    void begin_anew(const Topic& topic);
    void send_again(std::uint32_t partition, bool chosen, const PartitionSender::Unsent& unsent);
    void open_partitions(const Topic& topic);
    void ask_producer_state();
    void wait_for_owners();
    void on_producer_state(std::uint32_t partition, Result<proto::ProducerStateResponse> response);
    void ready(Result<void> result);
    void on_report(BatchReport report);
    void schedule_tick();
    void look_while_starting();
    std::string why_waiting() const;

    Router& router_;
    ProducerOptions options_;
    ProducerId id_;
    ReportHandler report_;
    std::function<void(BatchReport)> on_report_;
    std::function<void()> progress_;
    ReadyHandler ready_;
    Router::ListenerId listener_;
    Requests::ListenerId drained_;
    env::TimerId start_timer_;
    env::TimerId look_timer_;
    Waiting waiting_;
    env::TimerId tick_timer_;
    env::TimerId progress_timer_;
    bool ticking_{};
    bool progress_scheduled_{};
    TopicId topic_;
    bool deleted_{};  // and this was said
    std::vector<std::unique_ptr<PartitionSender>> senders_;
    std::vector<bool> chosen_;  // by partition: its records name it
    bool only_looks_{};
    std::vector<SentBefore> sent_before_;
    std::vector<std::unique_ptr<OwnerCall>> state_calls_;
    std::size_t states_missing_{};
    std::uint32_t sticky_{};
    std::vector<RequestId> barriers_;
    std::size_t barriers_missing_{};
    std::move_only_function<void()> settled_;
    env::TimerId settle_timer_;
};

}  // namespace logstream::client
