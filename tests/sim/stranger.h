// Somebody on the network who is no broker of the cluster, knows all that goes over it, and says what it likes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/sim/cluster.h"

namespace logstream::sim {

class Stranger final : private env::ConnectionHandler {
public:
    Stranger(Cluster& cluster, Endpoint at)
        : cluster_(cluster), host_(cluster.world().host(at, cluster.transcript().logger("stranger"))) {
        host_.accept = [this](ConnectionId, Endpoint) -> env::ConnectionHandler* { return listens ? this : nullptr; };
    }
    ~Stranger() override { cluster_.world().kill(host_); }
    Stranger(const Stranger&) = delete;
    Stranger& operator=(const Stranger&) = delete;

    // Takes connections, and answers nothing on them.
    bool listens{};

    template <class Proto>
    void datagram(Endpoint to, protocol::MessageType type, const Proto& message, protocol::NodeId sender,
                  protocol::ViewNumber view = {}) {
        host_.send_datagram(to, {protocol::encode_frame({type, 0, tag(), view, sender, {}}, message), {}});
    }
    template <class Proto>
    void broadcast(protocol::MessageType type, const Proto& message, protocol::NodeId sender) {
        host_.broadcast({protocol::encode_frame({type, 0, tag(), {}, sender, {}}, message), {}});
    }
    template <class Proto>
    void multicast(protocol::MessageType type, const Proto& message, protocol::NodeId sender,
                   protocol::ViewNumber view = {}) {
        const env::OutFrame frame{protocol::encode_frame({type, 0, tag(), view, sender, {}}, message), {}};
        host_.multicast(std::span(&frame, 1));
    }

    // On a connection of its own, where it has said first that it is `as`, if it is anybody.
    template <class Proto>
    void say(Endpoint to, protocol::MessageType type, const Proto& message, const view::Member* as) {
        connection_ = host_.connect(to, std::chrono::seconds(1), *this);
        up_ = closed_ = false;
        cluster_.world().run_until([this] { return up_ || closed_; }, std::chrono::seconds(1));
        if (as != nullptr) {
            proto::Introduction introduction;
            *introduction.mutable_from() = view::to_proto(*as);
            introduction.set_token(7);
            host_.send(connection_, protocol::request(protocol::MessageType::kIntroduction, {}, introduction));
        }
        host_.send(connection_, protocol::request(type, protocol::Correlation{1}, message));
    }
    // By the other side, since the last `say`.
    bool closed() const { return closed_; }

private:
    static protocol::ClusterTag tag() { return protocol::cluster_tag("logstream"); }
    void on_connected(ConnectionId) override { up_ = true; }
    void on_message(ConnectionId, protocol::Message) override {}
    void on_closed(ConnectionId connection, const protocol::Error&) override {
        if (connection == connection_) closed_ = true;
    }

    Cluster& cluster_;
    Host& host_;
    ConnectionId connection_;
    bool up_{};
    bool closed_{};
};

// As if the view's coordinator had gone on without everybody else.
inline proto::ViewChosen everybody_is_out(node::Node& of) {
    const view::View& now = *of.current_view();
    proto::ViewChosen out;
    out.set_cluster_id(of.core().record.cluster.value);
    view::View alone = now;
    alone.members = {*now.find(now.coordinator)};
    *out.mutable_view() = view::to_proto(alone);
    return out;
}

}  // namespace logstream::sim
