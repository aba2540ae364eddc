// Room `client`: what producers, consumers and tools share: finding brokers, knowing who owns what, asking them,
// retrying. It runs on an Env alone, so that the simulator can drive it; it knows nothing of libuv, threads or standard
// input.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "internal/client/backoff.h"
#include "internal/client/cluster_view.h"
#include "internal/client/discovery.h"
#include "internal/client/requests.h"

namespace logstream::client {

struct Bootstrap {
    std::string cluster = "logstream";
    std::vector<Endpoint> brokers;                // empty, and no names: find them by broadcast
    Duration deadline = std::chrono::seconds(5);  // for the first METADATA answer
    // Names stand for brokers: has them looked up, at the start and whenever nobody answers. What is found comes by
    // `Router::resolved`.
    std::function<void()> look_up;
    std::string named;  // those names, as the user gave them
};

enum class AutoCreate : bool { kNo, kYes };

// Keeps the newest view. Every trouble of anyone asks all known brokers at once for METADATA, so that one dead or
// cut-off broker costs no time; rounds are spaced by the back-off. Without trouble they are asked about once a second:
// a broker that was left behind may not know it yet.
class Router {
public:
    using Listener = std::function<void()>;
    using ListenerId = std::uint64_t;

    Router(env::Env& env, Bootstrap bootstrap);
    ~Router();
    Router(const Router&) = delete;
    Router& operator=(const Router&) = delete;

    // Begins to look for brokers. Listeners hear of the first view, of every later answer, and of a failure.
    void start();
    // What the names stand for now; `trouble`: why some stand for nothing.
    void resolved(std::vector<Endpoint> brokers, const std::string& trouble);
    // Give every datagram to this (answers to discovery).
    void on_frame(const env::ReceivedFrame& frame) { discovery_.on_frame(frame); }

    // What is known; `known()` is false before the first answer.
    const ClusterView& view() const { return view_; }
    // Set when no broker could be found in time, or when the brokers belong to another lineage than the one that this
    // client has read or written. Final.
    const std::optional<Error>& failure() const { return failure_; }
    // Why this side can't write now, in a broker's words; empty while some broker of the newest view has a quorum.
    const std::string& no_quorum_reason() const { return no_quorum_reason_; }
    // Why nothing that needs a quorum can go on, for a person; empty: it can.
    std::string trouble() const;
    // A broker of the newest view said of late that it is not cut off from the others.
    bool reaches_quorum() const;
    // One did, or all who could have were asked.
    bool settled() const { return view_.known() && (reaches_quorum() || (asked_members_ && asked_.empty())); }

    // Whether a broker answered METADATA of late: who does not, while others do, is better not waited for.
    bool heard_of_late(Endpoint broker) const;
    // Likewise, and as one of the newest view that is not cut off from the others.
    bool in_quorum(Endpoint broker) const;
    // Its last recent answer said that it currently accepts no records of users.
    bool refuses_writes(Endpoint broker) const { return !write_refusal(broker).empty(); }
    // Why, in words for a person; empty: it does accept them, or nothing is known.
    std::string write_refusal(Endpoint broker) const;

    // From now on METADATA requests name `topic` whenever what is known of it may be out of date. It is made only once:
    // who deletes it later means it.
    void want_topic(const std::string& topic, AutoCreate create);
    void want_all_topics() { all_topics_ = true; }
    // Something did not fit what we know (refused, connection lost, no answer): ask again, soon.
    void refresh();
    // Data of this lineage was read or written: from now on another lineage is an error and not a discovery.
    void pin_lineage() { pinned_ = true; }

    ListenerId listen(Listener listener);
    void unlisten(ListenerId id) { listeners_.erase(id); }

    Requests& requests() { return requests_; }
    env::Env& env() { return env_; }

private:
    struct Heard {
        TimePoint at{};
        ViewNumber view;
        bool quorum{};        // it is not cut off from the others
        std::string refusal;  // why it takes no records of users; empty: it does
    };
    bool by_broadcast() const { return bootstrap_.brokers.empty() && !bootstrap_.look_up; }
    void look_around();
    void ask_all();
    // Whether known topics that may have changed are named.
    enum class Renewal : bool { kNo, kYes };
    // METADATA's, serialized: built once a round, for all brokers.
    std::string question(Renewal renewal) const;
    // Some known topic may have changed, and can be asked about now.
    bool has_stale_topics() const;
    // Whom known topics are asked of: the one who orders changes of topics; nobody (all are asked) when it is silent.
    std::optional<Endpoint> topics_source() const;
    void ask(Endpoint broker, const std::string& question);
    void on_found(const Result<std::set<Endpoint>>& brokers);
    void on_answer(Endpoint broker, const Result<Message>& answer);
    // Takes over what an answer says; false when it belongs to another lineage.
    bool adopt(Endpoint broker, const proto::MetadataResponse& response);
    void drop_departed(const ClusterView& older);
    void note_quorum(Endpoint broker, const proto::MetadataResponse& response);
    std::set<Endpoint> known_brokers() const;
    void give_up_bootstrap();
    void fail(Error error);
    void notify();

    env::Env& env_;
    Bootstrap bootstrap_;
    Requests requests_;
    Discovery discovery_;
    Backoff backoff_;
    ClusterView view_;
    std::optional<Error> failure_;
    std::string no_quorum_reason_;
    TimePoint quorum_heard_{};   // when a broker last said that the newest view has a quorum
    TimePoint lineage_heard_{};  // when a broker of our lineage last answered
    TimePoint last_round_{};     // that somebody's trouble asked for
    TimePoint last_asked_{};     // and any
    bool pinned_{};
    bool all_topics_{};
    bool asked_members_{};  // of this view
    TimePoint topics_renewed_{};
    std::map<std::string, AutoCreate> topics_;
    std::set<Endpoint> found_;             // by discovery
    std::map<Endpoint, RequestId> asked_;  // METADATA under way
    std::map<Endpoint, Heard> heard_;      // the last answer of members and seeds
    std::string unready_;                  // what a broker said that is in no view yet
    std::string last_error_;
    env::TimerId round_timer_;
    env::TimerId look_timer_;
    bool round_scheduled_{};
    env::TimerId deadline_timer_;
    std::set<Endpoint> departed_;  // of the view before
    env::TimerId drop_timer_;
    ListenerId last_listener_{};
    std::map<ListenerId, Listener> listeners_;
};

}  // namespace logstream::client
