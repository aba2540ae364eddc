// Who of the view is alive: one phi detector for each other member, a probe at once when a link breaks.
#pragma once

#include <functional>
#include <map>

#include "internal/failure/phi_detector.h"
#include "internal/node/peer_links.h"
#include "internal/node/settings.h"
#include "internal/view/view.h"

namespace logstream::node {

using protocol::NodeId;
using protocol::ViewNumber;

class Watch {
public:
    // Said once for a member, until the next view.
    using FailedHandler = std::function<void(NodeId)>;

    Watch(env::Env& env, const Settings& settings, PeerLinks& links, FailedHandler on_failed);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    // Watches the other members of `view` from now on. All of them promised it lately, so nobody is suspect for what
    // was not heard before: a broker that comes back after a pause has not heard the others for long. The jitter that
    // was learned of members that stay is kept. An empty view: nobody.
    void watch(const view::View& view, const view::Member& self);
    void heartbeat(NodeId member);
    // The event loop runs. Call it more often than others give this process up; a pause that is longer than that makes
    // doubtful all that is known of them.
    void awake();
    // The link to this address broke: probe it at once, so that a killed process is noticed in milliseconds.
    void link_lost(Endpoint address);

    bool failed(NodeId member) const;
    std::vector<NodeId> failed() const;
    double phi(NodeId member) const;
    // Members not failed, this node included.
    std::size_t in_reach() const;
    // May this node take writes, as far as it can know by the clock now, whatever its timers have come to see? Not when
    // a majority is silent, nor when it stood still so long that the others may have gone on without it: what lies in
    // its sockets is old, so each must first answer that it has not promised another view.
    bool majority_heard() const { return heard() * 2 > peers_.size() + 1; }
    // Of the members, this node included, those that it may count on so.
    std::size_t heard() const;
    // How long it stood still; 0 once a majority has answered.
    Duration slept() const;
    // A majority of the view, this node included, is in reach.
    bool majority_in_reach() const { return in_reach() * 2 > peers_.size() + 1; }

private:
    struct Peer {
        view::Member member;
        failure::PhiDetector detector;
        failure::Verdict told = failure::Verdict::kAlive;
        bool doubtful{};  // has said nothing since this process stood still
        bool asked{};
    };

    failure::PhiDetector::Options options() const;
    void arm();
    void look(protocol::TimePoint scheduled);
    void ask_doubtful();
    void judge(Peer& peer, failure::Verdict verdict);

    env::Env& env_;
    const Settings& settings_;
    PeerLinks& links_;
    FailedHandler on_failed_;
    view::Member self_;
    ViewNumber view_;
    Duration patience_;             // a pause that nobody can have given this process up for
    protocol::TimePoint awake_at_;  // the loop was seen to run
    std::uint64_t pauses_{};
    Duration slept_{};
    std::map<NodeId, Peer> peers_;
    env::TimerId timer_;
};

}  // namespace logstream::node
