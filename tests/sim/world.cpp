#include "tests/sim/world.h"

#include <algorithm>

namespace logstream::sim {

namespace {
Bytes joined(const env::OutFrame& frame) {
    Bytes out = Bytes::allocate(frame.head.size() + frame.tail.size());
    std::memcpy(out.mutable_data(), frame.head.data(), frame.head.size());
    if (!frame.tail.empty()) std::memcpy(out.mutable_data() + frame.head.size(), frame.tail.data(), frame.tail.size());
    return out;
}
constexpr std::int64_t kEpochMs = 1'700'000'000'000;
}  // namespace

World::World(std::uint64_t seed) : random_(seed) {}
World::~World() = default;

Host& World::host(Endpoint address, std::shared_ptr<spdlog::logger> log) {
    auto fresh = std::make_unique<Host>(*this, address, std::move(log));
    std::unique_ptr<Host>& slot = hosts_[address];
    if (slot) {
        LS_ASSERT(!slot->alive_);
        dead_.push_back(std::move(slot));
    }
    slot = std::move(fresh);
    return *slot;
}

void World::kill(Host& host) {
    host.alive_ = false;
    host.timers_.clear();
    for (auto& [id, connection] : std::exchange(host.connections_, {})) {
        const auto peer = hosts_.find(connection.peer);
        if (peer == hosts_.end() || !peer->second->alive_ || !passes(host.address_, connection.peer)) continue;
        at(now_ + delay(), [target = peer->second.get(), id = connection.peer_id] {
            if (target->alive_) target->closed_by_peer(id, protocol::ErrorCode::kNetwork, "connection reset");
        });
    }
}

Duration World::delay() {
    return faults.min_delay +
           Duration(static_cast<std::int64_t>(
               random_() % static_cast<std::uint64_t>((faults.max_delay - faults.min_delay).count() + 1)));
}

void World::at(TimePoint when, std::move_only_function<void()> task) {
    events_.push(std::make_unique<Event>(std::max(when, now_), ++order_, std::move(task)));
}

bool World::run_until(const std::function<bool()>& done, Duration limit) {
    const TimePoint end = now_ + limit;
    while (!done()) {
        if (events_.empty() || events_.top()->when > end) {
            now_ = end;
            return done();
        }
        // The queue's top is const; the event is ours to take since it is popped at once.
        std::unique_ptr<Event> event = std::move(const_cast<std::unique_ptr<Event>&>(events_.top()));
        events_.pop();
        now_ = event->when;
        event->task();
    }
    return true;
}

void World::deliver_datagram(Endpoint from, Host& to, env::Channel channel, Bytes datagram) {
    if (!passes(from, to.address_) || chance(faults.datagram_loss)) return;
    const int copies = chance(faults.datagram_duplication) ? 2 : 1;
    for (int i = 0; i < copies; ++i)
        at(now_ + delay(), [from, target = &to, channel, datagram] {
            if (!target->alive_ || !target->frame) return;
            auto decoded = protocol::decode_frame(datagram.span());
            if (decoded) target->frame({channel, from, decoded->header, datagram.from(decoded->payload_begin)});
        });
}

// ---- Host ----------------------------------------------------------------------------------------------------------

std::int64_t Host::wall_clock_ms() {
    return kEpochMs + std::chrono::duration_cast<std::chrono::milliseconds>(world_.now().time_since_epoch()).count();
}

TimerId Host::set_timer(Duration after, std::move_only_function<void()> task) {
    const TimerId id{++last_timer_};
    timers_.insert(id);
    world_.at(world_.now() + after, [this, id, task = std::move(task)]() mutable {
        if (alive_ && timers_.erase(id) > 0) task();
    });
    return id;
}

ConnectionId Host::connect(Endpoint to, Duration timeout, env::ConnectionHandler& handler) {
    const ConnectionId id{++world_.last_connection_};
    connections_[id] = Connection{to, {}, &handler, false, {}, {}};
    const auto target = world_.hosts_.find(to);
    if (!world_.passes(address_, to) || !world_.passes(to, address_)) {
        set_timer(timeout, [this, id] { closed_by_peer(id, protocol::ErrorCode::kTimeout, "connect timed out"); });
        return id;
    }
    if (target == world_.hosts_.end() || !target->second->alive_ || !target->second->accept) {
        set_timer(world_.delay(),
                  [this, id] { closed_by_peer(id, protocol::ErrorCode::kNetwork, "connection refused"); });
        return id;
    }
    Host* peer = target->second.get();
    const ConnectionId peer_id{++world_.last_connection_};
    connections_[id].peer_id = peer_id;
    world_.at(world_.now() + world_.delay(), [this, peer, id, peer_id] {
        if (!peer->alive_) {
            if (alive_) closed_by_peer(id, protocol::ErrorCode::kNetwork, "connection refused");
            return;
        }
        env::ConnectionHandler* handler = peer->accept(peer_id, address_);
        if (handler == nullptr) return;
        peer->connections_[peer_id] = Connection{address_, id, handler, true, {}, {}};
        if (!alive_ || !connections_.contains(id)) {
            peer->closed_by_peer(peer_id, protocol::ErrorCode::kNetwork, "connection reset");
            return;
        }
        connections_[id].up = true;
        connections_[id].handler->on_connected(id);
    });
    return id;
}

env::SendStatus Host::send(ConnectionId connection, protocol::OutMessage message) {
    const auto found = connections_.find(connection);
    if (found == connections_.end()) return env::SendStatus::kClosed;
    Connection& own = found->second;
    const auto peer = world_.hosts_.find(own.peer);
    if (peer == world_.hosts_.end()) return env::SendStatus::kClosed;
    std::size_t body_bytes = 0;
    for (const Bytes& piece : message.body) body_bytes += piece.size();
    Bytes body = Bytes::allocate(body_bytes);
    std::size_t at = 0;
    for (const Bytes& piece : message.body) {
        std::memcpy(body.mutable_data() + at, piece.data(), piece.size());
        at += piece.size();
    }
    protocol::Message in{message.type, message.flags, message.correlation,
                         Bytes::copy_of(std::string_view(message.header)), body_bytes == 0 ? Bytes{} : body};
    own.last_delivery = std::max(own.last_delivery, world_.now() + world_.delay());
    own.on_the_way.push_back(std::move(in));
    world_.at(own.last_delivery, [this, connection] { deliver_next(connection); });
    return env::SendStatus::kOk;
}

// The oldest message of the connection arrives. While the way is cut, TCP tries again; a peer that does not know the
// connection resets it.
void Host::deliver_next(ConnectionId connection) {
    const auto found = connections_.find(connection);
    if (!alive_ || found == connections_.end() || found->second.on_the_way.empty()) return;
    Connection& own = found->second;
    if (!world_.passes(address_, own.peer)) {
        own.last_delivery = std::max(own.last_delivery, world_.now() + std::chrono::milliseconds(200));
        world_.at(world_.now() + std::chrono::milliseconds(200), [this, connection] { deliver_next(connection); });
        return;
    }
    protocol::Message message = std::move(own.on_the_way.front());
    own.on_the_way.pop_front();
    Host& peer = *world_.hosts_.at(own.peer);
    const auto target = peer.connections_.find(own.peer_id);
    if (peer.alive_ && target != peer.connections_.end())
        return target->second.handler->on_message(own.peer_id, std::move(message));
    closed_by_peer(connection, protocol::ErrorCode::kNetwork, "connection reset");
}

void Host::close(ConnectionId connection) {
    const auto found = connections_.find(connection);
    if (found == connections_.end()) return;
    const Connection own = found->second;
    connections_.erase(found);
    const auto peer = world_.hosts_.find(own.peer);
    if (peer == world_.hosts_.end() || !world_.passes(address_, own.peer)) return;
    world_.at(std::max(own.last_delivery, world_.now() + world_.delay()),
              [peer = peer->second.get(), id = own.peer_id] {
                  if (peer->alive_)
                      peer->closed_by_peer(id, protocol::ErrorCode::kNetwork, "the peer closed the connection");
              });
}

void Host::closed_by_peer(ConnectionId connection, protocol::ErrorCode code, std::string reason) {
    const auto found = connections_.find(connection);
    if (found == connections_.end()) return;
    env::ConnectionHandler* handler = found->second.handler;
    connections_.erase(found);
    handler->on_closed(connection, protocol::Error{code, std::move(reason)});
}

Endpoint Host::peer_of(ConnectionId connection) {
    const auto found = connections_.find(connection);
    return found == connections_.end() ? Endpoint{} : found->second.peer;
}

void Host::broadcast(env::OutFrame frame) {
    const Bytes datagram = joined(frame);
    for (auto& [address, host] : world_.hosts_)
        if (host.get() != this) world_.deliver_datagram(address_, *host, env::Channel::kBroadcast, datagram);
}

void Host::multicast(std::span<const env::OutFrame> frames) {
    for (const env::OutFrame& frame : frames) {
        const Bytes datagram = joined(frame);
        for (auto& [address, host] : world_.hosts_)
            if (host.get() != this) world_.deliver_datagram(address_, *host, env::Channel::kMulticast, datagram);
    }
}

void Host::send_datagram(Endpoint to, env::OutFrame frame) {
    const auto host = world_.hosts_.find(to);
    if (host != world_.hosts_.end())
        world_.deliver_datagram(address_, *host->second, env::Channel::kUnicast, joined(frame));
}

}  // namespace logstream::sim
