#include "cmd/bench/interruption.h"

#include <pthread.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>

#include "cmd/runtime/client_flags.h"
#include "internal/process/standard_streams.h"

namespace logstream::bench {

namespace {

sigset_t watched_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        if (!process::ignores(signal)) sigaddset(&set, signal);
    return set;
}

}  // namespace

Interruption::Interruption() {
    const sigset_t set = watched_signals();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

Interruption::~Interruption() = default;

void Interruption::watch(std::function<void()> on_signal, std::function<void()> on_second) {
    thread_ = std::jthread(
        [this, on_signal = std::move(on_signal), on_second = std::move(on_second)](const std::stop_token& stop) {
            const sigset_t set = watched_signals();
            constexpr timespec kLookUp{.tv_sec = 0, .tv_nsec = 50'000'000};  // for the end of the run
            while (!stop.stop_requested()) {
                if (sigtimedwait(&set, nullptr, &kLookUp) < 0) continue;
                if (happened_.exchange(true)) {
                    on_second();
                    std::_Exit(runtime::kFailed);
                }
                on_signal();
            }
        });
}

}  // namespace logstream::bench
