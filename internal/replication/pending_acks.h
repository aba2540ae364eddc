// Produce requests whose records are appended and whose answer waits for durability.
#pragma once

#include <array>
#include <deque>
#include <vector>

#include "internal/replication/session.h"

namespace logstream::replication {

// Names a waiting request to the node; its meaning is the node's.
using Cookie = protocol::Id<struct CookieTag, std::uint64_t>;

// What an answer waits for (`acks=none` waits for nothing and never comes here).
enum class AckLevel : std::uint8_t {
    kOwner,   // durable here
    kQuorum,  // committed: durable at a majority of the view
    kAll,     // stable: durable at every member
};
inline constexpr std::size_t kAckLevels = 3;

struct PendingAck {
    AckLevel level{};
    Sequence sequence;
    Cookie cookie;
};

// One per session, on the owner. FIFO within each level.
class PendingAcks {
public:
    explicit PendingAcks(std::size_t max_pending) : max_pending_(max_pending) {}

    // The request's last message ends in frame `sequence`. A recognised retry names the frame of the original and may
    // so be lower than what came before. False: full, nothing was taken (refuse the request before its append).
    [[nodiscard]] bool add(AckLevel level, Sequence sequence, Cookie cookie);

    // Removes and returns those that are fulfilled, by sequence, then by age: per producer, the order of its requests.
    std::vector<Cookie> take_ready(Sequence own_durable, Sequence committed, Sequence stable);

    // Removes and returns everything, in the same order: on a freeze none of these may be acknowledged here any more.
    std::vector<PendingAck> take_all();

    std::size_t size() const;
    bool full() const { return size() >= max_pending_; }

private:
    struct Entry {
        Sequence sequence;
        std::uint64_t age;  // counts up
        Cookie cookie;
        friend bool operator<(const Entry& a, const Entry& b) {
            return a.sequence != b.sequence ? a.sequence < b.sequence : a.age < b.age;
        }
    };
    using Limits = std::array<Sequence, kAckLevels>;
    // The level whose front is the oldest within its limit; kAckLevels when there is none.
    std::size_t next_ready(const Limits& limits) const;

    std::size_t max_pending_;
    std::uint64_t next_age_{};
    std::array<std::deque<Entry>, kAckLevels> levels_;
};

}  // namespace logstream::replication
