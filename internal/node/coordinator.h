// The coordinator's side of a view change: drives one view::Change over the links.
#pragma once

#include <functional>
#include <memory>

#include "internal/node/core.h"
#include "internal/node/participant.h"
#include "internal/node/view_history.h"
#include "internal/view/change.h"

namespace logstream::node {

class Coordinator {
public:
    enum class Failure : std::uint8_t {
        kBeaten,        // a greater number is promised somewhere: try again above it, or let its coordinator go on
        kNoQuorum,      // too few answered
        kNotInstalled,  // too few installed, or not in time
    };
    struct Events {
        std::function<void(const view::Plan&)> chosen;
        std::function<void(Failure, std::string reason)> failed;
        // The answers told of a chosen view that did not come from here.
        std::function<void(const view::View&)> learned;
    };

    Coordinator(Core& core, Participant& participant, Events events);
    ~Coordinator();
    Coordinator(const Coordinator&) = delete;
    Coordinator& operator=(const Coordinator&) = delete;

    // Proposes a view to these (this node among them), numbered above everything seen. Not while one is running.
    void start(ClusterId cluster, view::Change::Lineage lineage, std::vector<view::Member> invited,
               std::string_view reason);
    bool running() const { return change_ != nullptr; }
    // Of the change that was chosen last.
    const std::optional<ViewSteps>& last_steps() const { return last_steps_; }
    // The change that is running has gone on for longer than a well disk needs, and is not stuck.
    bool waits_for_disks() const;
    // To the change that is running, or ran last.
    bool invited(NodeId node) const { return invited_.contains(node); }
    void stop();
    // This view is chosen: what is proposed here with a lower number comes too late.
    void overtaken_by(ViewNumber number) {
        if (change_ && change_->number() < number) stop();
    }
    // A new lineage begins: its numbers have nothing to do with those that were seen.
    void forget_numbers() { seen_ = {}; }
    // An invited node is known to be dead: do not wait for it.
    void lost(NodeId node);

private:
    // The number is promised by a member of this lineage that answered: the next proposal is above it.
    void saw(ViewNumber number) { seen_ = std::max(seen_, number); }
    void exchange();
    void promise_self();
    void ask(NodeId id);
    void time_is_up_in(Duration time);
    std::string what_is_missing() const;
    void on_exchange_answer(NodeId from, const proto::StateExchangeResponse& response);
    void consider_install(bool time_is_up);
    void not_answered(NodeId from);
    bool waits_for_others();
    void install();
    void on_install_answer(NodeId from, const proto::ViewInstallAck& ack);
    void not_accepted(NodeId node);
    void announce(const view::Plan& plan);
    void fail(Failure failure, const std::string& reason);
    // Wraps a callback so that it does nothing once its attempt is over.
    template <class F>
    auto for_this_attempt(F f) {
        return [this, attempt = attempt_, f = std::move(f)](auto&&... args) mutable {
            if (attempt == attempt_ && change_) f(std::forward<decltype(args)>(args)...);
        };
    }

    Core& core_;
    Participant& participant_;
    Events events_;
    ClusterId cluster_;
    std::unique_ptr<view::Change> change_;
    std::map<NodeId, view::Member> invited_;
    std::uint64_t attempt_{};
    ViewNumber seen_;
    proto::StateExchange request_;
    std::map<NodeId, std::string> slow_;  // whose disks have not taken the promise yet, in their words
    std::string hint_;  // why the attempt can but fail, where that is more than a quorum that is missing
    env::TimerId timer_;
    protocol::TimePoint began_;
    protocol::TimePoint planned_;
    std::string reason_;
    std::optional<ViewSteps> last_steps_;
    std::optional<protocol::TimePoint> without_vote_since_;  // the first attempt that lacked nothing but votes
};

}  // namespace logstream::node
