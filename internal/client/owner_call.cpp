#include "internal/client/owner_call.h"

#include <algorithm>
#include <utility>

#include "internal/client/retry.h"

namespace logstream::client {

OwnerCall::OwnerCall(Router& router, Request request, Check check, Handler handler)
    : router_(router), request_(std::move(request)), check_(std::move(check)), handler_(std::move(handler)) {
    deadline_ = router_.env().now() + request_.timeout;
    listener_ = router_.listen([this] { on_view(); });
    timer_ = router_.env().set_timer(Duration{0}, [this] { attempt(); });
}

OwnerCall::~OwnerCall() {
    router_.unlisten(listener_);
    router_.env().cancel_timer(timer_);
    router_.requests().cancel(asked_);
}

void OwnerCall::attempt() {
    if (done_ || asked_.value != 0) return;
    router_.env().cancel_timer(timer_);
    if (router_.failure()) return finish(std::unexpected(*router_.failure()));
    const Broker* owner = router_.view().owner(request_.stream);
    if (owner == nullptr) {
        last_error_ = {ErrorCode::kNetwork, "no known broker serves this request"};
        return wait();
    }
    asked_of_ = owner->endpoint;
    ++tries_;
    asked_ = router_.requests().send(asked_of_, request_.type, request_.header, {}, request_.each_timeout,
                                     [this](Result<Message> answer) {
                                         asked_ = {};
                                         on_answer(std::move(answer));
                                     });
}

void OwnerCall::on_view() {
    if (done_) return;
    if (router_.failure()) return finish(std::unexpected(*router_.failure()));
    const Broker* owner = router_.view().owner(request_.stream);
    if (owner == nullptr || (tries_ > 0 && owner->endpoint == asked_of_)) return;
    router_.requests().cancel(std::exchange(asked_, RequestId{}));
    attempt();
}

void OwnerCall::on_answer(Result<Message> answer) {
    const auto accepted = check_(answer);
    // Who has to act on a changed group assignment is the caller.
    if (accepted || accepted.error().code == ErrorCode::kRebalance ||
        disposition(accepted.error().code) == Disposition::kDefinite)
        return finish(std::move(answer));
    last_error_ = accepted.error();
    wait();
}

void OwnerCall::wait() {
    const TimePoint now = router_.env().now();
    if (now >= deadline_) {
        if (!router_.no_quorum_reason().empty()) last_error_ = {ErrorCode::kNoQuorum, router_.no_quorum_reason()};
        return finish(std::unexpected(last_error_));
    }
    router_.refresh();
    const Duration step = std::min<Duration>(backoff_.next(now, router_.env().random()), deadline_ - now);
    timer_ = router_.env().set_timer(step, [this] { attempt(); });
}

void OwnerCall::finish(Result<Message> answer) {
    done_ = true;
    router_.unlisten(listener_);
    router_.env().cancel_timer(timer_);
    Handler handler = std::move(handler_);
    handler(std::move(answer), tries_);  // may destroy this
}

}  // namespace logstream::client
