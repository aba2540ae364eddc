#include "tests/sim/host.h"

#include <algorithm>

namespace logstream::sim {

namespace {

constexpr Duration kLongest = std::chrono::hours(1000);
constexpr Duration kTimerSlack = std::chrono::microseconds(1);  // what rounding of a drifting clock costs
constexpr std::int64_t kEpochMs = 1'700'000'000'000;
constexpr std::size_t kSendQueueMark = 4u << 20;  // as TCP: over it, `send` says kFull
constexpr Duration kRetransmission = std::chrono::milliseconds(200);

Bytes joined(const env::OutFrame& frame) {
    Bytes out = Bytes::allocate(frame.head.size() + frame.tail.size());
    std::memcpy(out.mutable_data(), frame.head.data(), frame.head.size());
    if (!frame.tail.empty()) std::memcpy(out.mutable_data() + frame.head.size(), frame.tail.data(), frame.tail.size());
    return out;
}

Bytes joined(const std::vector<Bytes>& pieces) {
    std::size_t bytes = 0;
    for (const Bytes& piece : pieces) bytes += piece.size();
    if (bytes == 0) return {};
    Bytes out = Bytes::allocate(bytes);
    std::size_t at = 0;
    for (const Bytes& piece : pieces) {
        std::memcpy(out.mutable_data() + at, piece.data(), piece.size());
        at += piece.size();
    }
    return out;
}

}  // namespace

TimePoint Host::now() {
    // From one hour on, so that "never" (0) lies in the past of every process.
    const Duration own(
        static_cast<std::int64_t>(static_cast<double>(world_.now().time_since_epoch().count()) * clock.rate));
    return TimePoint{} + std::chrono::hours(1) + own - clock.behind;
}

void Host::set_clock_rate(double rate) {
    const TimePoint before = now();
    clock.rate = rate;
    clock.behind += now() - before;
}

std::int64_t Host::wall_clock_ms() {
    return kEpochMs + clock.wall_off_ms +
           std::chrono::duration_cast<std::chrono::milliseconds>(world_.now().time_since_epoch()).count();
}

TimerId Host::set_timer(Duration after, std::move_only_function<void()> task) {
    const TimerId id{++last_timer_};
    timers_.insert(id);
    arm(id, now() + std::clamp<Duration>(after, Duration{0}, kLongest), std::move(task));
    return id;
}

void Host::arm(TimerId id, TimePoint due, std::move_only_function<void()> task) {
    Duration after = std::max<Duration>(due - now(), Duration{0});
    if (clock.rate != 1 && after.count() > 0)
        after = Duration(static_cast<std::int64_t>(static_cast<double>(after.count()) / clock.rate) + 1);
    later(after, [this, id, due, task = std::move(task)]() mutable {
        if (!timers_.contains(id)) return;
        if (due > now() + kTimerSlack) return arm(id, due, std::move(task));
        timers_.erase(id);
        task();
    });
}

ConnectionId Host::connect(Endpoint to, Duration timeout, env::ConnectionHandler& handler) {
    const ConnectionId id{++world_.last_connection_};
    connections_[id] = Connection{.peer = to, .peer_id = {}, .handler = &handler};
    const auto target = world_.hosts_.find(to);
    if (!world_.stream_passes(address_, to) || !world_.stream_passes(to, address_)) {
        set_timer(timeout, [this, id] { closed_by_peer(id, protocol::ErrorCode::kTimeout, "connect timed out"); });
        return id;
    }
    if (target == world_.hosts_.end() || !target->second->alive_ || !target->second->accept) {
        set_timer(world_.delay(address_, to),
                  [this, id] { closed_by_peer(id, protocol::ErrorCode::kNetwork, "connection refused"); });
        return id;
    }
    Host* peer = target->second.get();
    const ConnectionId peer_id{++world_.last_connection_};
    connections_[id].peer_id = peer_id;
    // A process that dies meanwhile leaves the connect to its timeout.
    set_timer(timeout, [this, id] {
        const auto found = connections_.find(id);
        if (found != connections_.end() && !found->second.up)
            closed_by_peer(id, protocol::ErrorCode::kTimeout, "connect timed out");
    });
    world_.at(
        world_.now() + world_.delay(address_, to),
        [this, peer, id, peer_id] {
            env::ConnectionHandler* accepted = peer->accept ? peer->accept(peer_id, address_) : nullptr;
            if (accepted == nullptr) return;
            peer->connections_[peer_id] = Connection{.peer = address_, .peer_id = id, .handler = accepted, .up = true};
            world_.at(
                world_.now() + world_.delay(peer->address_, address_),
                [this, peer, id, peer_id] { established(id, *peer, peer_id); }, this);
        },
        peer);
    return id;
}

void Host::established(ConnectionId id, Host& peer, ConnectionId peer_id) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) {
        if (peer.alive_)
            world_.at(
                world_.now(),
                [&peer, peer_id] { peer.closed_by_peer(peer_id, protocol::ErrorCode::kNetwork, "connection reset"); },
                &peer);
        return;
    }
    if (!peer.alive_ || !peer.connections_.contains(peer_id))
        return closed_by_peer(id, protocol::ErrorCode::kNetwork, "connection refused");
    found->second.up = true;
    greeting_ = true;
    found->second.handler->on_connected(id);
    greeting_ = false;
}

env::SendStatus Host::send(ConnectionId connection, protocol::OutMessage message) {
    const auto found = connections_.find(connection);
    if (found == connections_.end()) return env::SendStatus::kClosed;
    Connection& own = found->second;
    if (!world_.hosts_.contains(own.peer)) return env::SendStatus::kClosed;
    if (world_.on_send) world_.on_send(*this, own.peer, message);
    protocol::Message in{message.type, message.flags, message.correlation,
                         Bytes::copy_of(std::string_view(message.header)), joined(message.body)};
    own.queued_bytes += in.header.size() + in.body.size();
    own.last_delivery = std::max(own.last_delivery, world_.now() + world_.delay(address_, own.peer));
    own.on_the_way.push_back(std::move(in));
    world_.at(own.last_delivery, [this, connection] { deliver_next(connection); });
    if (own.queued_bytes <= kSendQueueMark) return env::SendStatus::kOk;
    own.full = true;
    return env::SendStatus::kFull;
}

// The oldest message of the connection arrives. While the way is cut, TCP tries again; a peer that does not know the
// connection resets it. What a process sent before it was paused is under way.
void Host::deliver_next(ConnectionId connection) {
    const auto found = connections_.find(connection);
    if (!alive_ || found == connections_.end() || found->second.on_the_way.empty()) return;
    Connection& own = found->second;
    if (!world_.stream_passes(address_, own.peer) || world_.now() < own.stalled_until) {
        own.last_delivery = std::max(own.last_delivery, world_.now() + kRetransmission);
        world_.at(own.last_delivery, [this, connection] { deliver_next(connection); });
        return;
    }
    protocol::Message message = std::move(own.on_the_way.front());
    own.on_the_way.pop_front();
    own.queued_bytes -= message.header.size() + message.body.size();
    Host& peer = *world_.hosts_.at(own.peer);
    if (!peer.alive_ || !peer.connections_.contains(own.peer_id)) {
        world_.at(
            world_.now(),
            [this, connection] { closed_by_peer(connection, protocol::ErrorCode::kNetwork, "connection reset"); },
            this);
        return;
    }
    world_.at(
        world_.now(),
        [&peer, id = own.peer_id, message = std::move(message)]() mutable {
            const auto target = peer.connections_.find(id);
            if (target != peer.connections_.end()) target->second.handler->on_message(id, std::move(message));
        },
        &peer);
    if (own.full && own.queued_bytes < kSendQueueMark / 2) {
        own.full = false;
        world_.at(
            world_.now(),
            [this, connection] {
                const auto again = connections_.find(connection);
                if (again != connections_.end()) again->second.handler->on_writable(connection);
            },
            this);
    }
}

std::size_t Host::queued_bytes(ConnectionId connection) {
    const auto found = connections_.find(connection);
    return found == connections_.end() ? 0 : found->second.queued_bytes;
}

std::size_t Host::greatest_queue_bytes() const {
    std::size_t greatest = 0;
    for (const auto& [id, connection] : connections_) greatest = std::max(greatest, connection.queued_bytes);
    return greatest;
}

// What is queued goes out first: the other side closes behind the last message.
void Host::close(ConnectionId connection) {
    const auto found = connections_.find(connection);
    if (found == connections_.end()) return;
    const Connection own = std::move(found->second);
    connections_.erase(found);
    const auto peer = world_.hosts_.find(own.peer);
    if (peer == world_.hosts_.end() || !peer->second->alive_ || !world_.stream_passes(address_, own.peer)) return;
    Host* target = peer->second.get();
    const TimePoint arrival = std::max(own.last_delivery, world_.now() + world_.delay(address_, own.peer));
    for (const protocol::Message& message : own.on_the_way)
        world_.at(
            arrival,
            [target, id = own.peer_id, message] {
                const auto known = target->connections_.find(id);
                if (known != target->connections_.end()) known->second.handler->on_message(id, message);
            },
            target);
    world_.at(
        arrival,
        [target, id = own.peer_id] {
            target->closed_by_peer(id, protocol::ErrorCode::kNetwork, "the peer closed the connection");
        },
        target);
}

void Host::closed_by_peer(ConnectionId connection, protocol::ErrorCode code, const std::string& reason) {
    const auto found = connections_.find(connection);
    if (found == connections_.end()) return;
    env::ConnectionHandler* handler = found->second.handler;
    connections_.erase(found);
    handler->on_closed(connection, protocol::Error{code, reason});
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
            if (host.get() != this && host->accept)  // clients do not listen to the group
                world_.deliver_datagram(address_, *host, env::Channel::kMulticast, datagram);
    }
}

void Host::send_datagram(Endpoint to, env::OutFrame frame) {
    const auto host = world_.hosts_.find(to);
    if (host != world_.hosts_.end())
        world_.deliver_datagram(address_, *host->second, env::Channel::kUnicast, joined(frame));
}

}  // namespace logstream::sim
