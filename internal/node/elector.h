// Who coordinates: probes all known brokers, and runs the ring election among those that answer.
#pragma once

#include <functional>
#include <map>
#include <set>

#include "internal/election/lcr.h"
#include "internal/node/peer_links.h"
#include "internal/node/settings.h"
#include "internal/view/quorum.h"
#include "internal/view/view.h"

namespace logstream::node {

using protocol::NodeId;
using protocol::ViewNumber;

// What a round of probes found.
struct Reachable {
    std::map<NodeId, view::Member> members;  // that answered, this node included
    std::optional<view::Member> leader;      // of a view that somebody serves and nobody found dead
    ViewNumber changing;                     // one of the others is coordinating this view change; 0: nobody is
    protocol::ClusterId lineage;             // theirs; 0 if nobody has one yet
};

class Elector {
public:
    struct Events {
        // The round of probes is over. False: no election now (a leader serves, or no quorum can be made of these).
        std::function<bool(const Reachable&)> may_elect;
        // This node won and coordinates; these are the members of the ring, and their lineage as in Reachable.
        std::function<void(const std::vector<view::Member>&, protocol::ClusterId)> won;
        // Another one won, or the election did not end.
        std::function<void()> over;
        // What this node answers a probe.
        std::function<proto::ProbeResponse()> describe;
        // Two runs of one id answered; with this broker's own id, the other one and itself.
        std::function<void(const view::Member&, const view::Member&)> twins;
    };

    Elector(env::Env& env, PeerLinks& links, Events events);
    ~Elector();
    Elector(const Elector&) = delete;
    Elector& operator=(const Elector&) = delete;

    enum class Force : std::uint8_t {
        kNo,
        kYes,  // an operator asked: the winner proposes a view though a leader works
    };
    // Probes these and elects. Does nothing while a round or an election runs.
    void start(const view::Member& self, std::vector<Endpoint> known, std::string_view reason,
               Force force = Force::kNo);
    bool forced() const { return forced_; }
    bool running() const { return probing_ || expiry_.value != 0; }
    void stop();

    // An ELECTION message of a peer.
    void on_message(const view::Member& self, const proto::Election& message);

private:
    void found(const proto::ProbeResponse& response);
    void probed(std::uint64_t round, protocol::Result<Message> reply, Endpoint from);
    void elect();
    void deliver(const election::Output& output, const std::vector<NodeId>& ring);
    void send(const election::Send& send);
    void expect_end();

    env::Env& env_;
    PeerLinks& links_;
    Events events_;
    election::Election election_{NodeId{1}};
    view::Member self_;
    std::map<NodeId, view::Member> addresses_;  // of everybody seen on a ring or by a probe
    bool probing_{};
    bool forced_{};
    std::uint64_t round_{};
    std::size_t outstanding_{};
    Reachable found_;
    std::vector<view::Member> claimed_leaders_;
    std::vector<std::pair<view::Member, view::Member>> twins_;
    std::set<NodeId> outside_;  // they answered, and have no say
    std::vector<Endpoint> dead_;
    protocol::ClusterId lineage_;  // of the election that runs
    std::string reason_;
    protocol::TimePoint began_;
    env::TimerId expiry_;
};

}  // namespace logstream::node
