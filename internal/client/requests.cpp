#include "internal/client/requests.h"

#include <utility>

namespace logstream::client {

namespace {
std::size_t size_of(const protocol::OutMessage& message) {
    std::size_t bytes = protocol::kMessageHeaderBytes + message.header.size();
    for (const Bytes& piece : message.body) bytes += piece.size();
    return bytes;
}
}  // namespace

Requests::~Requests() {
    for (auto& [id, pending] : pending_) env_.cancel_timer(pending.timer);
    for (auto& [endpoint, link] : links_) env_.close(link.connection);
}

RequestId Requests::send(Endpoint to, MessageType type, std::string header, std::vector<Bytes> body, Duration timeout,
                         ResponseHandler handler) {
    return start(to, type, std::move(header), std::move(body), timeout, std::move(handler), false);
}

RequestId Requests::post(Endpoint to, MessageType type, std::string header, std::vector<Bytes> body, Duration timeout,
                         ResponseHandler handler) {
    return start(to, type, std::move(header), std::move(body), timeout, std::move(handler), true);
}

RequestId Requests::start(Endpoint to, MessageType type, std::string header, std::vector<Bytes> body, Duration timeout,
                          ResponseHandler handler, bool one_way) {
    const RequestId id{++last_id_};
    const env::TimerId timer = env_.set_timer(timeout, [this, id, to] {
        finish(id, protocol::fail(ErrorCode::kTimeout, "no answer from {}", env::to_string(to)));
    });
    pending_.emplace(id, Pending{to, std::move(handler), timer, one_way, false});
    protocol::OutMessage message{type, 0, protocol::Correlation{id.value}, std::move(header), std::move(body)};
    Link& link = links_[to];
    if (link.connection.value == 0) {
        link.connection = env_.connect(to, limits_.connect_timeout, *this);
        endpoints_.emplace(link.connection, to);
    }
    if (link.up) {
        transmit(link, std::move(message));
    } else if (link.waiting_bytes + size_of(message) <= limits_.waiting_bytes) {
        link.waiting_bytes += size_of(message);
        link.waiting.push_back(std::move(message));
    } else {
        env_.set_timer(Duration{0}, [this, id, to] {
            finish(id, protocol::fail(ErrorCode::kBusy, "too many requests are queued for {}", env::to_string(to)));
        });
    }
    return id;
}

void Requests::transmit(Link& link, protocol::OutMessage message) {
    const RequestId id{message.correlation.value};
    const auto found = pending_.find(id);
    if (found == pending_.end()) return;  // cancelled while it waited
    found->second.sent = true;
    const bool one_way = found->second.one_way;
    if (one_way) message.correlation = protocol::Correlation{0};
    // A closed connection is reported by on_closed, which ends the request.
    if (env_.send(link.connection, std::move(message)) == env::SendStatus::kClosed || !one_way) return;
    env_.set_timer(Duration{0}, [this, id] { finish(id, Message{}); });
}

void Requests::cancel(RequestId request) {
    const auto found = pending_.find(request);
    if (found == pending_.end()) return;
    env_.cancel_timer(found->second.timer);
    pending_.erase(found);
}

void Requests::finish(RequestId request, Result<Message> answer) {
    const auto found = pending_.find(request);
    if (found == pending_.end()) return;
    env_.cancel_timer(found->second.timer);
    ResponseHandler handler = std::move(found->second.handler);
    had_been_sent_ = found->second.sent;
    pending_.erase(found);
    handler(std::move(answer));
}

void Requests::fail_all(Endpoint to, const Error& reason) {
    std::vector<RequestId> lost;
    for (const auto& [id, pending] : pending_)
        if (pending.to == to) lost.push_back(id);
    for (const RequestId id : lost) finish(id, std::unexpected(reason));
}

void Requests::drop(Endpoint to, const Error& reason) {
    const auto found = links_.find(to);
    if (found == links_.end()) return;
    const env::ConnectionId connection = found->second.connection;
    endpoints_.erase(connection);
    links_.erase(found);
    env_.close(connection);
    fail_all(to, reason);
}

std::size_t Requests::queued_bytes(Endpoint to) const {
    const auto found = links_.find(to);
    if (found == links_.end()) return 0;
    const Link& link = found->second;
    return link.waiting_bytes + (link.up ? env_.queued_bytes(link.connection) : 0);
}

void Requests::on_connected(env::ConnectionId connection) {
    const auto endpoint = endpoints_.find(connection);
    if (endpoint == endpoints_.end()) return;
    Link& link = links_.at(endpoint->second);
    link.up = true;
    link.waiting_bytes = 0;
    for (protocol::OutMessage& message : std::exchange(link.waiting, {})) transmit(link, std::move(message));
}

void Requests::on_message(env::ConnectionId connection, Message message) {
    const RequestId id{message.correlation.value};
    const auto endpoint = endpoints_.find(connection);
    const auto found = pending_.find(id);
    // A late answer, or one that the broker made up.
    if (!message.is_response() || endpoint == endpoints_.end() || found == pending_.end() ||
        found->second.to != endpoint->second || found->second.one_way)
        return;
    finish(id, std::move(message));
}

void Requests::on_closed(env::ConnectionId connection, const Error& reason) {
    const auto found = endpoints_.find(connection);
    if (found == endpoints_.end()) return;
    const Endpoint to = found->second;
    endpoints_.erase(found);
    links_.erase(to);
    // Whatever the socket said, to a client it is the network; another cluster's name is worth keeping apart.
    const ErrorCode code = reason.code == ErrorCode::kWrongCluster ? reason.code : ErrorCode::kNetwork;
    fail_all(to, Error{code, reason.message});
}

Requests::ListenerId Requests::on_drained(std::function<void()> handler) {
    drained_.emplace(++last_listener_, std::move(handler));
    return last_listener_;
}

void Requests::on_writable(env::ConnectionId /*connection*/) {
    for (const auto& [id, handler] : drained_) handler();
}

}  // namespace logstream::client
