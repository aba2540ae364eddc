// The broker: wires the pure parts into one state machine.
//
//   seeking ──JOIN_RESPONSE──▶ learning ──VIEW_INSTALL──▶ member ⇄ frozen (a view change)
//      │                                                     ▲
//      └──────────── election, view change ──────────────────┘
//
// It does no I/O but through env::Env and storage::Store, so that the simulator runs this very code.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>

#include "internal/node/coordinator.h"
#include "internal/node/core.h"
#include "internal/node/discovery.h"
#include "internal/node/elector.h"
#include "internal/node/groups.h"
#include "internal/node/identity_check.h"
#include "internal/node/introductions.h"
#include "internal/node/learner.h"
#include "internal/node/orphans.h"
#include "internal/node/participant.h"
#include "internal/node/repair.h"
#include "internal/node/replicator.h"
#include "internal/node/retention.h"
#include "internal/node/said.h"
#include "internal/node/service.h"
#include "internal/node/tenure.h"
#include "internal/node/topics.h"
#include "internal/node/watch.h"
#include "internal/protocol/lifetime.h"
#include "internal/ring/hash_ring.h"

namespace logstream::node {

inline constexpr Duration kOutsiderMemory = std::chrono::seconds(2);  // of a learner that was not heard since
inline constexpr Duration kGoneMemory = std::chrono::hours(1);        // of a member that left, for status
inline constexpr std::string_view kOneCopy =
    "1 copy: the view has one member, and what it acknowledges is only on its disk. Start the other brokers; "
    "replication.min_in_sync: 2 refuses writes in such a view";

class Node {
public:
    // The disk failed, or a promise was broken: the process must end. Called at most once, from the loop.
    Node(env::Env& env, storage::Store& store, Settings settings, FatalHandler fatal);
    ~Node();
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    // Begins to look for the cluster.
    void start();
    // Leaves in order: hands ownership and leadership over, flushes, closes the store; then calls `done`. Bounded in
    // time.
    void leave(std::function<void()> done);

    // What the Env hands in.
    void on_frame(const env::ReceivedFrame& frame);
    env::ConnectionHandler* on_accept() { return &service_; }

    // Where to ask for the cluster from now on.
    void set_seeds(std::vector<Endpoint> seeds);

    NodeId id() const { return core_.self.id; }
    // As `logstreamctl status --json` prints it.
    std::string status_json() const;
    // See ViewHistory::json.
    std::string views_json() const { return views_.json(); }
    // Prometheus text format.
    std::string metrics_text() const;

    Core& core() { return core_; }
    Topics& topics() { return topics_; }
    Groups& groups() { return groups_; }
    Replicator& replicator() { return replicator_; }
    Participant& participant() { return participant_; }
    Elector& elector() { return elector_; }
    const Watch& watch() const { return watch_; }
    Introductions& introductions() { return introductions_; }
    // This run of it is a member of the view that this broker is in.
    bool is_member(const view::Member& run) const;

    // In a view known to be chosen, and not frozen. A newer view that is installed and not known to be chosen ends it.
    bool serving() const {
        return serving_.has_value() && !participant_.frozen() && participant_.installed()->number == serving_->number;
    }
    // Serving, and the leader and a majority of the view are in reach: nothing to look for.
    bool settled() const { return serving() && watch_.majority_in_reach() && !leader_failed(); }
    bool leader_failed() const { return serving_ && watch_.failed(serving_->coordinator); }
    bool is_leader() const { return serving() && serving_->coordinator == core_.self.id; }
    const std::optional<view::View>& current_view() const { return serving_; }
    // Who orders the stream in the current view; nullptr without one.
    const view::Member* owner_of(StreamId stream) const;
    // Why what this broker knows may be history, if it may: it is in no view that has a quorum, or that one is
    // changing.
    std::optional<Error> history() const;
    // Why writes are refused now, if they are: "no quorum: view N has 1 of 3 members in reach".
    std::optional<Error> refusal() const;
    // Belongs to a cluster that may be somewhere else now, and founds none.
    bool has_history() const {
        const bool entered = core_.record.cluster.value != 0 && !core_.record.accepted;
        return core_.record.chosen.has_value() || core_.streams.has_user_records() || entered;
    }

    // Creates the topic through the leader; the reply comes when it is committed and known here.
    void create_topic(const std::string& name, const proto::TopicSettings& settings,
                      std::function<void(Result<void>)> done);
    // Only the topic of this id, where one is given: the name may be another's by now.
    void delete_topic(const std::string& name, TopicId id, std::function<void(Result<void>)> done);
    // Changes what `alteration` names of its settings.
    void alter_topic(const std::string& name, TopicId id, const proto::TopicAlteration& alteration,
                     std::function<void(Result<void>)> done);

    // Messages between brokers; each is answered through `reply` exactly once.
    proto::ProbeResponse on_probe(const proto::Probe& probe);
    void on_election(const proto::Election& message);
    void on_view_chosen(const proto::ViewChosen& message);
    proto::LearnResponse on_learn(const proto::Learn& request);
    proto::SummaryResponse on_summary(const proto::Summary& request);
    proto::HandoverResponse on_handover(const proto::Handover& request);
    void on_peer_report(const proto::PeerReport& report);
    proto::JoinResponse on_join(const proto::Join& join, Endpoint from);
    proto::AdminResponse on_admin(const proto::Admin& request);
    void on_peer_heartbeat(const proto::Heartbeat& heartbeat, Endpoint from);

private:
    // Who is who (identity.cpp).
    std::vector<view::Member> known_runs(NodeId id) const;
    bool is_known_at(NodeId id, Endpoint from) const;
    void look_where_it_woke();
    void renew_identity();
    // Why this broker may neither be elected nor promise anything, if it may not.
    std::optional<std::string> why_outside() const;
    void on_twins(const view::Member& later, const view::Member& earlier);
    void on_twin_heard(const view::Member& twin);
    void meet_twin(const view::Member& twin);
    void look_for_twin();
    void on_restart_heard(const view::Member& claimed);
    void ask_leader(Endpoint at);

    // Finding and making a cluster (finding.cpp).
    void seek(std::string_view reason);
    void seek_tick();
    bool may_bootstrap() const;
    bool may_elect(const Reachable& found);
    void on_election_won(const std::vector<view::Member>& ring, ClusterId lineage);
    void on_candidate(const Candidate& candidate);
    void on_leader_found(const proto::JoinResponse& response);
    // All that is said of the leader it has said itself.
    void follow(Endpoint leader, ClusterId cluster, std::uint32_t members, bool leader_has_records);
    bool yields_to(ClusterId other, std::uint32_t other_members, bool other_has_records) const;
    void start_afresh(std::string_view why);
    proto::Join describe_join() const;
    proto::JoinResponse describe_answer() const;
    std::vector<Endpoint> known_endpoints() const;
    // `lineage`: 0 for a new one.
    void propose(std::vector<view::Member> invited, ClusterId lineage, std::string_view reason);
    void begin_numbering_anew();
    void recover(const proto::Admin& request, proto::AdminResponse& out);
    void say_no_quorum(std::string text);
    void say_condemned() const;

    // Changing the view (membership.cpp).
    void want_change(std::string_view reason);
    void begin_change();
    std::vector<view::Member> invited_to_change();
    void on_member_failed(NodeId member);
    // This view is chosen, and this node may not be in it.
    void went_on_without(const view::View& view);
    void on_reach_report(NodeId reporter, const proto::Heartbeat& heartbeat);
    NodeId less_missed_of(NodeId a, NodeId b) const;
    void judge_link(NodeId accused, NodeId reporter);
    void look_for_multicast();
    void remove_member(NodeId member, std::string_view why);
    // Not invited for a while, twice as long each time.
    void keep_out(NodeId node);
    void on_freeze();
    // Nothing is appended, sent or returned any more; what waits is answered.
    void stop_serving(const std::string& why);
    // This run is in no view any more, and re-enters by a new one.
    void leave_view(const std::string& why);
    void on_accepted(const view::View& view);
    // This node's own proposal is chosen.
    void on_change_done(const view::Plan& plan);
    void on_chosen(const view::View& view);
    void note_view(const view::View& view);
    void judge_unplanned();
    void on_change_failed(Coordinator::Failure failure, const std::string& reason);
    void on_taught(ClusterId cluster, const view::View& view, std::function<void()> recorded);
    void arm_watchdog(Duration after);
    void disarm_watchdog();
    void finish_leaving();

    // Topics (topic_changes.cpp).
    void ask_leader_for_topic(const proto::Topics& request, std::function<void(Result<void>)> done);
    void append_topic(const proto::TopicRecord& record, std::function<void(Result<void>)> done);
    void tick();
    enum class Beat : std::uint8_t { kRegular, kExtra };
    std::string why_no_view() const;
    // A majority of the view is silent by the clock now, or may be.
    std::optional<Error> unheard() const;
    void send_heartbeat(Beat beat);
    std::vector<view::Member> repair_peers() const;
    void note_multicast(NodeId sender, Endpoint from);
    std::vector<NodeId> multicast_heard() const;
    std::string_view role_of(NodeId member) const;
    bool outside() const;
    nlohmann::json members_json() const;
    nlohmann::json gone_json() const;
    // Who is not in the view that takes the place of the current one.
    void note_gone(const view::View& next);

    Settings settings_;
    PeerLinks links_;
    Streams streams_;
    Clocks clocks_;
    Core core_;
    Watch watch_;
    IdentityCheck identity_check_;
    Introductions introductions_;
    Participant participant_;
    Coordinator coordinator_;
    Elector elector_;
    Discovery discovery_;
    Learner learner_;
    Replicator replicator_;
    Topics topics_;
    Groups groups_;
    Retention retention_;
    Orphans orphans_;
    Repair repair_;
    Service service_;

    // The accepted view once it is known to be chosen; kept while frozen, for those who ask.
    std::optional<view::View> serving_;
    Tenure tenure_{{}};
    ring::HashRing ring_;
    // Where each stream's base log ended when the accepted view was installed: committed once the view is chosen.
    std::map<StreamId, Offset> base_ends_;

    struct Outsider {
        view::Member member;
        protocol::TimePoint heard;
        protocol::TimePoint since;  // it follows without a pause
    };
    std::map<NodeId, Outsider> ready_learners_;  // caught up, to be taken in
    std::map<NodeId, Outsider> learners_;        // known to follow, for status
    struct Removal {
        unsigned count{};
        protocol::TimePoint not_before;  // back-off before it is taken in again
    };
    std::map<NodeId, Removal> removals_;
    // Members of earlier views that are in none since, for status.
    struct Gone {
        view::Member member;
        std::int64_t since_ms{};  // by the wall clock
        protocol::TimePoint since;
    };
    std::map<NodeId, Gone> gone_;
    std::set<protocol::Incarnation> banned_;  // removed by an operator: this run of it stays out
    std::map<std::string, std::vector<std::function<void(Result<void>)>>>
        creating_;                      // topics whose record is on its way
    std::set<TopicId> altering_;        // the same, of a record that changes them
    std::optional<view::Member> twin_;  // another broker of this identity, which was there before
    protocol::TimePoint twin_asked_;
    Said twins_said_;
    bool elsewhere_{};                 // its data were last used on another machine
    std::set<NodeId> restarts_asked_;  // members of which a new run was heard
    std::set<Endpoint> asked_leaders_;
    bool draining_{};
    bool sealed_{};               // its records are being merged into another cluster: accepts no more
    ClusterId retired_from_;      // the lineage that it left when they were: it does not go back there
    std::set<NodeId> survivors_;  // of a recovery that is under way

    std::map<NodeId, protocol::TimePoint> multicast_heard_;
    Duration multicast_patience_ = std::chrono::seconds(2);  // how long it has to, before the next view relies on it
    ViewHistory views_;
    std::map<NodeId, std::int64_t> log_end_totals_;  // by heartbeat, for lag
    std::string no_quorum_;                          // the last reason why nothing could be chosen
    Said no_quorum_said_{std::chrono::seconds(5)};
    Said seek_said_;
    std::string apart_;  // another cluster of our name with records of its own
    protocol::TimePoint apart_heard_;
    unsigned attempts_{};         // view changes that failed in a row
    std::function<void()> left_;  // set while leaving
    bool finishes_{};             // of that, the last part
    bool said_ready_{};           // in the log, when this run was first in a view
    env::TimerId tick_timer_;
    env::TimerId seek_timer_;
    env::TimerId change_timer_;
    env::TimerId watchdog_;
    std::string change_reason_;
    protocol::TimePoint next_election_;
    protocol::TimePoint last_watermarks_;
    protocol::Lifetime lifetime_;
};

}  // namespace logstream::node
