#include "internal/process/supervisor.h"

#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace logstream::process {

namespace {

constexpr protocol::Duration kLook = std::chrono::seconds(1);
constexpr protocol::Duration kPatience = std::chrono::seconds(30);  // until the next sign of a start
constexpr int kKeepEnvironment = 0;

// A message that cannot be delivered is lost: the supervisor is then as blind as it would be without it.
void tell(const std::string& message) { sd_notify(kKeepEnvironment, message.c_str()); }

std::optional<protocol::Duration> watchdog_limit() {
    std::uint64_t limit_us = 0;
    if (sd_watchdog_enabled(kKeepEnvironment, &limit_us) <= 0) return std::nullopt;
    return std::chrono::microseconds(limit_us);
}

}  // namespace

Supervisor::Supervisor() : listens_(std::getenv("NOTIFY_SOCKET") != nullptr), watchdog_(watchdog_limit()) {}

Supervisor::~Supervisor() { stop_watching(); }

void Supervisor::stop_watching() {
    if (env_ != nullptr) env_->cancel_timer(timer_);
    env_ = nullptr;
}

void Supervisor::still_starting() {
    const auto now = std::chrono::steady_clock::now();
    if (!listens_ || now - said_starting_ < kLook) return;
    said_starting_ = now;
    tell("EXTEND_TIMEOUT_USEC=" +
         std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(kPatience).count()));
}

void Supervisor::ready() { tell("READY=1"); }

void Supervisor::watch(env::Env& env, std::function<std::string()> state) {
    if (!listens_) return;
    env_ = &env;
    state_ = std::move(state);
    look();
}

void Supervisor::look() {
    if (watchdog_) tell("WATCHDOG=1");
    tell_state();
    timer_ = env_->set_timer(watchdog_ ? std::min(kLook, *watchdog_ / 2) : kLook, [this] { look(); });
}

void Supervisor::tell_state() {
    std::string state = state_();
    std::ranges::replace(state, '\n', ' ');  // it would end the state and begin another message
    if (state == told_) return;
    tell("STATUS=" + state);
    told_ = std::move(state);
}

void Supervisor::stopping() { tell("STOPPING=1"); }

}  // namespace logstream::process
