#include "cmd/bench/progress.h"

#include <condition_variable>
#include <mutex>

#include "cmd/runtime/status_line.h"

namespace logstream::bench {

namespace {

constexpr protocol::Duration kSilence = std::chrono::seconds(2);

std::uint64_t passed(const Options& options, const Schedule& schedule) {
    return options.producers > 0 ? schedule.acknowledged : schedule.delivered;
}

std::string text_of(const Options& options, const Schedule& schedule, std::uint64_t count, double per_second) {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    const double seconds = std::chrono::duration<double>(now - std::chrono::nanoseconds(schedule.begin_ns)).count();
    const std::string when =
        seconds < 0 ? fmt::format("warm-up, {:.0f} s left", -seconds)
                    : fmt::format("{:.0f} of {:g} s",
                                  std::min(seconds, std::chrono::duration<double>(options.duration).count()),
                                  std::chrono::duration<double>(options.duration).count());
    return fmt::format("{}, {} records {}, {:.0f}/s", when, count, options.producers > 0 ? "acknowledged" : "read",
                       per_second);
}

void watch(const std::stop_token& stop, const Options& options, const Schedule& schedule) {
    std::mutex mutex;
    std::condition_variable_any changed;
    std::uint64_t before = passed(options, schedule);
    auto moved_at = std::chrono::steady_clock::now();
    bool told = false;
    // All producers send at once, each after as many pauses as there are producers.
    const double pause = options.rate > 0 ? options.producers / options.rate : 0;
    const protocol::Duration silence =
        std::max(kSilence, std::chrono::duration_cast<protocol::Duration>(std::chrono::duration<double>(2 * pause)));
    while (true) {
        std::unique_lock lock(mutex);
        changed.wait_for(lock, stop, runtime::kStatusEvery, [] { return false; });
        if (stop.stop_requested()) return runtime::clear_status();
        const std::uint64_t count = passed(options, schedule);
        const auto now = std::chrono::steady_clock::now();
        const double seconds = std::chrono::duration<double>(runtime::kStatusEvery).count();
        if (runtime::has_status_line())
            runtime::show_status(text_of(options, schedule, count, static_cast<double>(count - before) / seconds));
        if (count != before) {
            moved_at = now;
            told = false;
        } else if (options.producers > 0 && now.time_since_epoch().count() < schedule.end_ns &&
                   now - moved_at >= silence && !std::exchange(told, true)) {
            // Who only reads may have read everything.
            runtime::clear_status();
            std::fprintf(stderr, "logstream-bench: no record was acknowledged for %.0f s; see logstreamctl status\n",
                         std::chrono::duration<double>(silence).count());
        }
        before = count;
    }
}

}  // namespace

Progress::Progress(const Options& options, const Schedule& schedule)
    : thread_([&options, &schedule](const std::stop_token& stop) { watch(stop, options, schedule); }) {}

// Joins.
Progress::~Progress() = default;

}  // namespace logstream::bench
