// Finding each other: JOIN by broadcast (or to seeds by TCP), JOIN_RESPONSE by unicast.
#pragma once

#include <functional>
#include <map>

#include "internal/node/peer_links.h"
#include "internal/node/said.h"
#include "internal/node/settings.h"
#include "internal/view/view.h"

namespace logstream::node {

using protocol::ClusterId;
using protocol::NodeId;
using protocol::ViewNumber;

// A broker of our cluster name that was heard of late.
struct Candidate {
    view::Member node;
    ClusterId cluster;
    ViewNumber chosen;
    bool has_history{};  // it knows a chosen view, or holds user records
    bool has_records{};  // user records
    bool leader{};       // it leads a view that works
    std::uint32_t members{};
    protocol::TimePoint heard;
};

class Discovery {
public:
    struct Events {
        std::function<proto::Join()> describe;                         // what our JOIN says
        std::function<proto::JoinResponse()> answer;                   // what our JOIN_RESPONSE says
        std::function<void(const Candidate&)> heard;                   // a broker's JOIN
        std::function<void(const proto::JoinResponse&)> found_leader;  // a leader answered
        std::function<void(const view::Member&)> twin;                 // another run of this broker's identity
    };

    Discovery(env::Env& env, const Settings& settings, PeerLinks& links, Events events);
    ~Discovery();
    Discovery(const Discovery&) = delete;
    Discovery& operator=(const Discovery&) = delete;

    enum class Mode : std::uint8_t {
        kQuiet,     // a member of a working view: says nothing of itself
        kAnnounce,  // its leader: once a second, so that clusters bootstrapped apart find each other
        kSeek,      // looking for a leader: ten times a second
    };
    void set_mode(Mode mode);
    // There is somebody to ask now: what was not heard before says nothing.
    void begin_anew() { since_ = env_.now(); }
    // Those of a view send each other what is sent to one group: all have IPv4 addresses, or all have IPv6 ones. None:
    // it is of this broker's family; else why it is left out, which is also said in the log, now and then.
    std::optional<protocol::Error> why_not_of_our_family(const view::Member& other);
    // In mode kSeek: since when.
    protocol::TimePoint seeking_since() const { return since_; }

    void on_join(const proto::Join& join, Endpoint from);
    void on_join_response(const proto::JoinResponse& response);

    // Says to who is at that address that another run of its identity was there before it.
    void tell_twin(Endpoint to, const view::Member& twin);
    // Heard of late; nullptr if it was not.
    const Candidate* find(NodeId id) const;
    // Heard within the last seconds; never this node itself.
    std::vector<Candidate> candidates() const;

private:
    void tick();
    void say_join();
    void send_response(Endpoint to, const proto::JoinResponse& response, protocol::ClusterTag cluster);

    env::Env& env_;
    const Settings& settings_;
    PeerLinks& links_;
    Events events_;
    Mode mode_ = Mode::kQuiet;
    protocol::TimePoint since_;
    std::map<NodeId, Candidate> candidates_;
    env::TimerId timer_;
    Said said_;
};

}  // namespace logstream::node
