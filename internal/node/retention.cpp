#include "internal/node/retention.h"

#include <algorithm>

namespace logstream::node {

namespace {
constexpr Duration kInterval = std::chrono::seconds(1);
// The newest segment is closed when its first record has come to this part of the age at which records go. So they go
// by a quarter of it late, at most, and a stream that is hardly written to has about five segments.
constexpr std::int64_t kRollsPerAge = 4;
constexpr std::int64_t kLeastRollMs = 1000;
// That of a compacted stream, which keeps its segments: what was closed is compacted. As Kafka's segment.ms.
constexpr std::int64_t kCompactedRollMs = std::int64_t{7} * 24 * 3600 * 1000;
}  // namespace

std::optional<Retention::Rules> Retention::rules_of(StreamId id) const {
    if (protocol::is_internal(id)) return Rules{.compact = true};
    const proto::TopicRecord* topic = topics_.find(id.topic);
    if (topic == nullptr) return std::nullopt;
    const proto::TopicSettings& own = topic->settings();
    // The broker's defaults are for topics that are a log; of one that is a table its own settings take records away,
    // like Kafka's cleanup.policy=compact,delete, and nothing else.
    if (own.compact()) return Rules{true, own.retention_ms(), own.retention_bytes()};
    const auto or_default = [](std::int64_t value, std::int64_t fallback) { return value == 0 ? fallback : value; };
    return Rules{false, or_default(own.retention_ms(), core_.settings.retention_ms),
                 or_default(own.retention_bytes(), core_.settings.retention_bytes)};
}

storage::RetainLimits Retention::limits_of(const Rules& rules, const std::optional<storage::WallClock>& clock) {
    storage::RetainLimits limits;
    limits.clock = clock;
    if (rules.keep_bytes > 0) limits.max_bytes = static_cast<std::uint64_t>(rules.keep_bytes);
    if (rules.compact) limits.roll_after_ms = kCompactedRollMs;
    if (rules.keep_ms > 0) {
        limits.keep_ms = rules.keep_ms;
        limits.roll_after_ms = std::max(rules.keep_ms / kRollsPerAge, kLeastRollMs);
    }
    return limits;
}

void Retention::tick() {
    const TimePoint now = core_.env.now();
    if (now - last_ < kInterval) return;
    last_ = now;
    const std::optional<storage::WallClock> clock = core_.clocks.trusted();
    for (auto& [id, stream] : core_.streams.all()) {
        const std::optional<Rules> rules = rules_of(id);
        if (!rules) continue;
        const storage::RetainLimits limits = limits_of(*rules, clock);
        // First what goes, then what is left is compacted: the one waits for the other.
        if (limits.max_bytes || limits.roll_after_ms) stream.log->retain(stream.high_watermark, limits);
        if (rules->compact) stream.log->compact(stream.high_watermark, [](auto) {});
    }
}

}  // namespace logstream::node
