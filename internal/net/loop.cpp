#include "internal/net/loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "internal/net/handle.h"
#include "internal/net/polled_fd.h"

namespace logstream::net {

namespace {

// So many times in one turn do deferred tasks that schedule others get their way before the loop looks at its sockets.
constexpr int kDeferredRounds = 4;

template <class T, class Init>
Handle<T> loop_handle(void* owner, Init init) {
    auto made = make_handle<T>(owner, init);
    LS_ASSERT(made.has_value());  // the loop is new: nothing outside can have used up what these need
    return std::move(*made);
}

}  // namespace

struct Loop::State {
    struct Signal {
        Handle<uv_signal_t> handle;
        std::function<void(int)> task;
    };

    uv_loop_t loop{};
    // An eventfd: another thread posted something. (A uv_async_t makes the loop spin until the other thread has left
    // its call, which that does late when it is the loop that runs now: 7 % of a broker's time with one record in
    // flight, see the benchmark case one-in-flight.)
    std::unique_ptr<PolledFd> wake;
    Handle<uv_prepare_t> prepare;  // before the loop waits
    Handle<uv_check_t> check;      // after the sockets' callbacks
    Handle<uv_idle_t> busy;        // active: do not wait
    std::map<int, Signal> signals;
    std::optional<std::int64_t> wall_clock_ms;  // as read in this turn
    bool stopping = false;
    bool asking = false;  // run_until wants to ask its condition after whatever happens

    std::mutex mutex;                                     // guards posted
    std::vector<std::move_only_function<void()>> posted;  // in the order of the calls

    std::vector<Deferred*> deferred;  // scheduled; null: destroyed since
    std::vector<Deferred*> running;   // the round under way

    void run_posted() {
        std::uint64_t times = 0;
        // Before the tasks are taken: who finds none there after that wakes the loop again.
        [[maybe_unused]] const ssize_t ignored = ::read(wake->fd(), &times, sizeof times);
        std::vector<std::move_only_function<void()>> tasks;
        {
            const std::lock_guard lock(mutex);
            tasks.swap(posted);
        }
        for (auto& task : tasks) task();
    }

    void run_deferred() {
        for (int round = 0; round < kDeferredRounds && !deferred.empty(); ++round) {
            running.swap(deferred);
            for (std::size_t i = 0; i < running.size(); ++i) {
                Deferred* const next = std::exchange(running[i], nullptr);
                if (next == nullptr) continue;
                next->scheduled_ = false;
                next->task_();
            }
            running.clear();
        }
    }

    void before_waiting() {
        const bool something_ran = !deferred.empty();
        run_deferred();
        if (!deferred.empty() || (asking && something_ran)) uv_idle_start(busy.get(), [](uv_idle_t*) {});
        wall_clock_ms.reset();
    }
    void after_sockets() {
        uv_idle_stop(busy.get());
        run_deferred();
    }
};

Loop::Loop() : state_(std::make_unique<State>()) {
    std::signal(SIGPIPE, SIG_IGN);
    State& s = *state_;
    LS_ASSERT(uv_loop_init(&s.loop) == 0);
    auto wake = PolledFd::open(*this, Fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)), [&s] { s.run_posted(); }, nullptr);
    LS_ASSERT(wake.has_value());
    s.wake = std::move(*wake);
    s.prepare = loop_handle<uv_prepare_t>(&s, [&](uv_prepare_t* h) { return uv_prepare_init(&s.loop, h); });
    s.check = loop_handle<uv_check_t>(&s, [&](uv_check_t* h) { return uv_check_init(&s.loop, h); });
    s.busy = loop_handle<uv_idle_t>(&s, [&](uv_idle_t* h) { return uv_idle_init(&s.loop, h); });
    uv_prepare_start(s.prepare.get(), [](uv_prepare_t* h) { owner_of<State>(h)->before_waiting(); });
    uv_check_start(s.check.get(), [](uv_check_t* h) { owner_of<State>(h)->after_sockets(); });
}

Loop::~Loop() {
    State& s = *state_;
    s.signals.clear();
    s.busy.reset();
    s.check.reset();
    s.prepare.reset();
    s.wake.reset();
    // What was closed before, here or by those who used the loop, is freed by its last turns.
    int status = UV_EBUSY;
    for (int turn = 0; turn < 16 && (status = uv_loop_close(&s.loop)) == UV_EBUSY; ++turn)
        uv_run(&s.loop, UV_RUN_NOWAIT);
    LS_ASSERT(status == 0);  // else somebody who uses the loop outlives it
}

void Loop::run() {
    while (!state_->stopping) uv_run(&state_->loop, UV_RUN_DEFAULT);
    state_->stopping = false;
}

void Loop::stop() {
    post([this] {
        state_->stopping = true;
        uv_stop(&state_->loop);
    });
}

bool Loop::run_until(const std::function<bool()>& done, protocol::Duration limit) {
    bool expired = false;
    auto timer = loop_handle<uv_timer_t>(&expired, [&](uv_timer_t* h) { return uv_timer_init(&state_->loop, h); });
    const auto limit_ms = std::chrono::ceil<std::chrono::milliseconds>(limit).count();
    uv_update_time(&state_->loop);
    uv_timer_start(
        timer.get(), [](uv_timer_t* h) { *owner_of<bool>(h) = true; },
        static_cast<std::uint64_t>(std::max<std::int64_t>(limit_ms, 0)), 0);
    bool result = done();
    state_->asking = true;
    while (!result && !expired && !state_->stopping) {
        uv_run(&state_->loop, UV_RUN_ONCE);
        result = done();
    }
    state_->asking = false;
    state_->stopping = false;
    return result;
}

void Loop::post(std::move_only_function<void()> task) {
    bool first = false;
    {
        const std::lock_guard lock(state_->mutex);
        first = state_->posted.empty();
        state_->posted.push_back(std::move(task));
    }
    const std::uint64_t once = 1;
    if (first) LS_ASSERT(::write(state_->wake->fd(), &once, sizeof once) == sizeof once);
}

void Loop::on_signal(int signal, std::function<void(int)> task) {
    State::Signal& entry = state_->signals[signal];
    entry.task = std::move(task);
    if (entry.handle) return;
    entry.handle = loop_handle<uv_signal_t>(&entry, [&](uv_signal_t* h) { return uv_signal_init(&state_->loop, h); });
    const int status = uv_signal_start(
        entry.handle.get(),
        [](uv_signal_t* h, int number) {
            if (auto* self = owner_of<State::Signal>(h)) self->task(number);
        },
        signal);
    LS_ASSERT(status == 0);  // only SIGKILL, SIGSTOP and numbers that are no signal are refused
}

std::int64_t Loop::wall_clock_ms() {
    std::optional<std::int64_t>& read = state_->wall_clock_ms;
    if (!read) {
        const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
        read = std::chrono::duration_cast<std::chrono::milliseconds>(since_1970).count();
    }
    return *read;
}

uv_loop_s* Loop::handle() { return &state_->loop; }

Deferred::~Deferred() {
    if (!scheduled_) return;
    Loop::State& s = *loop_.state_;
    std::ranges::replace(s.deferred, this, nullptr);
    std::ranges::replace(s.running, this, nullptr);
}

void Deferred::schedule() {
    if (scheduled_) return;
    scheduled_ = true;
    loop_.state_->deferred.push_back(this);
}

}  // namespace logstream::net
