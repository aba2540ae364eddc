// Replication within the accepted view: this node's own session as an owner, and those of the other members.
#pragma once

#include <functional>
#include <memory>

#include "internal/node/core.h"
#include "internal/protocol/record_batch.h"

namespace logstream::node {

// Where an orphan comes from: its lineage, and the offset from which on its holder's log was not the base log.
struct OrphanOrigin {
    ClusterId lineage;
    Offset departed_at;
};

class Replicator {
public:
    struct Events {
        // Why nothing may be appended now, whatever was believed a moment ago, if it may not.
        std::function<std::optional<Error>()> unheard;
        // A frame or heartbeat of this view arrived from one who knows it to be chosen.
        std::function<void(ViewNumber)> proves_chosen;
        // The member has stayed behind longer than slow_member_timeout.
        std::function<void(NodeId)> slow;
        // This node cannot follow an owner's session any more: it must leave the view and catch up by TCP.
        std::function<void(const std::string&)> broken;
        // More is committed than any frame says, and none follows that would: the others are to hear of it.
        std::function<void()> committed;
    };
    // Since the process started.
    struct Counters {
        std::uint64_t frames_sent{};
        std::uint64_t bytes_sent{};     // of these frames
        std::uint64_t payload_bytes{};  // of the batches in them
        std::uint64_t frames_resent{};
        std::uint64_t nacks_sent{};
        std::uint64_t nacks_received{};
        std::uint64_t frames_dropped{};  // of another view or lineage, or of nobody in the view
        std::uint64_t records_appended{};
    };
    // The base offset once it is as durable as asked; kUnknown when the view changed before that.
    using ProduceHandler = std::function<void(Result<Offset>)>;

    Replicator(Core& core, Events events);
    ~Replicator();
    Replicator(const Replicator&) = delete;
    Replicator& operator=(const Replicator&) = delete;

    // The view is accepted: frames of its members are taken from now on.
    void prepare(const view::View& view);
    // The view is known to be chosen: this node appends and sends.
    void serve();
    // Frozen: nothing is appended, acknowledged or committed any more; what waits is answered kUnknown.
    void stop(const std::string& reason);

    // Appends a batch, checked by the caller, to a stream that this node owns.
    void produce(Stream& stream, protocol::Bytes batch, proto::Acks acks, ProduceHandler done);
    // Appends an orphan again unless it stands in the log already.
    void produce_orphan(Stream& stream, const protocol::BatchView& batch, const OrphanOrigin& origin,
                        ProduceHandler done);

    // `from`: where a datagram came from, which must be where the member is that it names; port 0: it came on that
    // member's own connection.
    void on_frame(const protocol::FrameHeader& header, const protocol::Bytes& payload, Endpoint from);
    void on_nack(const proto::Nack& nack, Endpoint from);
    void on_nack_gone(const proto::NackGone& gone, NodeId sender, Endpoint from);
    void on_ack(const proto::ReplicateAck& ack);
    void on_heartbeat(const proto::Heartbeat& heartbeat, Endpoint from);
    // Adds this node's positions.
    void fill(proto::Heartbeat& heartbeat) const;
    // About every 100 ms.
    void tick();

    const Counters& counters() const;

private:
    std::optional<Error> may_not_append() const;

    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace logstream::node
