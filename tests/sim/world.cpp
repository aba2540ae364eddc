#include "tests/sim/world.h"

#include <algorithm>

#include "tests/sim/host.h"

namespace logstream::sim {

namespace {
constexpr Duration kMaxReorder = std::chrono::milliseconds(20);
}

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
    host.accept = nullptr;
    host.frame = nullptr;
    for (auto& [id, connection] : std::exchange(host.connections_, {})) {
        const auto peer = hosts_.find(connection.peer);
        if (peer == hosts_.end() || !peer->second->alive_ || !passes(host.address_, connection.peer)) continue;
        at(
            now_ + delay(host.address_, connection.peer),
            [target = peer->second.get(), id = connection.peer_id] {
                target->closed_by_peer(id, protocol::ErrorCode::kNetwork, "connection reset");
            },
            peer->second.get());
    }
}

void World::pause(Host& host, Duration time) { host.paused_until_ = std::max(host.paused_until_, now_ + time); }

void World::reset_connections(Endpoint a, Endpoint b) {
    for (const auto& [from, to] : {Pair{a, b}, Pair{b, a}}) {
        const auto host = hosts_.find(from);
        if (host == hosts_.end() || !host->second->alive_) continue;
        for (const auto& [id, connection] : host->second->connections_)
            if (connection.peer == to)
                at(
                    now_,
                    [target = host->second.get(), id = id] {
                        target->closed_by_peer(id, protocol::ErrorCode::kNetwork, "connection reset");
                    },
                    host->second.get());
    }
}

void World::slow(Endpoint a, Endpoint b, Duration by) {
    if (by.count() > 0)
        slow_[{a, b}] = by;
    else
        slow_.erase({a, b});
}

void World::stall(Endpoint a, Endpoint b, Duration time) {
    const auto host = hosts_.find(a);
    if (host == hosts_.end()) return;
    for (auto& [id, connection] : host->second->connections_)
        if (connection.peer == b && chance(0.5)) connection.stalled_until = now_ + time;
}

void World::heal() {
    cut_.clear();
    deaf_.clear();
    hung_.clear();
    for (auto& [address, host] : hosts_)
        for (auto& [id, connection] : host->connections_) connection.stalled_until = {};
    slow_.clear();
}

Duration World::delay(Endpoint from, Endpoint to) {
    const Duration drawn = random_.between(faults.min_delay, faults.max_delay);
    const auto extra = slow_.find({from, to});
    return extra == slow_.end() ? drawn : drawn + extra->second;
}

void World::at(TimePoint when, std::move_only_function<void()> task, Host* owner) {
    events_.push(std::make_unique<Event>(std::max(when, now_), ++order_, owner, std::move(task)));
}

bool World::step(TimePoint end) {
    if (events_.empty() || events_.top()->when > end) {
        now_ = end;
        return false;
    }
    // The queue's top is const; the event is ours to take since it is popped at once.
    std::unique_ptr<Event> event = std::move(const_cast<std::unique_ptr<Event>&>(events_.top()));
    events_.pop();
    now_ = event->when;
    Host* owner = event->owner;
    if (owner != nullptr && !owner->alive_) return true;
    if (owner != nullptr && owner->paused_until_ > now_) {
        event->when = owner->paused_until_;
        events_.push(std::move(event));
        return true;
    }
    ++counts.events;
    const auto fold = [this](std::uint64_t value) { fingerprint_ = (fingerprint_ ^ value) * 1099511628211ULL; };
    fold(static_cast<std::uint64_t>(now_.time_since_epoch().count()));
    fold(event->order);
    if (owner != nullptr) fold(owner->address_.ip.v4());
    event->task();
    if (owner != nullptr && on_event && owner->alive_) on_event(*owner);
    return true;
}

bool World::run_until(const std::function<bool()>& done, Duration limit) {
    const TimePoint end = now_ + limit;
    while (!done())
        if (!step(end)) return done();
    return true;
}

void World::run_for(Duration time) {
    const TimePoint end = now_ + time;
    while (step(end)) {
    }
}

void World::deliver_datagram(Endpoint from, Host& to, env::Channel channel, const Bytes& datagram) {
    ++counts.datagrams;
    if (!passes(from, to.address_)) {
        ++counts.cut;
        return;
    }
    if (channel == env::Channel::kMulticast && deaf_.contains({from, to.address_})) {
        ++counts.deaf;
        return;
    }
    if (chance(faults.datagram_loss)) {
        ++counts.lost;
        return;
    }
    const bool twice = chance(faults.datagram_duplication);
    counts.duplicated += twice ? 1 : 0;
    for (int copy = 0; copy < (twice ? 2 : 1); ++copy) {
        Duration after = delay(from, to.address_);
        if (chance(faults.datagram_reorder)) {
            ++counts.reordered;
            after += random_.between(Duration{0}, kMaxReorder);
        }
        Bytes arriving = datagram;
        if (chance(faults.datagram_corrupt)) {
            ++counts.corrupted;
            arriving = Bytes::copy_of(datagram.span());
            const std::uint64_t bit = random_.below(arriving.size() * 8);
            arriving.mutable_data()[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
        }
        arrive(from, to, channel, std::move(arriving), after);
    }
}

void World::arrive(Endpoint from, Host& to, env::Channel channel, Bytes datagram, Duration after) {
    at(
        now_ + after,
        [from, target = &to, channel, datagram = std::move(datagram)] {
            if (!target->frame) return;
            auto decoded = protocol::decode_frame(datagram.span());
            if (decoded) target->frame({channel, from, decoded->header, datagram.from(decoded->payload_begin)});
        },
        &to);
}

}  // namespace logstream::sim
