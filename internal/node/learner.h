// A broker outside the view catches up with its leader's committed records, without a vote and without holding anybody
// up, until the view can take it in.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "internal/node/aligner.h"
#include "internal/node/core.h"
#include "internal/node/said.h"
#include "internal/protocol/lifetime.h"

namespace logstream::node {

class Learner {
public:
    struct Events {
        // What the leader says is chosen; to be recorded before anything is taken from it.
        std::function<void(ClusterId, const view::View&, std::function<void()> recorded)> taught;
        // The leader does not answer, is no leader any more, or belongs to another lineage.
        std::function<void(const Error&)> gave_up;
        std::function<std::vector<NodeId>()> multicast_heard;
        // The leader's history and this broker's own are two under one name.
        std::function<void(const std::string&)> conflict;
        // Draining or removed by an operator: catch up, but do not ask to be taken in.
        std::function<bool()> stays_outside;
    };

    Learner(Core& core, Events events) : core_(core), events_(std::move(events)) {}
    ~Learner() { stop(); }
    Learner(const Learner&) = delete;
    Learner& operator=(const Learner&) = delete;

    void start(Endpoint leader);
    bool running() const { return leader_.has_value(); }
    void stop();

private:
    enum class State : std::uint8_t { kBehind, kReady };

    void ask(State state);
    void ask_when_all_are_reached();
    void taught(State state, Result<Message> reply);
    void compare();
    void note_views(const proto::SummaryResponse& summary);
    void align(const proto::SummaryResponse& summary);
    void conflict(const std::string& text);
    void give_up(const Error& error);

    Core& core_;
    Events events_;
    std::optional<Endpoint> leader_;
    bool said_{};  // that it waits
    Said start_said_;
    view::View taught_;
    std::unique_ptr<Aligner> aligner_;
    env::TimerId timer_;
    protocol::Lifetime lifetime_;  // of one run
};

}  // namespace logstream::node
