#include "internal/net/tcp_transport.h"

#include <cerrno>
#include <utility>

#include "internal/net/udp_socket.h"

namespace logstream::net {

using protocol::ErrorCode;

namespace {

constexpr int kListenBacklog = 511;

protocol::Result<Handle<TcpSocket>> new_socket(Loop& loop, int family) {
    return make_handle<TcpSocket>(nullptr,
                                  [&](TcpSocket* s) { return uv_tcp_init_ex(loop.handle(), &s->tcp, family); });
}

}  // namespace

TcpTransport::TcpTransport(Loop& loop, Timers& timers, const NetOptions& options, Counters& counters,
                           spdlog::logger& log)
    : loop_(loop),
      options_(options),
      counters_(counters),
      log_(log),
      turn_(loop, [this] { end_of_turn(); }),
      context_{loop,     timers,
               options,  protocol::cluster_tag(options.cluster),
               counters, [this](env::ConnectionId id) { wake(id); }} {}

TcpTransport::~TcpTransport() = default;

protocol::Result<env::Endpoint> TcpTransport::listen(const env::Endpoint& at) {
    const int family = family_of(at.ip);
    auto listener = make_handle<uv_tcp_t>(this, [&](uv_tcp_t* h) { return uv_tcp_init_ex(loop_.handle(), h, family); });
    if (!listener) return std::unexpected(listener.error());
    SocketAddress address(at);
    int status = uv_tcp_bind(listener->get(), address.get(), family == AF_INET6 ? UV_TCP_IPV6ONLY : 0);
    // libuv may report a failure to bind only here.
    if (status == 0)
        status =
            uv_listen(reinterpret_cast<uv_stream_t*>(listener->get()), kListenBacklog, [](uv_stream_t* h, int result) {
                if (auto* self = owner_of<TcpTransport>(h)) self->accept(result);
            });
    if (status < 0) return std::unexpected(bind_error(at, -status, "TCP", "--address"));
    int size = sizeof address;
    uv_tcp_getsockname(listener->get(), address.get(), &size);
    listening_at_ = address.endpoint();
    listener_ = std::move(*listener);
    return listening_at_;
}

void TcpTransport::stop_listening() { listener_.reset(); }

void TcpTransport::accept(int status) {
    if (status < 0) {
        // Out of file descriptors, or the peer was gone before we looked.
        if (const auto times = accept_failed_said_.count(loop_.now()))
            log_.warn("NET connection not accepted: {} ({} times since the last such line)", uv_strerror(status),
                      *times);
        return;
    }
    auto socket = make_handle<TcpSocket>(nullptr, [&](TcpSocket* s) { return uv_tcp_init(loop_.handle(), &s->tcp); });
    if (!socket || uv_accept(reinterpret_cast<uv_stream_t*>(listener_.get()), (*socket)->stream()) < 0) return;
    if (accepted_ >= options_.max_connections && !make_room()) {
        ++counters_.connections_refused;
        if (const auto times = refused_said_.count(loop_.now()))
            log_.warn("NET connection refused: {} are open, the maximum allowed ({} refused since the last such line)",
                      accepted_, *times);
        return;
    }
    SocketAddress address;
    int size = sizeof address;
    if (uv_tcp_getpeername(&(*socket)->tcp, address.get(), &size) < 0) return;  // gone again
    const env::Endpoint peer = address.endpoint();
    const env::ConnectionId id = next_id();
    auto [entry, inserted] = connections_.emplace(
        id, std::make_unique<TcpConnection>(context_, id, std::move(*socket), peer, TcpConnection::Origin::kAccept));
    TcpConnection& connection = *entry->second;
    ++accepted_;
    env::ConnectionHandler* const handler = accept_handler_ ? accept_handler_(id, peer) : nullptr;
    if (handler == nullptr) {
        ++counters_.connections_refused;
        return forget(id);
    }
    ++counters_.connections_accepted;
    connection.start_accepted(*handler);
}

// Whoever opens connections and says nothing must not keep out those who have something to say.
bool TcpTransport::make_room() {
    TcpConnection* oldest = nullptr;
    env::ConnectionId oldest_id;
    for (const auto& [id, connection] : connections_) {
        if (oldest != nullptr && oldest_id < id) continue;
        if (!connection->silent_for(options_.silent_connection_patience)) continue;
        oldest = connection.get();
        oldest_id = id;
    }
    if (oldest != nullptr) oldest->give_way();
    return oldest != nullptr;
}

env::ConnectionId TcpTransport::connect(env::Endpoint to, protocol::Duration timeout, env::ConnectionHandler& handler) {
    const env::ConnectionId id = next_id();
    auto socket = new_socket(loop_, family_of(to.ip));
    auto made = std::make_unique<TcpConnection>(context_, id, socket ? std::move(*socket) : nullptr, to,
                                                TcpConnection::Origin::kConnect);
    TcpConnection& connection = *connections_.emplace(id, std::move(made)).first->second;
    if (!socket) {
        connection.start_failed(handler, std::move(socket.error()));
        return id;
    }
    // A node speaks from the address that it is known by, whichever interface the routing table prefers; but from a
    // loopback address only loopback can be reached, and the other way round it need not; likewise from a link-local
    // one.
    const auto& own = listening_at_.ip;
    const bool own_source = !own.is_unspecified() && own.is_v4() == to.ip.is_v4() &&
                            own.is_loopback() == to.is_loopback() && (!own.is_link_local() || to.ip.is_link_local());
    connection.start_connect(handler, timeout,
                             own_source ? env::Endpoint{own, 0, listening_at_.scope} : env::Endpoint{});
    return id;
}

env::SendStatus TcpTransport::send(env::ConnectionId id, protocol::OutMessage message) {
    TcpConnection* const connection = find(id);
    return connection == nullptr ? env::SendStatus::kClosed : connection->send(std::move(message));
}

std::size_t TcpTransport::queued_bytes(env::ConnectionId id) const {
    const TcpConnection* const connection = find(id);
    return connection == nullptr ? 0 : connection->queued_bytes();
}

void TcpTransport::pause_reading(env::ConnectionId id) {
    if (TcpConnection* const connection = find(id)) connection->pause_reading();
}

void TcpTransport::resume_reading(env::ConnectionId id) {
    if (TcpConnection* const connection = find(id)) connection->resume_reading();
}

void TcpTransport::close(env::ConnectionId id) {
    if (TcpConnection* const connection = find(id)) connection->close();
}

env::Endpoint TcpTransport::peer_of(env::ConnectionId id) const {
    const TcpConnection* const connection = find(id);
    return connection == nullptr ? env::Endpoint{} : connection->peer();
}

TcpConnection* TcpTransport::find(env::ConnectionId id) const {
    const auto found = connections_.find(id);
    return found == connections_.end() ? nullptr : found->second.get();
}

env::ConnectionId TcpTransport::next_id() { return ++last_id_; }

void TcpTransport::wake(env::ConnectionId id) {
    woken_.push_back(id);
    turn_.schedule();
}

void TcpTransport::end_of_turn() {
    turn_ids_.clear();
    turn_ids_.swap(woken_);
    for (const env::ConnectionId id : turn_ids_) {
        TcpConnection* const connection = find(id);
        if (connection != nullptr && !connection->end_of_turn()) forget(id);
    }
}

void TcpTransport::forget(env::ConnectionId id) {
    const auto found = connections_.find(id);
    if (found->second->origin() == TcpConnection::Origin::kAccept) --accepted_;
    connections_.erase(found);
}

}  // namespace logstream::net
