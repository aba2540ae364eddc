#include "internal/node/door.h"

#include <algorithm>

#include "internal/protocol/planted.h"
#include "internal/protocol/record_check.h"

namespace logstream::node {

using protocol::BatchView;
using protocol::Error;
using protocol::ErrorCode;

namespace {
// Compressed records may take so many times limits.batch_bytes: decompressing them holds up the event loop.
constexpr std::size_t kMaxExpansion = 16;

std::optional<Error> check_header(const BatchView& batch) {
    if (batch.is_orphan() || batch.is_control() || batch.has_append_time())
        return Error{ErrorCode::kInvalid, "a producer's batch has attributes that only brokers set"};
    const std::int64_t producer = batch.producer_id().value;
    if (batch.producer_id() == protocol::kNoProducer) return std::nullopt;
    if (producer < 0 || batch.producer_epoch() < 0)
        return Error{ErrorCode::kInvalid, fmt::format("a batch of producer {} and epoch {}: neither can be negative",
                                                      producer, batch.producer_epoch())};
    if (batch.base_sequence() < 0) return Error{ErrorCode::kInvalid, "a batch with a producer id but no sequence"};
    return std::nullopt;
}
}  // namespace

std::optional<Error> Door::check(const BatchView& batch, std::int64_t now_ms, TimePoint now) {
    if (auto error = check_header(batch)) return error;
    if (protocol::planted(protocol::Bug::kPoisonAccepted)) return std::nullopt;
    const std::size_t most = std::min(protocol::kMaxRecordsBytes, settings_.batch_bytes * kMaxExpansion);
    const auto checked = protocol::check_batch(batch, protocol::OffsetRule::kDense, most);
    if (!checked) return checked.error();
    return check_timestamps(checked->min_timestamp_ms, checked->max_timestamp_ms, now_ms, now);
}

std::optional<Error> Door::check_timestamps(std::int64_t least_ms, std::int64_t greatest_ms, std::int64_t now_ms,
                                            TimePoint now) {
    if (settings_.timestamp_policy == TimestampPolicy::kAccept) return std::nullopt;
    const std::int64_t range = settings_.timestamp_range.count();
    const bool ahead = greatest_ms > now_ms + range;
    if (!ahead && least_ms >= now_ms - range) return std::nullopt;
    const std::string what =
        fmt::format("a record's timestamp {} is further {} this broker's clock than topics.timestamp_range allows",
                    ahead ? greatest_ms : least_ms, ahead ? "ahead of" : "behind");
    if (settings_.timestamp_policy == TimestampPolicy::kRefuse) return Error{ErrorCode::kInvalid, what};
    ++flagged_;
    if (said_.is_due(ahead ? "ahead" : "behind", now))
        log_.warn("TIMESTAMP {}; it is accepted, and retention goes by append time. (Logged at most once a minute)",
                  what);
    return std::nullopt;
}

}  // namespace logstream::node
