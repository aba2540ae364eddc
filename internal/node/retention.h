// What becomes of old records: which streams are cut by age and size, which are compacted, and when nothing goes by age
// because the clocks cannot be trusted.
#pragma once

#include "internal/node/core.h"
#include "internal/node/topics.h"

namespace logstream::node {

class Retention {
public:
    Retention(Core& core, const Topics& topics) : core_(core), topics_(topics) {}

    // About every 100 ms; does its work once a second.
    void tick();

private:
    // Of one topic, its own settings before the broker's.
    struct Rules {
        bool compact{};
        std::int64_t keep_ms{};  // 0 or less: for ever
        std::int64_t keep_bytes{};
    };
    std::optional<Rules> rules_of(StreamId id) const;
    static storage::RetainLimits limits_of(const Rules& rules, const std::optional<storage::WallClock>& clock);

    Core& core_;
    const Topics& topics_;
    TimePoint last_;
};

}  // namespace logstream::node
