// The clocks on the brokers' walls, compared: time retention and times of append go by them. No question of order or
// safety does.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "internal/env/env.h"
#include "internal/node/said.h"
#include "internal/storage/segment.h"
#include "internal/view/view.h"

namespace logstream::node {

using protocol::Duration;
using protocol::NodeId;
using protocol::TimePoint;

class Clocks {
public:
    // Clocks that differ by more do not agree: of the members, and of one clock before and after it was set.
    static constexpr std::int64_t kToleranceMs = 10'000;

    explicit Clocks(env::Env& env);

    // How many other members the view has that this broker serves; none: it serves no view.
    void compare_with(std::optional<std::size_t> others) { others_ = others; }
    // A member's heartbeat of just now. Those that were not heard of late count for nothing.
    void heard(const view::Member& member, std::int64_t wall_clock_ms);
    // About every 100 ms: sees the clock being set, and says in the log what there is to say.
    void tick();

    // Ms since 1970, by the clock in the middle: that of one member cannot make it wrong, if three are heard; of two it
    // is the one that is ahead, since what is kept longer does less harm. When they agree it is this broker's own.
    std::int64_t now_ms() const;
    // The moment, for what goes by time; none while the clocks cannot be trusted, or could not be compared: a broker
    // that has just started knows nothing of its own.
    std::optional<storage::WallClock> trusted() const;
    // Why they cannot be trusted, for people; none when they can.
    std::optional<std::string> distrust() const;
    // How far the member's clock is ahead of this broker's, as last heard.
    std::optional<std::int64_t> ahead_ms(NodeId member) const;

private:
    struct Peer {
        std::string name;
        std::int64_t base_ms{};  // what its clock showed when this broker's steady one showed 0
        TimePoint heard;
    };
    std::int64_t steady_ms() const;
    // What this broker's clock showed when the steady one showed 0.
    std::int64_t since_steady_ms() const { return env_.wall_clock_ms() - steady_ms(); }
    // Compared now, also when this broker's clock was set since the peer was heard.
    std::int64_t ahead_ms(const Peer& peer) const { return peer.base_ms - since_steady_ms(); }
    bool counts(const Peer& peer) const;
    const Peer* farthest() const;
    void look_for_jump();

    env::Env& env_;
    std::optional<std::size_t> others_;
    std::map<NodeId, Peer> peers_;
    // What the wall clock shows when the steady one shows 0. It follows small corrections; a jump has to be confirmed.
    std::int64_t base_ms_;
    std::optional<TimePoint> jumped_;
    std::int64_t jump_ms_{};
    Said said_{std::chrono::minutes(1)};
    std::optional<TimePoint> since_;  // when they began to disagree
    bool paused_{};                   // and this was said
};

}  // namespace logstream::node
