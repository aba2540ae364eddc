// One request to whoever owns a stream, asked again until it is answered or its time is over.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "internal/client/router.h"

namespace logstream::client {

// Follows the stream's owner through fail-overs. The handler runs exactly once, from the loop: a message that was read
// and accepted, or the refusal that can't be retried, or, when the time is over, the last one. Destroying the call
// cancels it.
class OwnerCall {
public:
    using Handler = std::move_only_function<void(Result<Message> answer, int tries)>;
    struct Request {
        StreamId stream;
        MessageType type{};
        std::string header;
        Duration timeout = std::chrono::seconds(10);      // of all tries together
        Duration each_timeout = std::chrono::seconds(2);  // of one try
    };
    // Reads the answer; an Error says whether and how to go on.
    using Check = std::function<Result<void>(const Result<Message>& answer)>;

    OwnerCall(Router& router, Request request, Check check, Handler handler);
    ~OwnerCall();
    OwnerCall(const OwnerCall&) = delete;
    OwnerCall& operator=(const OwnerCall&) = delete;

private:
    void attempt();
    void on_view();
    void on_answer(Result<Message> answer);
    void wait();
    void finish(Result<Message> answer);

    Router& router_;
    Request request_;
    Check check_;
    Handler handler_;
    Router::ListenerId listener_;
    TimePoint deadline_{};
    Backoff backoff_;
    RequestId asked_;  // under way
    Endpoint asked_of_;
    env::TimerId timer_;
    Error last_error_;
    int tries_{};
    bool done_{};
};

// As above, with the response already read: `handler(Result<Response>, tries)`.
template <class Response, class Proto, class Done>
std::unique_ptr<OwnerCall> call_owner(Router& router, StreamId stream, MessageType type, const Proto& header,
                                      Duration timeout, Done done) {
    OwnerCall::Request request{
        .stream = stream, .type = type, .header = header.SerializeAsString(), .timeout = timeout};
    return std::make_unique<OwnerCall>(
        router, std::move(request),
        [](const Result<Message>& answer) -> Result<void> {
            auto response = read_response<Response>(answer);
            if (!response) return std::unexpected(response.error());
            return {};
        },
        [done = std::move(done)](const Result<Message>& answer, int tries) mutable {
            done(read_response<Response>(answer), tries);
        });
}

}  // namespace logstream::client
