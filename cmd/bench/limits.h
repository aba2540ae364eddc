// What this machine could do if nobody had to order, check or keep anything: the figures that a broker is held against.
#pragma once

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>

#include "cmd/bench/options.h"
#include "internal/client/histogram.h"

namespace logstream::bench {

// `logstream-bench --limits`: measures all, some ten seconds, and prints them. The program's exit code.
int show_limits(const Options& options);

// Each adds its figures to an object. Whatever fails ends the program with a line that says what.
void measure_network(const std::string& network, nlohmann::json& figures);
void measure_disk(const std::string& dir, nlohmann::json& figures);
void measure_memory(nlohmann::json& figures);

// How long each of them measures.
inline constexpr std::chrono::milliseconds kEach{1000};
// How often something is done that is done now and then.
inline constexpr std::chrono::milliseconds kPace{1};

// The result of a system call; the program ends when it failed.
template <class Result>
Result need(Result result, const char* call) {
    if (result < 0) {
        std::fprintf(stderr, "logstream-bench: %s: %s\n", call, std::strerror(errno));
        std::_Exit(runtime::kFailed);
    }
    return result;
}

// Counted in nanoseconds, told in microseconds.
inline nlohmann::json microseconds(const client::Histogram& ns) {
    const auto us = [](std::uint64_t value) { return static_cast<double>(value) / 1000; };
    return {{"p50", us(ns.quantile(0.5))}, {"p99", us(ns.quantile(0.99))}, {"max", us(ns.max())}};
}

// How long something takes, over and over for `kEach`.
template <class Task>
client::Histogram time_each(Task task) {
    using Clock = std::chrono::steady_clock;
    client::Histogram ns;
    const auto end = Clock::now() + kEach;
    for (auto before = Clock::now(); before < end;) {
        task();
        const auto after = Clock::now();
        ns.record(static_cast<std::uint64_t>((after - before).count()));
        before = after;
    }
    return ns;
}

// The same, begun once every `kPace`: on a machine that sleeps in between, as records that come now and then find it.
template <class Task>
client::Histogram time_each_paced(Task task) {
    using Clock = std::chrono::steady_clock;
    client::Histogram ns;
    const auto end = Clock::now() + kEach;
    for (auto next = Clock::now(); next < end; next = std::max(next + kPace, Clock::now())) {
        std::this_thread::sleep_until(next);
        const auto before = Clock::now();
        task();
        ns.record(static_cast<std::uint64_t>((Clock::now() - before).count()));
    }
    return ns;
}

// How much is done in a second by something that does `bytes` each time.
template <class Task>
double bytes_per_second(std::size_t bytes, Task task) {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    std::size_t done = 0;
    for (; Clock::now() - begin < kEach; done += bytes) task();
    return static_cast<double>(done) / std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace logstream::bench
