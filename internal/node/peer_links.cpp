#include "internal/node/peer_links.h"

#include <algorithm>

namespace logstream::node {

namespace {
constexpr Duration kConnectTimeout = std::chrono::milliseconds(500);
constexpr std::size_t kMaxWaiting = 1024;           // messages while a connection is being made
constexpr std::size_t kMaxQueuedBytes = 64u << 20;  // a peer that takes nothing more is as good as gone
}  // namespace

PeerLinks::~PeerLinks() {
    for (auto& [to, link] : links_) {
        if (link.connection.value != 0) env_.close(link.connection);
        for (auto& [correlation, request] : link.requests) env_.cancel_timer(request.timer);
    }
}

PeerLinks::Link& PeerLinks::link_to(Endpoint to) {
    Link& link = links_[to];
    if (link.connection.value == 0) {
        link.connection = env_.connect(to, kConnectTimeout, *this);
        link.up = false;
        link.token = env_.random() | 1;
        by_connection_[link.connection] = to;
    }
    return link;
}

void PeerLinks::introduce_as(const proto::Member& self) {
    self_ = self;
    for (const auto& [to, link] : links_)
        if (link.up) introduce(link);
}

void PeerLinks::introduce(const Link& link) {
    if (self_.id() == 0) return;
    proto::Introduction out;
    *out.mutable_from() = self_;
    out.set_token(link.token);
    env_.send(link.connection, protocol::request(MessageType::kIntroduction, Correlation{}, out));
}

bool PeerLinks::has_introduced(std::uint64_t token) const {
    return std::ranges::any_of(links_, [&](const auto& entry) { return entry.second.token == token; });
}

void PeerLinks::send(Endpoint to, OutMessage message) {
    Link& link = link_to(to);
    if (!link.up) {
        if (link.waiting.size() < kMaxWaiting) link.waiting.push_back(std::move(message));
        return;
    }
    if (env_.queued_bytes(link.connection) > kMaxQueuedBytes) return;
    env_.send(link.connection, std::move(message));
}

void PeerLinks::submit(Endpoint to, OutMessage message, Duration timeout, ReplyHandler handler) {
    const Correlation correlation = message.correlation;
    Link& link = link_to(to);
    const env::TimerId timer =
        env_.set_timer(timeout, [this, to, correlation, asked = env_.now()] { timed_out(to, correlation, asked); });
    link.requests.emplace(correlation, Request{std::move(handler), timer});
    send(to, std::move(message));
}

// A link on which nothing came since the request was sent may be stuck: after a cut, TCP waits ever longer before it
// tries again. A new connection finds out at once.
void PeerLinks::timed_out(Endpoint to, Correlation correlation, protocol::TimePoint asked) {
    const protocol::Error error{protocol::ErrorCode::kTimeout,
                                fmt::format("{} did not answer in time", env::to_string(to))};
    const auto link = links_.find(to);
    if (link == links_.end()) return;
    if (link->second.up && link->second.heard >= asked) return finish(to, correlation, std::unexpected(error));
    env_.close(link->second.connection);
    drop(to, error);
}

void PeerLinks::finish(Endpoint to, Correlation correlation, protocol::Result<Message> result) {
    const auto link = links_.find(to);
    if (link == links_.end()) return;
    const auto found = link->second.requests.find(correlation);
    if (found == link->second.requests.end()) return;
    Request request = std::move(found->second);
    link->second.requests.erase(found);
    env_.cancel_timer(request.timer);
    request.handler(std::move(result));
}

void PeerLinks::drop(Endpoint to, const protocol::Error& reason) {
    const auto found = links_.find(to);
    if (found == links_.end()) return;
    Link link = std::move(found->second);
    links_.erase(found);
    by_connection_.erase(link.connection);
    for (auto& [correlation, request] : link.requests) {
        env_.cancel_timer(request.timer);
        request.handler(std::unexpected(reason));
    }
}

void PeerLinks::keep_only(const std::vector<Endpoint>& addresses) {
    std::vector<Endpoint> unwanted;
    for (const auto& [to, link] : links_)
        if (std::ranges::find(addresses, to) == addresses.end() && link.requests.empty()) unwanted.push_back(to);
    for (Endpoint to : unwanted) {
        env_.close(links_[to].connection);
        drop(to, protocol::Error{protocol::ErrorCode::kNetwork, "link no longer needed"});
    }
}

void PeerLinks::on_connected(env::ConnectionId connection) {
    const auto at = by_connection_.find(connection);
    if (at == by_connection_.end()) return;
    Link& link = links_[at->second];
    link.up = true;
    introduce(link);
    for (OutMessage& message : std::exchange(link.waiting, {})) env_.send(connection, std::move(message));
}

void PeerLinks::on_message(env::ConnectionId connection, Message message) {
    const auto at = by_connection_.find(connection);
    if (at == by_connection_.end() || !message.is_response()) return;
    links_[at->second].heard = env_.now();
    const Correlation correlation = message.correlation;
    finish(at->second, correlation, std::move(message));
}

void PeerLinks::on_closed(env::ConnectionId connection, const protocol::Error& reason) {
    const auto at = by_connection_.find(connection);
    if (at == by_connection_.end()) return;
    const Endpoint to = at->second;
    const bool was_up = links_[to].up;
    drop(to, reason);
    if (was_up) on_lost_(to);
}

}  // namespace logstream::node
