// Who is at the other end of an accepted connection. A broker introduces itself there; what only brokers may say is
// held back until the broker at the address that it named has confirmed it (see IdentityCheck), and not heard at all
// from who has not introduced itself. Each connection is checked once.
#pragma once

#include <deque>
#include <unordered_map>

#include "internal/node/identity_check.h"
#include "internal/node/said.h"

namespace logstream::node {

class Introductions {
public:
    struct Events {
        // The message is from this run of this broker.
        std::function<void(env::ConnectionId, const view::Member& from, Message)> confirmed;
        // Of the view that this broker is in: asked about at once, so that nothing waits for it later.
        std::function<bool(const view::Member&)> is_member;
        // Two brokers of one identity: the one who introduced itself, and the one who was there before.
        std::function<void(const view::Member&, const view::Member&)> twins;
        // The connection is of no use to anybody: it is to be closed.
        std::function<void(env::ConnectionId)> refused;
    };

    Introductions(env::Env& env, IdentityCheck& check, Events events)
        : env_(env), check_(check), events_(std::move(events)) {}

    void introduce(env::ConnectionId connection, const proto::Introduction& introduction);
    // A message that only a broker may send: delivered now, or once it is confirmed, or never.
    void pass(env::ConnectionId connection, Message message);
    void forget(env::ConnectionId connection) { callers_.erase(connection); }

private:
    struct Caller {
        view::Member claimed;
        std::uint64_t token{};
        bool asking{};
        bool confirmed{};
        std::deque<Message> waiting;  // until it is confirmed
        std::size_t waiting_bytes{};
    };

    void ask(env::ConnectionId connection, Caller& caller);
    void decided(env::ConnectionId connection, std::uint64_t token, NodeId claimed,
                 const IdentityCheck::Outcome& outcome);
    void refuse(env::ConnectionId connection, std::string_view why);

    env::Env& env_;
    IdentityCheck& check_;
    Events events_;
    std::unordered_map<env::ConnectionId, Caller> callers_;
    Said said_;
};

}  // namespace logstream::node
