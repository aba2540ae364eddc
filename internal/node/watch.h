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
    // The link to this address broke: probe it at once, so that a killed process is noticed in milliseconds.
    void link_lost(Endpoint address);

    bool failed(NodeId member) const;
    std::vector<NodeId> failed() const;
    double phi(NodeId member) const;
    // Members not failed, this node included.
    std::size_t in_reach() const;
    // A majority of the view, this node included, is in reach.
    bool majority_in_reach() const { return in_reach() * 2 > peers_.size() + 1; }

private:
    struct Peer {
        view::Member member;
        failure::PhiDetector detector;
        failure::Verdict told = failure::Verdict::kAlive;
    };

    failure::PhiDetector::Options options() const;
    void arm();
    void look(protocol::TimePoint scheduled);
    void judge(Peer& peer, failure::Verdict verdict);

    env::Env& env_;
    const Settings& settings_;
    PeerLinks& links_;
    FailedHandler on_failed_;
    view::Member self_;
    std::map<NodeId, Peer> peers_;
    env::TimerId timer_;
};

}  // namespace logstream::node
