// What a producer's batch is held to before it is appended. Each is looked at once, here, and by nobody after that: the
// same bytes go to the disk, to the replicas and to the readers. What comes from other brokers' logs (replication,
// catching up) is taken as it is, since replicas hold the same whatever it is.
#pragma once

#include <spdlog/logger.h>

#include <optional>

#include "internal/node/said.h"
#include "internal/node/settings.h"
#include "internal/protocol/error.h"
#include "internal/protocol/record_batch.h"

namespace logstream::node {

class Door {
public:
    Door(const Settings& settings, spdlog::logger& log) : settings_(settings), log_(log) {}

    // Why the batch is refused, if it is. `now_ms`: since 1970, by a clock to be trusted.
    std::optional<protocol::Error> check(const protocol::BatchView& batch, std::int64_t now_ms, TimePoint now);

    // Batches with timestamps out of range that were taken, since the start.
    std::uint64_t flagged() const { return flagged_; }

private:
    std::optional<protocol::Error> check_timestamps(std::int64_t least_ms, std::int64_t greatest_ms,
                                                    std::int64_t now_ms, TimePoint now);

    const Settings& settings_;
    spdlog::logger& log_;
    std::uint64_t flagged_{};
    Said said_{std::chrono::minutes(1)};
};

}  // namespace logstream::node
