// Ctrl-C, SIGTERM or SIGHUP while a benchmark runs: it ends early, and tidies up as at its usual end.
#pragma once

#include <atomic>
#include <functional>
#include <thread>

namespace logstream::bench {

// Made before any other thread, which then none of the signals reaches.
class Interruption {
public:
    Interruption();
    ~Interruption();
    Interruption(const Interruption&) = delete;
    Interruption& operator=(const Interruption&) = delete;

    // `on_signal` runs at once, in a thread of its own, at the first signal; `on_second` at the second one, which ends
    // the program.
    void watch(std::function<void()> on_signal, std::function<void()> on_second);
    bool happened() const { return happened_; }

private:
    std::atomic<bool> happened_{};
    std::jthread thread_;
};

}  // namespace logstream::bench
