// Is a broker who it says it is? Anybody can write a name into a message. What is believed is what the broker at the
// address that is named says itself, over a connection that this broker opened: one round trip.
//
// It also finds two brokers of one identity (a copied data folder, a cloned machine): another run of this id that was a
// member still answers.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "internal/node/peer_links.h"
#include "internal/protocol/lifetime.h"
#include "internal/view/view.h"

namespace logstream::node {

using protocol::NodeId;

class IdentityCheck {
public:
    enum class Verdict : std::uint8_t {
        kTrue,
        kFalse,   // the broker there is another one, or did not open that connection
        kSilent,  // nobody answers there, or another run of this id may still be there
        kTwin,    // it is, and another run of this id answers, too
    };
    struct Outcome {
        Verdict verdict{};
        view::Member twin;  // with kTwin
    };
    using Handler = std::function<void(const Outcome&)>;
    struct Events {
        // Runs of this id that are, or were, members.
        std::function<std::vector<view::Member>(NodeId)> known_runs;
        // Its heartbeats come in.
        std::function<bool(const view::Member&)> heard;
    };

    IdentityCheck(env::Env& env, PeerLinks& links, Events events)
        : env_(env), links_(links), events_(std::move(events)) {}

    // `token`: of the connection on which it introduced itself; 0: it claims only to be there. Exactly one call of
    // `handler`, from the loop, unless too many are being asked: false then, and no call.
    bool ask(const view::Member& claimed, std::uint64_t token, Handler handler);

private:
    struct Question;
    void ask_claimed(const std::shared_ptr<Question>& question, std::uint64_t token);
    void ask_other(const std::shared_ptr<Question>& question, const view::Member& run);
    void answered(Question& question);

    env::Env& env_;
    PeerLinks& links_;
    Events events_;
    std::size_t asked_{};
    protocol::Lifetime lifetime_;
};

}  // namespace logstream::node
