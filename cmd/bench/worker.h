// The threads of a benchmark: each with a loop, sockets and a client of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "cmd/bench/options.h"
#include "cmd/runtime/session.h"
#include "internal/client/consumer.h"
#include "internal/client/histogram.h"
#include "internal/client/producer.h"

namespace logstream::bench {

// When to measure; set once all workers are ready.
struct Schedule {
    std::atomic<std::int64_t> begin_ns{};  // of the steady clock; 0: not yet
    std::atomic<std::int64_t> end_ns{};
    std::atomic<bool> failed{};                 // somebody can't go on
    std::atomic<std::uint64_t> acknowledged{};  // records so far, of all producers
    std::atomic<std::uint64_t> delivered{};     // to all consumers

    void one_is_ready() {
        const std::lock_guard lock(mutex_);
        ++ready_;
        changed_.notify_all();
    }
    void fail() {
        const std::lock_guard lock(mutex_);
        failed = true;
        changed_.notify_all();
    }
    // Waits for `count` workers, or for a failure; not being ready in time is one.
    void wait_ready(std::uint32_t count, std::chrono::steady_clock::time_point until) {
        std::unique_lock lock(mutex_);
        changed_.wait_until(lock, until, [&] { return failed || ready_ >= count; });
        if (ready_ < count) failed = true;
    }

    // Whether what happens now counts.
    bool counts(protocol::TimePoint now) const { return begun(now) && !over(now); }
    bool begun(protocol::TimePoint now) const {
        const std::int64_t begin = begin_ns.load(std::memory_order_relaxed);
        return begin != 0 && now.time_since_epoch().count() >= begin;
    }
    bool over(protocol::TimePoint now) const {
        const std::int64_t end = end_ns.load(std::memory_order_relaxed);
        return end != 0 && now.time_since_epoch().count() >= end;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::uint32_t ready_{};
};

// What one worker counted, within the measured time where nothing else is said.
struct Tally {
    std::uint64_t records{};
    std::uint64_t bytes{};
    std::uint64_t failed{};            // in all
    std::uint64_t acknowledged{};      // in all
    protocol::TimePoint last{};        // when the last record was acknowledged or delivered
    protocol::Duration longest_gap{};  // between two acknowledgements, from the begin on and beyond the end
    client::Histogram latency_us;
    std::optional<protocol::Error> error;
};

// Runs in its own thread, from connecting to the end of the schedule.
// The producer of index i has the topics i, i + producers, and so on; the consumer of index i one topic.
Tally run_producer(const Options& options, Schedule& schedule, std::uint32_t index);
Tally run_consumer(const Options& options, Schedule& schedule, std::uint32_t index);

}  // namespace logstream::bench
