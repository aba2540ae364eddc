#include "internal/node/clocks.h"

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include "internal/protocol/planted.h"

namespace logstream::node {

namespace {
constexpr Duration kHeardOfLate = std::chrono::seconds(3);
// What lasts so long is said. After a pause the heartbeats that waited make all others seem to be behind.
constexpr Duration kLasting = std::chrono::seconds(2);
constexpr std::size_t kMaxPeers = 64;
// A clock that was set and that nobody else confirms is believed after this: a machine may have been asleep, or have
// had no time when it started.
constexpr Duration kJumpPatience = std::chrono::minutes(10);

std::string duration_text(std::int64_t ms) {
    const std::int64_t s = (std::abs(ms) + 500) / 1000;
    return s >= 86'400 ? fmt::format("{:.1f} days", static_cast<double>(s) / 86'400) : fmt::format("{} s", s);
}
}  // namespace

Clocks::Clocks(env::Env& env) : env_(env), base_ms_(since_steady_ms()) {}

std::int64_t Clocks::steady_ms() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(env_.now().time_since_epoch()).count();
}

void Clocks::heard(const view::Member& member, std::int64_t wall_clock_ms) {
    if (wall_clock_ms == 0) return;  // a broker of an older version
    if (peers_.size() >= kMaxPeers && !peers_.contains(member.id)) return;
    peers_[member.id] = {member.name, wall_clock_ms - steady_ms(), env_.now()};
}

bool Clocks::counts(const Peer& peer) const { return env_.now() - peer.heard <= kHeardOfLate; }

const Clocks::Peer* Clocks::farthest() const {
    const Peer* out = nullptr;
    for (const auto& [id, peer] : peers_)
        if (counts(peer) && (out == nullptr || std::abs(ahead_ms(peer)) > std::abs(ahead_ms(*out)))) out = &peer;
    return out;
}

std::int64_t Clocks::now_ms() const {
    const std::int64_t own = env_.wall_clock_ms();
    const Peer* peer = farthest();
    if (peer == nullptr || std::abs(ahead_ms(*peer)) <= kToleranceMs) return own;
    std::vector<std::int64_t> ahead{0};
    for (const auto& [id, each] : peers_)
        if (counts(each)) ahead.push_back(ahead_ms(each));
    const auto middle = ahead.begin() + static_cast<std::ptrdiff_t>(ahead.size() / 2);
    std::ranges::nth_element(ahead, middle);
    return own + *middle;
}

std::optional<std::int64_t> Clocks::ahead_ms(NodeId member) const {
    const auto found = peers_.find(member);
    if (found == peers_.end() || !counts(found->second)) return std::nullopt;
    return ahead_ms(found->second);
}

std::optional<std::string> Clocks::distrust() const {
    if (const Peer* peer = farthest(); peer != nullptr && std::abs(ahead_ms(*peer)) > kToleranceMs)
        return fmt::format("the clock of {} is {} {} this broker's", peer->name, duration_text(ahead_ms(*peer)),
                           ahead_ms(*peer) > 0 ? "ahead of" : "behind");
    if (jumped_)
        return fmt::format("the clock of this broker was set {} by {}", jump_ms_ > 0 ? "forward" : "back",
                           duration_text(jump_ms_));
    return std::nullopt;
}

std::optional<storage::WallClock> Clocks::trusted() const {
    const bool compared = others_ && (*others_ == 0 || farthest() != nullptr);
    if (!protocol::planted(protocol::Bug::kClocksNotCompared) && (!compared || distrust())) return std::nullopt;
    return storage::WallClock{env_.wall_clock_ms(), env_.now()};
}

// The others' clocks that agree with this one confirm it.
void Clocks::look_for_jump() {
    const std::int64_t base_ms = since_steady_ms();
    const std::int64_t moved_ms = base_ms - base_ms_;
    const TimePoint now = env_.now();
    const Peer* peer = farthest();
    const bool confirmed = peer != nullptr && std::abs(ahead_ms(*peer)) <= kToleranceMs;
    const bool believed = jumped_ && (confirmed || now - *jumped_ >= kJumpPatience);
    if (std::abs(moved_ms) <= kToleranceMs || believed) {
        base_ms_ = base_ms;
        jumped_.reset();
    } else {
        if (!jumped_) jumped_ = now;
        jump_ms_ = moved_ms;
    }
}

void Clocks::tick() {
    look_for_jump();
    std::erase_if(peers_, [this](const auto& entry) { return !counts(entry.second); });
    const auto why = distrust();
    const TimePoint now = env_.now();
    if (!why) since_.reset();
    if (why && !since_) since_ = now;
    if (why && now - *since_ >= kLasting && said_.is_due("apart", now)) {
        paused_ = true;
        env_.log().warn(
            "CLOCK {}: this broker pauses time-based retention until the clocks agree. Run an NTP client on every "
            "machine",
            *why);
    }
    if (!why && std::exchange(paused_, false)) {
        said_.forget();
        env_.log().info("CLOCK the clocks agree again: time-based retention resumes");
    }
}

}  // namespace logstream::node
