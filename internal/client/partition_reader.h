// Reads one partition in the order of its offsets: never a record twice, never one left out, whoever serves it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "internal/client/router.h"
#include "internal/client/tail_search.h"
#include "internal/protocol/record_batch.h"

namespace logstream::client {

using protocol::Offset;

// Where to begin.
struct StartAt {
    enum class Kind : std::uint8_t {
        kEarliest,
        kLatest,
        kOffset,  // `value` is the offset
        kTail,    // `value` records before the end
        kTime,    // the first record whose timestamp is `value` ms since 1970 or later
    };
    Kind kind{Kind::kEarliest};
    std::int64_t value{};
    // When the offset is below the log's start (retention removed it): go on at the log's start in place of failing.
    bool earliest_if_gone{};
};

struct ReaderOptions {
    std::string topic;
    bool follow{};  // else ends at the high watermark that stood at the beginning
    // Records that cannot be decoded are passed over, with a warning; else reading fails and names them.
    bool skip_unreadable{};
    // Reading ends before the first record whose timestamp is so many ms since 1970, or later; not with `follow`.
    std::optional<std::int64_t> until_ms;
    Duration max_wait = std::chrono::milliseconds(500);
    std::uint32_t max_bytes = 4u << 20;  // of one answer
    // Where reading begins, before the first record of it.
    std::function<void(StreamId stream, Offset begin)> on_located = [](StreamId, Offset) {};
    // Asked before records are given out; when it says no, the reader pauses until `resume`.
    std::function<bool()> may_emit = [] { return true; };
};

struct ConsumedRecord {
    std::uint32_t partition{};
    Offset offset;
    const protocol::Record& record;  // valid during the call
};

// Reads one topic: not another one that takes its name later.
//
// One request is under way at a time; the next offset to emit is kept here alone, so that asking again, anyone, at any
// time, is safe. The owner is asked first; it refuses when it has no quorum, since others may have gone on without it.
// When it has not answered well for `kPatience`, any broker of the view is asked for what it knows to be committed,
// those first that have a quorum, so that reading goes on where there is none, with a warning. Not before: the first to
// answer a new reader may be a broker that the others have left out, and its log ends too early.
class PartitionReader {
public:
    static constexpr Duration kPatience = std::chrono::seconds(1);
    // Where the log ends, a reader that ends there asks nobody without a quorum before this.
    static constexpr Duration kEndPatience = std::chrono::milliseconds(2500);

    // Returns whether to go on; false pauses before the next record.
    using RecordHandler = std::function<bool(const ConsumedRecord& record)>;
    // The reader ended or failed.
    using EndHandler = std::function<void()>;

    PartitionReader(Router& router, const ReaderOptions& options, StreamId stream, StartAt start,
                    const RecordHandler& on_record, const EndHandler& on_end);
    ~PartitionReader();
    PartitionReader(const PartitionReader&) = delete;
    PartitionReader& operator=(const PartitionReader&) = delete;

    void start();
    // Goes on after the record handler said to pause.
    void resume();
    void on_view();

    StreamId stream() const { return stream_; }
    // The record handler said to pause.
    bool paused() const { return paused_; }
    // Why it does not go on, for a person; empty: it does.
    std::string trouble() const;
    // Why the end that it reads to may not be the last one: no broker with a quorum could tell.
    const std::string& doubt() const { return doubt_; }
    // The offset after the last record emitted (or where reading begins, once that is known).
    Offset next() const { return next_; }
    bool ended() const { return phase_ == Phase::kEnded; }
    const std::optional<Error>& failure() const { return failure_; }
    // Below this all is committed, as far as the last answer told.
    Offset high_watermark() const { return high_watermark_; }

private:
    enum class Phase : std::uint8_t {
        kLocating,  // asking for the log's ends
        kCounting,  // the last records, from the end backwards
        kReading,
        kEnded,
        kFailed,
    };
    struct Target {
        Endpoint endpoint;
        bool any_replica{};
    };

    std::optional<Target> choose_target();
    void ask();
    void ask_offsets(const Target& target);
    void ask_records(const Target& target);
    void on_offsets(const Result<Message>& answer);
    void on_records(const Result<Message>& answer);
    void tell_if_beyond_end(Offset start) const;
    void begin_at(Offset next, Offset log_start);
    void count_tail();
    void below_log_start(Offset log_start);
    void emit();
    bool emit_batch(const protocol::BatchView& batch);
    bool passes_unreadable(const protocol::BatchView& batch, const Error& why);
    void corrupt(std::string_view what);
    void answered_well(const proto::Failure& history);
    void ask_others_too();
    void trouble(const Error& error);
    void retry_later();
    void end();
    void fail(Error error);

    Router& router_;
    const ReaderOptions& options_;
    StreamId stream_;
    StartAt start_;
    const RecordHandler& on_record_;
    const EndHandler& on_end_;

    Phase phase_{Phase::kLocating};
    bool located_{};  // next_ and end_ are known
    bool begun_{};
    Offset next_;
    Offset end_;  // where to stop unless following
    Offset high_watermark_;
    std::optional<TailSearch> tail_;
    std::int64_t surplus_{};                // records that stand before those wanted
    std::optional<std::int64_t> older_ms_;  // those that are older than that stand before those wanted
    std::optional<Error> failure_;
    std::string doubt_;
    Error last_error_;  // since the last good answer; kNone: none

    RequestId asked_;
    TimePoint overdue_{};  // an answer that comes later than this finds us asleep before
    Target target_;
    ViewNumber asked_view_;
    Bytes pending_;  // of the last answer, what is not emitted yet
    bool paused_{};
    Backoff backoff_;
    env::TimerId retry_timer_;
    TimePoint began_{};
    TimePoint good_since_{};          // the last good answer of anyone
    TimePoint replica_mode_until_{};  // the owner did not answer and a replica did
    ViewNumber replica_mode_view_;
    bool replica_has_quorum_{};
    std::uint64_t turn_{};
    TimePoint corrupt_since_{};
    unsigned timeouts_{};  // in a row
};

}  // namespace logstream::client
