#include "internal/node/peer_session.h"

#include <algorithm>

#include "internal/protocol/planted.h"

namespace logstream::node {

namespace {
constexpr std::size_t kMaxCommits = 1u << 20;
}

PeerSession::PeerSession(Core& core, const view::View& view, const view::Member& sender, Replicator::Counters& counters,
                         std::function<void(const std::string&)> broken)
    : core_(core),
      view_(view.number),
      view_id_(view.id),
      multicast_(view.multicast),
      sender_(sender),
      counters_(counters),
      broken_(std::move(broken)),
      window_({.first_sequence = view.first_sequence,
               .max_frames = replication::frames_of_window(view.window_bytes),
               .max_buffered_bytes = view.window_bytes}),
      loss_(replication::LossDetector::Options{}),
      commits_(kMaxCommits),
      coalescer_({.first_sequence = view.first_sequence,
                  .frames = std::clamp<std::size_t>(view.window_bytes / view.frame_bytes / 8, 1, 64)}),
      source_(address_of(sender)),
      nonce_(core.env.random()),
      applied_(replication::before(view.first_sequence)),
      flush_asked_(applied_) {}

PeerSession::~PeerSession() { end(); }

void PeerSession::end() {
    core_.env.cancel_timer(settle_timer_);
    core_.env.cancel_timer(deadline_timer_);
    lifetime_.end();
}

void PeerSession::on_frame(const protocol::FrameHeader& header, const protocol::Bytes& payload, Endpoint from) {
    if (from.port != 0) source_ = from;
    delivered_.clear();
    const auto session = lifetime_.observe();
    auto inserted = window_.insert(header.sequence, header.flags, payload, delivered_);
    for (const replication::DeliveredMessage& message : delivered_)
        if (!apply(message) || session.expired()) return;  // broken: this object may be gone
    if (!inserted) return broken_(inserted.error().message);
    schedule_settle();
}

bool PeerSession::apply(const replication::DeliveredMessage& message) {
    const auto break_with = [this](const std::string& why) {
        broken_(why);
        return false;
    };
    auto batch = protocol::BatchView::parse(message.batch);
    if (!batch) return break_with(batch.error().message);
    auto stream = core_.streams.open(message.stream);
    if (!stream) return break_with(stream.error().message);
    storage::StreamLog& log = *(*stream)->log;
    if (batch->base_offset() != log.log_end() || batch->leader_epoch() != view_)
        return break_with(fmt::format("stream {} ends at {}, but the owner continues at {} in view {}",
                                      protocol::to_string(message.stream), log.log_end(), batch->base_offset(),
                                      batch->leader_epoch()));
    if (auto appended = log.append(message.batch, message.appended_ms); !appended)
        return break_with(appended.error().message);
    if (!commits_.push(message.last_frame, message.stream, log.log_end()))
        return break_with("the owner is beyond its window");
    applied_ = message.last_frame;
    advance(message.committed);
    return true;
}

void PeerSession::advance(Sequence committed) {
    commits_.advance(committed, [this](StreamId id, Offset end) {
        if (Stream* stream = core_.streams.find(id)) core_.streams.advance(*stream, end);
    });
}

void PeerSession::on_position(Sequence last_sent, Sequence committed, Endpoint from) {
    if (from.port != 0) source_ = from;
    coalescer_.repeat();  // an acknowledgement that was lost with its connection is said again
    window_.raise_highest(last_sent);
    advance(committed);
    schedule_settle();
}

void PeerSession::on_nack_gone(const proto::NackGone& gone) {
    const bool answers_ours = gone.nonce() == nonce_ && window_.has_gap();
    if (answers_ours && window_.is_cut_off(Sequence{gone.first_available()}))
        broken_("frames that this broker lacks are gone at their owner");
}

// At the end of this turn of the loop: one flush, one NACK, one acknowledgement for all that the turn brought.
void PeerSession::schedule_settle() {
    if (settle_timer_.value != 0) return;
    settle_timer_ = core_.env.set_timer(Duration{0}, [this] {
        settle_timer_ = {};
        settle();
    });
}

void PeerSession::flush(Sequence last_frame) {
    flush_asked_ = last_frame;
    core_.store.flush(lifetime_.guard([this, last_frame](Result<void> flushed) {
        if (!flushed) return core_.fatal(flushed.error());
        coalescer_.durable(last_frame, core_.env.now());
        settle();
    }));
}

void PeerSession::settle() {
    const protocol::TimePoint now = core_.env.now();
    if (applied_ > flush_asked_) flush(applied_);
    coalescer_.received(window_.received(), window_.last_message_end(), window_.highest_seen(), now);
    if (protocol::planted(protocol::Bug::kAckBeforeFlush)) coalescer_.durable(applied_, now);
    if (window_.has_gap())
        if (const auto ranges = loss_.poll(window_, now, core_.env.random()); !ranges.empty()) send_nack(ranges);
    if (const auto ack = coalescer_.poll(now)) {
        proto::ReplicateAck out;
        out.set_cluster_id(core_.record.cluster.value);
        out.set_view(view_.value);
        out.set_view_id(view_id_.value);
        out.set_node(core_.self.id.value);
        out.set_incarnation(core_.self.incarnation.value);
        out.set_durable_sequence(ack->durable.value);
        out.set_received_sequence(ack->received.value);
        core_.links.send(address_of(sender_), protocol::request(MessageType::kReplicateAck, Correlation{}, out));
    }
    core_.env.cancel_timer(deadline_timer_);
    deadline_timer_ = {};
    const protocol::TimePoint next =
        std::min(coalescer_.next_deadline(), window_.has_gap() ? loss_.next_deadline() : protocol::TimePoint::max());
    if (next != protocol::TimePoint::max()) deadline_timer_ = core_.env.set_timer(next - now, [this] { settle(); });
}

void PeerSession::send_nack(const std::vector<replication::SequenceRange>& ranges) {
    proto::Nack nack;
    nack.set_cluster_id(core_.record.cluster.value);
    nack.set_view(view_.value);
    nack.set_view_id(view_id_.value);
    nack.set_node(core_.self.id.value);
    nack.set_incarnation(core_.self.incarnation.value);
    nack.set_nonce(nonce_);
    for (const replication::SequenceRange& range : ranges) {
        proto::SequenceRange& out = *nack.add_ranges();
        out.set_first(range.first.value);
        out.set_last(range.last.value);
    }
    ++counters_.nacks_sent;
    core_.env.log().debug("REPLICATE nack to={} first={} last={} ranges={}", protocol::hex(sender_.id.value),
                          ranges.front().first, ranges.back().last, ranges.size());
    if (!multicast_)
        return core_.links.send(address_of(sender_), protocol::request(MessageType::kNack, Correlation{}, nack));
    const protocol::FrameHeader header{
        MessageType::kNack, 0, protocol::cluster_tag(core_.settings.cluster), view_, core_.self.id, {}, view_id_};
    core_.env.send_datagram(source_, {protocol::encode_frame(header, nack), {}});
}

}  // namespace logstream::node
