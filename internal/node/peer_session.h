// The receiving side of replication: one other member's session, in one view.
#pragma once

#include <functional>
#include <memory>

#include "internal/node/replicator.h"
#include "internal/protocol/lifetime.h"
#include "internal/replication/ack_coalescer.h"
#include "internal/replication/commit_queue.h"
#include "internal/replication/loss_detector.h"
#include "internal/replication/receive_window.h"

namespace logstream::node {

using protocol::Sequence;

class PeerSession {
public:
    // `broken`: the session cannot be followed any more.
    PeerSession(Core& core, const view::View& view, const view::Member& sender, Replicator::Counters& counters,
                std::function<void(const std::string&)> broken);
    ~PeerSession();
    PeerSession(const PeerSession&) = delete;
    PeerSession& operator=(const PeerSession&) = delete;

    // The session is over: nothing of it that is still under way (a flush, a timer) does anything any more. Before the
    // object goes, since it may be in the middle of a call.
    void end();

    void on_frame(const protocol::FrameHeader& header, const protocol::Bytes& payload, Endpoint from);
    void on_nack_gone(const proto::NackGone& gone);
    // The sender's heartbeat: how far it is, what is committed.
    void on_position(Sequence last_sent, Sequence committed, Endpoint from);

private:
    bool apply(const replication::DeliveredMessage& message);
    void advance(Sequence committed);
    void flush(Sequence last_frame);
    void schedule_settle();
    void settle();
    void send_nack(const std::vector<replication::SequenceRange>& ranges);

    Core& core_;
    const ViewNumber view_;
    const protocol::ViewId view_id_;
    const bool multicast_;
    const view::Member sender_;
    Replicator::Counters& counters_;
    std::function<void(const std::string&)> broken_;
    replication::ReceiveWindow window_;
    replication::LossDetector loss_;
    replication::CommitQueue commits_;
    replication::AckCoalescer coalescer_;
    std::vector<replication::DeliveredMessage> delivered_;  // scratch
    Endpoint source_;                                       // where its frames come from: NACKs go there
    std::uint64_t nonce_;                                   // in each NACK: only the owner can answer it
    Sequence applied_;
    Sequence flush_asked_;
    env::TimerId settle_timer_;
    env::TimerId deadline_timer_;
    protocol::Lifetime lifetime_;
};

}  // namespace logstream::node
