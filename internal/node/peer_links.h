// TCP links to other brokers: one for each address, made when first needed, with requests paired to their responses.
#pragma once

#include <functional>
#include <map>
#include <unordered_map>

#include "internal/env/env.h"
#include "internal/view/view.h"
#include "logstream.pb.h"

namespace logstream::node {

using env::Endpoint;
using protocol::Correlation;
using protocol::Duration;
using protocol::Message;
using protocol::MessageType;
using protocol::OutMessage;

inline Endpoint address_of(const view::Member& member) { return Endpoint{member.ip, member.port}; }

class PeerLinks : private env::ConnectionHandler {
public:
    using ReplyHandler = std::move_only_function<void(protocol::Result<Message>)>;
    // A link that was up is gone: a hint that its process may be dead.
    using LostHandler = std::function<void(Endpoint)>;

    PeerLinks(env::Env& env, LostHandler on_lost) : env_(env), on_lost_(std::move(on_lost)) {}
    ~PeerLinks() override;
    PeerLinks(const PeerLinks&) = delete;
    PeerLinks& operator=(const PeerLinks&) = delete;

    // Who this broker is: said first on each link, and again on those that are up.
    void introduce_as(const proto::Member& self);
    // Is there a link whose introduction has this token? It is how others learn who is at the other end of it.
    bool has_introduced(std::uint64_t token) const;
    // One-way. What cannot be delivered is lost: the protocols above repeat what matters.
    void send(Endpoint to, OutMessage message);
    // Exactly one call of `handler`, from the loop: the response, or kNetwork or kTimeout.
    template <class Proto>
    void request(Endpoint to, MessageType type, const Proto& header, Duration timeout, ReplyHandler handler,
                 std::vector<protocol::Bytes> body = {}) {
        submit(to, protocol::request(type, Correlation{++last_correlation_}, header, std::move(body)), timeout,
               std::move(handler));
    }
    // Ends links to all addresses but these; their requests fail.
    void keep_only(const std::vector<Endpoint>& addresses);

private:
    struct Request {
        ReplyHandler handler;
        env::TimerId timer;
    };
    struct Link {
        env::ConnectionId connection;
        bool up{};
        std::uint64_t token{};            // of its introduction
        protocol::TimePoint heard;        // when the last message came
        std::vector<OutMessage> waiting;  // until the connection is up
        std::map<Correlation, Request> requests;
    };

    void introduce(const Link& link);
    void submit(Endpoint to, OutMessage message, Duration timeout, ReplyHandler handler);
    Link& link_to(Endpoint to);
    void finish(Endpoint to, Correlation correlation, protocol::Result<Message> result);
    void drop(Endpoint to, const protocol::Error& reason);
    void timed_out(Endpoint to, Correlation correlation, protocol::TimePoint asked);

    void on_connected(env::ConnectionId connection) override;
    void on_message(env::ConnectionId connection, Message message) override;
    void on_closed(env::ConnectionId connection, const protocol::Error& reason) override;

    env::Env& env_;
    LostHandler on_lost_;
    proto::Member self_;  // id 0: not known yet
    std::map<Endpoint, Link> links_;
    std::unordered_map<env::ConnectionId, Endpoint> by_connection_;
    std::uint64_t last_correlation_{};
};

}  // namespace logstream::node
