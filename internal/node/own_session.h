// The sending side of replication: this node's session as an owner, in one view.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <set>

#include "internal/node/replicator.h"
#include "internal/protocol/lifetime.h"
#include "internal/replication/ack_tracker.h"
#include "internal/replication/commit_queue.h"
#include "internal/replication/frame_packer.h"
#include "internal/replication/pending_acks.h"
#include "internal/replication/retransmit_handler.h"
#include "internal/replication/send_ring.h"
#include "internal/replication/stall_meter.h"

namespace logstream::node {

using protocol::Sequence;

// Lives from the view's installation to its freeze. Everything it does later (flushes that end, timers) is guarded by
// its lifetime: what ends after the freeze is not acknowledged.
class OwnSession {
public:
    // `news`: more is committed than any frame says, and none follows that would say it.
    OwnSession(Core& core, const view::View& view, Replicator::Counters& counters, std::function<void()> news);
    ~OwnSession();
    OwnSession(const OwnSession&) = delete;
    OwnSession& operator=(const OwnSession&) = delete;

    void produce(Stream& stream, protocol::Bytes batch, proto::Acks acks, Replicator::ProduceHandler done);
    void produce_orphan(Stream& stream, const protocol::BatchView& batch, const OrphanOrigin& origin,
                        Replicator::ProduceHandler done);

    void on_ack(const proto::ReplicateAck& ack);
    void on_nack(const proto::Nack& nack, Endpoint from);
    // A heartbeat of this view from a member: it has accepted the view, so it holds the base log.
    void on_member_alive(NodeId member);
    // A member that has stayed behind for longer than slow_member_timeout, or that the others wait for more than half
    // of the time.
    std::optional<NodeId> slow();

    Sequence last_sent() const { return ring_.last_sent(); }
    Sequence committed() const { return acks_.committed(); }

    // Answers everything that waits: its outcome is not known.
    void abandon(const std::string& reason);

private:
    struct Waiting {
        Replicator::ProduceHandler done;
        Offset base_offset;
        std::size_t bytes{};
    };

    // What an orphan batch was cut into, one after the other: each is in the log, or comes there, on its own account.
    struct OrphanPieces {
        std::vector<protocol::Bytes> pieces;
        std::size_t next{};
        OrphanOrigin origin;
        Replicator::ProduceHandler done;
    };
    struct Search {  // in the log, for an orphan
        storage::ProducerBatch sent;
        protocol::OrphanKey key;
        protocol::Bytes orphan;
        Replicator::ProduceHandler done;
    };

    void produce_next_piece(StreamId id, std::shared_ptr<OrphanPieces> orphan);
    void produce_piece(Stream& stream, const protocol::BatchView& piece, const OrphanOrigin& origin,
                       Replicator::ProduceHandler done);
    void search(Stream& stream, Offset from, std::shared_ptr<Search> search);
    void append(Stream& stream, protocol::Bytes batch, proto::Acks acks, Replicator::ProduceHandler done);
    void answer_repeated(const Stream& stream, Offset base_offset, proto::Acks acks, Replicator::ProduceHandler done);
    void wait(proto::Acks acks, Sequence sequence, Offset base_offset, std::size_t bytes,
              Replicator::ProduceHandler done);
    void schedule_pump();
    void pump();
    void flush();
    void transmit(std::span<const protocol::OutFrame> frames);
    void settle();
    void tell_committed();
    bool window_is_full() const;

    Core& core_;
    const view::View view_;
    Replicator::Counters& counters_;
    std::function<void()> news_;
    replication::FramePacker packer_;
    std::deque<replication::PackedFrame> queue_;  // packed, outside the window
    replication::SendRing ring_;
    replication::RetransmitHandler retransmit_;
    replication::AckTracker acks_;
    replication::StallMeter stalls_;
    replication::CommitQueue commits_;
    replication::PendingAcks pending_;
    std::map<replication::Cookie, Waiting> waiting_;
    std::uint64_t last_cookie_{};
    std::size_t waiting_bytes_{};
    Sequence last_added_;   // the frame that ends the newest message
    Sequence flush_asked_;  // up to here a flush is under way
    Sequence told_;         // the newest frame, or news, said that all up to here is committed
    protocol::TimePoint told_at_;
    std::set<NodeId> accepted_;
    env::TimerId pump_timer_;
    env::TimerId resend_timer_;
    env::TimerId news_timer_;
    protocol::Lifetime lifetime_;
};

}  // namespace logstream::node
