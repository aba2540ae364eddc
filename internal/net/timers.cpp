#include "internal/net/timers.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "internal/net/polled_fd.h"

namespace logstream::net {

namespace {
// Longer than any process lives, and far from where adding to the clock would overflow.
constexpr protocol::Duration kLongest = std::chrono::hours(24 * 365 * 30);
}  // namespace

Timers::Timers(Loop& loop) : loop_(loop), turn_(loop, [this] { end_of_turn(); }) {}
Timers::~Timers() = default;

protocol::Result<std::unique_ptr<Timers>> Timers::open(Loop& loop) {
    Fd fd(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    if (!fd.valid())
        return protocol::fail(protocol::ErrorCode::kNetwork, "cannot create a timer: {}",
                              std::generic_category().message(errno));
    std::unique_ptr<Timers> self(new Timers(loop));
    auto clock = PolledFd::open(
        loop, std::move(fd),
        [timers = self.get()] {
            std::uint64_t expirations = 0;
            if (::read(timers->clock_->fd(), &expirations, sizeof expirations) > 0)
                timers->armed_ = protocol::TimePoint::max();
            timers->turn_.schedule();
        },
        nullptr);
    if (!clock) return std::unexpected(clock.error());
    self->clock_ = std::move(*clock);
    return self;
}

env::TimerId Timers::set(protocol::Duration after, std::move_only_function<void()> task) {
    const protocol::TimePoint deadline = loop_.now() + std::clamp(after, protocol::Duration::zero(), kLongest);
    const env::TimerId id = next_;
    ++next_;
    queue_.emplace(Key{deadline, id}, std::move(task));
    deadlines_.emplace(id, deadline);
    if (deadline < armed_) turn_.schedule();
    return id;
}

void Timers::cancel(env::TimerId timer) {
    const auto found = deadlines_.find(timer);
    if (found == deadlines_.end()) return;
    queue_.erase(Key{found->second, timer});
    deadlines_.erase(found);
    // The clock is left as it is: it goes off for nobody once, which costs less than setting it at every cancellation.
}

void Timers::end_of_turn() {
    run_due();
    arm();
}

void Timers::run_due() {
    const protocol::TimePoint now = loop_.now();
    const env::TimerId new_from = next_;
    while (!queue_.empty()) {
        const auto first = queue_.begin();
        if (first->first.first > now || first->first.second >= new_from) return;
        auto task = std::move(first->second);
        deadlines_.erase(first->first.second);
        queue_.erase(first);
        task();
    }
}

void Timers::arm() {
    if (queue_.empty() || queue_.begin()->first.first >= armed_) return;
    armed_ = queue_.begin()->first.first;
    const auto since_boot = armed_.time_since_epoch();
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since_boot);
    itimerspec when{};
    when.it_value.tv_sec = seconds.count();
    when.it_value.tv_nsec = (since_boot - seconds).count();
    LS_ASSERT(::timerfd_settime(clock_->fd(), TFD_TIMER_ABSTIME, &when, nullptr) == 0);
}

}  // namespace logstream::net
