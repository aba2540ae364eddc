// Requests to brokers and their responses: one connection per broker, made when it is needed, shared by all who ask.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "internal/env/env.h"
#include "logstream.pb.h"

namespace logstream::client {

using env::Endpoint;
using protocol::Bytes;
using protocol::Duration;
using protocol::Error;
using protocol::ErrorCode;
using protocol::Message;
using protocol::MessageType;
using protocol::Result;
using protocol::TimePoint;

// Names a request while it waits for its response. 0: none.
using RequestId = protocol::Id<struct RequestIdTag, std::uint64_t>;

// Ends one request: the response, or kNetwork (refused, connection lost), kTimeout, kBusy (bound reached).
using ResponseHandler = std::move_only_function<void(Result<Message> answer)>;

// Sends requests and pairs responses with them. A handler runs exactly once and from the event loop, unless its request
// is cancelled or this object ends first. When a connection is lost, its requests fail in the order in which they were
// sent.
class Requests : private env::ConnectionHandler {
public:
    struct Limits {
        // One SYN that is lost is sent again after a second.
        Duration connect_timeout = std::chrono::milliseconds(1400);
        std::size_t waiting_bytes = 64u << 20;  // per broker, for messages that wait for the connection
    };

    Requests(env::Env& env, Limits limits) : env_(env), limits_(limits) {}
    explicit Requests(env::Env& env) : Requests(env, Limits{}) {}
    ~Requests() override;
    Requests(const Requests&) = delete;
    Requests& operator=(const Requests&) = delete;

    // `header` is the serialized Protobuf of `type`. Requests to one broker are sent in the order of the calls.
    RequestId send(Endpoint to, MessageType type, std::string header, std::vector<Bytes> body, Duration timeout,
                   ResponseHandler handler);
    // Sends a message to which no response comes; the handler gets an empty Message when a connection took it.
    RequestId post(Endpoint to, MessageType type, std::string header, std::vector<Bytes> body, Duration timeout,
                   ResponseHandler handler);
    // The handler will not run; a response that comes nevertheless is dropped.
    void cancel(RequestId request);
    // Closes the connection to a broker that does not answer, so that the next request makes a new one. Its requests
    // fail with `reason`.
    void drop(Endpoint to, const Error& reason);

    // Valid within a handler that got no response: whether a connection had taken the request, so that the broker may
    // have it.
    bool had_been_sent() const { return had_been_sent_; }

    // Bytes that wait to be sent to a broker.
    std::size_t queued_bytes(Endpoint to) const;
    // Called when a connection that was full has drained, until `unlisten`.
    using ListenerId = std::uint64_t;
    ListenerId on_drained(std::function<void()> handler);
    void unlisten(ListenerId id) { drained_.erase(id); }

private:
    struct Pending {
        Endpoint to;
        ResponseHandler handler;
        env::TimerId timer;
        bool one_way{};
        bool sent{};
    };
    struct Link {
        env::ConnectionId connection;
        bool up{};
        std::deque<protocol::OutMessage> waiting;  // until the connection is up; correlation names the request
        std::size_t waiting_bytes{};
    };

    RequestId start(Endpoint to, MessageType type, std::string header, std::vector<Bytes> body, Duration timeout,
                    ResponseHandler handler, bool one_way);
    void transmit(Link& link, protocol::OutMessage message);
    void finish(RequestId request, Result<Message> answer);
    void fail_all(Endpoint to, const Error& reason);

    void on_connected(env::ConnectionId connection) override;
    void on_message(env::ConnectionId connection, Message message) override;
    void on_closed(env::ConnectionId connection, const Error& reason) override;
    void on_writable(env::ConnectionId connection) override;

    env::Env& env_;
    Limits limits_;
    std::uint64_t last_id_{};
    std::map<RequestId, Pending> pending_;  // ascending: the order of sending
    std::unordered_map<Endpoint, Link> links_;
    std::unordered_map<env::ConnectionId, Endpoint> endpoints_;
    std::map<ListenerId, std::function<void()>> drained_;
    ListenerId last_listener_{};
    bool had_been_sent_{};
};

// The refusal inside a response as an Error; success when it holds none.
inline Result<void> check(const proto::Failure& failure) {
    if (failure.code() == 0) return {};
    return std::unexpected(Error{static_cast<ErrorCode>(failure.code()), failure.message()});
}

// Reads a response: a transport failure, a reassignment (kWrongOwner) and the broker's own refusal all become the
// Error.
template <class Response>
Result<Response> read_response(const Result<Message>& answer) {
    if (!answer) return std::unexpected(answer.error());
    if (answer->type == MessageType::kReassignBroker) {
        proto::ReassignBroker reassign;
        if (!answer->parse(reassign) || !reassign.has_owner())
            return protocol::fail(ErrorCode::kWrongOwner, "the broker does not own this stream");
        return protocol::fail(ErrorCode::kWrongOwner, "the stream is owned by {} at {} in view {}",
                              protocol::hex(reassign.owner().id()),
                              env::to_string(Endpoint{protocol::ip_of(reassign.owner()),
                                                      static_cast<std::uint16_t>(reassign.owner().port())}),
                              reassign.view());
    }
    Response response;
    if (!answer->parse(response))
        return protocol::fail(ErrorCode::kCorrupt, "the broker's response cannot be read: is it a different version?");
    if (auto ok = check(response.error()); !ok) return std::unexpected(ok.error());
    return response;
}

}  // namespace logstream::client
