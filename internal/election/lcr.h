// Room `election`: who shall coordinate the next view? The Le Lann–Chang–Roberts ring election (Le Lann 1977; Chang and
// Roberts, CACM 22(5), 1979) as a machine without I/O: a message or an event goes in, messages and an outcome come out.
// It knows neither views nor sockets nor clocks, and it gives liveness only: safety is the view change's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "internal/protocol/ids.h"

namespace logstream::election {

using protocol::ElectionId;
using protocol::NodeId;

// A longer ring is not accepted from the network. A view group has 3–7 members.
inline constexpr std::size_t kMaxRing = 64;
// Elections remembered, so that duplicated and late messages fall on known ground; beyond it the oldest is forgotten.
inline constexpr std::size_t kMaxElections = 16;

struct Message {
    enum class Kind : std::uint8_t {
        kElection,  // "candidate stands": goes round until it meets a greater one or is back at the candidate
        kVictory,   // "candidate has won": goes round once
    };
    Kind kind{};
    ElectionId id;
    NodeId initiator;  // who began this election and made the ring
    NodeId candidate;
    std::vector<NodeId> ring;  // strictly ascending; each sends to the next one, the last to the first

    friend bool operator==(const Message&, const Message&) = default;
};

struct Send {
    NodeId to;
    Message message;

    friend bool operator==(const Send&, const Send&) = default;
};

enum class Outcome : std::uint8_t {
    kNone,     // nothing to act on: the message was ignored, or its election is decided or given up already
    kRunning,  // the election this call was about is still open: (keep) the expiry timer running
    kWon,      // decided by this very call: we coordinate. Said once for an election id
    kLost,     // decided by this very call: `winner`, another one, coordinates. Said once for an election id
};

struct Output {
    std::vector<Send> sends;  // over TCP, in this order; a failed one is reported by successor_failed
    Outcome outcome = Outcome::kNone;
    NodeId winner;  // with kWon and kLost; otherwise 0
};

// One node's part in all elections around it. Several may run at once (several initiators): each has an id of its own
// and one winner, the greatest id of its ring; where the rings agree, so do the winners. On the first kWon or kLost the
// caller may stop its expiry timer: what else is open needs no care.
//
// An election that loses a message never ends by itself. The caller keeps a timer: when it expires, `abandon` and, if a
// leader is still wanted, `start` with a new id.
class Election {
public:
    // `self` is not 0.
    explicit Election(NodeId self);

    // Begins an election among `reachable` and self (in any order, with or without self; 0 names nobody and is left
    // out). `id` is random and new. An open election that we ourselves began is given up for this one. Alone, we win at
    // once. Of more than kMaxRing the greatest (and self) make the ring. kNone when the id is in use.
    Output start(ElectionId id, std::vector<NodeId> reachable);

    // A message arrived. Whatever is in it is safe: a ring that is unsorted, too long or lacks us, its initiator or its
    // candidate, or that is not the ring this election began with, is ignored.
    Output receive(const Message& message);

    // A message to `dead`, our next on the ring, could not be delivered. Each open election in which `dead` is next is
    // given up, and one new election, `fresh_id`, begins with their members less `dead`. kNone when there is no such
    // election: a VICTORY that could not be delivered is not repeated (the winner's view change reaches the others).
    Output successor_failed(NodeId dead, ElectionId fresh_id);

    // The time for it is up: every open election is given up, and later messages of these change nothing.
    Output abandon();

    // Some election is open here.
    bool running() const;

    NodeId self() const { return self_; }

private:
    enum class Phase : std::uint8_t { kOpen, kDecided, kAbandoned };

    struct State {
        ElectionId id;
        NodeId initiator;
        std::vector<NodeId> ring;
        // The greatest candidate we sent; 0 before. It only rises, so we send at most one ELECTION per member.
        NodeId sent;
        Phase phase = Phase::kOpen;
    };

    State* find(ElectionId id);
    State& remember(ElectionId id, NodeId initiator, std::vector<NodeId> ring);
    bool acceptable(const Message& message) const;
    NodeId next_on(const std::vector<NodeId>& ring) const;
    Output on_election(const Message& message);
    Output on_victory(const Message& message);
    Send to_next(const State& state, Message::Kind kind, NodeId candidate) const;

    NodeId self_;
    std::deque<State> elections_;  // oldest first; at most kMaxElections
};

}  // namespace logstream::election
