#include "internal/node/own_session.h"

#include <algorithm>

#include "internal/protocol/planted.h"

namespace logstream::node {

using protocol::Bytes;
using replication::AckLevel;
using replication::Cookie;

namespace {
constexpr std::size_t kMaxPending = 1u << 20;
constexpr std::size_t kFramesPerSend = 256;
constexpr std::size_t kSearchBytes = 1u << 20;
// So long a frame is waited for that says what is committed.
constexpr Duration kNewsAfter = std::chrono::milliseconds(2);
constexpr std::size_t kOrphanPieceBytes = 8u << 20;  // cut otherwise, one that is half appended comes twice
constexpr std::size_t kMaxFenceBytes = 1u << 16;

AckLevel level_of(proto::Acks acks) {
    return acks == proto::ALL ? AckLevel::kAll : acks == proto::OWNER ? AckLevel::kOwner : AckLevel::kQuorum;
}

storage::ProducerBatch producer_of(const protocol::BatchView& batch) {
    return {batch.producer_id(), batch.producer_epoch(), batch.base_sequence(), batch.last_sequence()};
}

// The sequences of `batch` are among those of `found`, which compaction may have made of several.
bool covers(const storage::ProducerBatch& found, const storage::ProducerBatch& batch) {
    if (found.producer != batch.producer || found.epoch != batch.epoch || found.base_sequence < 0) return false;
    const auto distance = [&found](std::int32_t to) {
        return (static_cast<std::uint32_t>(to) - static_cast<std::uint32_t>(found.base_sequence)) & 0x7fffffffU;
    };
    return distance(batch.base_sequence) <= distance(batch.last_sequence) &&
           distance(batch.last_sequence) <= distance(found.last_sequence);
}

// What a fence of an instance that resumes says of itself; nullopt: it is of an older version, which said nothing.
std::optional<storage::ProducerTable::Takeover> takeover_of(const protocol::BatchView& fence) {
    proto::Takeover told;
    bool found = false;
    const auto read = fence.for_each(kMaxFenceBytes, [&](const protocol::Record& record) {
        found = record.value && told.ParseFromArray(record.value->data(), static_cast<int>(record.value->size()));
        return false;
    });
    if (!read || !found) return std::nullopt;
    storage::ProducerTable::Takeover out{static_cast<std::int32_t>(told.epochs()), told.next(), {}};
    for (const proto::SequenceRange& hole : told.missing())
        out.missing.push_back({static_cast<std::int64_t>(hole.first()), static_cast<std::int64_t>(hole.last())});
    return out;
}

// What a batch of the log says of an orphan.
enum class Answer : std::uint8_t { kNothing, kStandsThere, kSentAgain, kDoubt };
Answer answer_of(const protocol::BatchView& batch, const storage::ProducerBatch& orphan) {
    const storage::ProducerBatch found = producer_of(batch);
    if (covers(found, orphan)) return Answer::kStandsThere;
    if (!batch.is_control() || !found.resumes() || found.producer != orphan.producer) return Answer::kNothing;
    const auto takeover = takeover_of(batch);
    if (!takeover) return Answer::kDoubt;
    return storage::ProducerTable::is_taken_over(orphan, found, *takeover) ? Answer::kSentAgain : Answer::kNothing;
}
}  // namespace

OwnSession::OwnSession(Core& core, const view::View& view, Replicator::Counters& counters, std::function<void()> news)
    : core_(core),
      view_(view),
      counters_(counters),
      news_(std::move(news)),
      packer_(view.frame_bytes, view.first_sequence),
      ring_({protocol::cluster_tag(core.settings.cluster), view.number, core.self.id, view.first_sequence, view.id},
            {view.window_bytes, replication::frames_of_window(view.window_bytes)}),
      retransmit_({}, core.env.now()),
      acks_(view.ids(), core.self.id, view.first_sequence),
      stalls_(core.settings.slow_member_timeout),
      commits_(kMaxPending),
      pending_(kMaxPending),
      last_added_(replication::before(view.first_sequence)),
      flush_asked_(last_added_),
      told_(last_added_),
      accepted_{core.self.id} {}

OwnSession::~OwnSession() {
    core_.env.cancel_timer(pump_timer_);
    core_.env.cancel_timer(resend_timer_);
    core_.env.cancel_timer(news_timer_);
    core_.store.set_pending_bytes(0);
}

void OwnSession::produce(Stream& stream, Bytes bytes, proto::Acks acks, Replicator::ProduceHandler done) {
    auto batch = protocol::BatchView::parse(bytes);
    if (!batch) return done(std::unexpected(batch.error()));
    const storage::ProducerBatch producer = producer_of(*batch);
    if (producer.producer != protocol::kNoProducer && producer.base_sequence >= 0) {
        const storage::CheckResult check = stream.log->producers().check(producer);
        switch (check.verdict) {
            case storage::SequenceCheck::kNew:
                break;
            case storage::SequenceCheck::kDuplicate:
                if (protocol::planted(protocol::Bug::kDuplicateAfterFailover) && check.duplicate_of &&
                    stream.log->epochs().view_at(*check.duplicate_of) != view_.number)
                    break;
                return answer_repeated(stream, check.duplicate_of.value_or(Offset{-1}), acks, std::move(done));
            case storage::SequenceCheck::kGap:
                if (acks == proto::NONE || acks == proto::OWNER) break;
                if (protocol::planted(protocol::Bug::kGapAccepted)) break;
                return done(protocol::fail(
                    ErrorCode::kSequenceGap,
                    "sequence {} of producer {} does not follow the last one appended: send the earlier batch again",
                    producer.base_sequence, producer.producer));
            case storage::SequenceCheck::kFenced:
                return done(
                    protocol::fail(ErrorCode::kFenced, "a newer instance of producer {} took over", producer.producer));
        }
    }
    append(stream, std::move(bytes), acks, std::move(done));
}

void OwnSession::produce_orphan(Stream& stream, const protocol::BatchView& batch, const OrphanOrigin& origin,
                                Replicator::ProduceHandler done) {
    // A fence that was not acknowledged opened its epoch for nobody.
    if (batch.is_control()) return answer_repeated(stream, batch.base_offset(), proto::QUORUM, std::move(done));
    auto pieces = protocol::orphan_pieces(batch, kOrphanPieceBytes, protocol::kMaxStoredRecordsBytes);
    if (!pieces) return done(std::unexpected(pieces.error()));
    produce_next_piece(stream.id, std::make_shared<OrphanPieces>(*std::move(pieces), 0, origin, std::move(done)));
}

void OwnSession::produce_next_piece(StreamId id, std::shared_ptr<OrphanPieces> orphan) {
    Stream* stream = core_.streams.find(id);
    if (stream == nullptr) return orphan->done(protocol::fail(ErrorCode::kUnknownTopic, "the topic is deleted"));
    const auto piece = protocol::BatchView::parse(orphan->pieces[orphan->next++]);
    if (!piece) return orphan->done(std::unexpected(piece.error()));
    const auto then = [this, id, orphan](const Result<Offset>& appended) {
        if (!appended || orphan->next == orphan->pieces.size()) return orphan->done(appended);
        produce_next_piece(id, orphan);
    };
    produce_piece(*stream, *piece, orphan->origin, lifetime_.guard(then));
}

void OwnSession::produce_piece(Stream& stream, const protocol::BatchView& batch, const OrphanOrigin& origin,
                               Replicator::ProduceHandler done) {
    constexpr std::size_t kMaxBytes = protocol::kMaxStoredRecordsBytes;
    const ClusterId lineage = origin.lineage;
    const storage::StreamLog& log = *stream.log;
    auto orphan = protocol::as_orphan(batch, lineage, kMaxBytes);
    if (!orphan) return done(std::unexpected(orphan.error()));
    auto parsed = protocol::BatchView::parse(*orphan);
    if (!parsed) return done(std::unexpected(parsed.error()));
    auto key = protocol::orphan_key(*parsed, kMaxBytes);
    if (!key || !*key) return done(protocol::fail(ErrorCode::kCorrupt, "an orphan without its key"));
    const bool same_place = batch.base_offset() < log.log_end() && lineage == core_.record.cluster &&
                            log.epochs().view_at(batch.base_offset()) == batch.leader_epoch();
    if (protocol::planted(protocol::Bug::kOrphanTwice))
        return append(stream, *std::move(orphan), proto::QUORUM, std::move(done));
    const storage::ProducerBatch sent = producer_of(batch);
    const storage::Standing standing = log.producers().standing(sent);
    if (same_place || log.has_orphan(**key) || standing == storage::Standing::kPresent ||
        standing == storage::Standing::kSentAgain)
        return answer_repeated(stream, batch.base_offset(), proto::QUORUM, std::move(done));
    if (standing == storage::Standing::kAbsent)
        return append(stream, *std::move(orphan), proto::QUORUM, std::move(done));
    // Retention has removed what was appended since: the batch may have been among that, and is as old.
    if (origin.departed_at < log.log_start())
        return done(
            protocol::fail(ErrorCode::kInvalid,
                           "what was appended since it lost its place was deleted by retention: it may have been "
                           "read there"));
    search(stream, origin.departed_at, std::make_shared<Search>(sent, **key, *std::move(orphan), std::move(done)));
}

// The tables have forgotten what the orphan's producer sent then, so the log itself is read: if the batch came another
// way it stands behind the offset where the orphan's log departed. What is appended meanwhile is read too.
void OwnSession::search(Stream& stream, Offset from, std::shared_ptr<Search> search) {
    if (stream.log->has_orphan(search->key))
        return answer_repeated(stream, search->key.offset, proto::QUORUM, std::move(search->done));
    if (from >= stream.log->log_end())
        return append(stream, std::move(search->orphan), proto::QUORUM, std::move(search->done));
    stream.log->read(
        from, stream.log->log_end(), kSearchBytes, lifetime_.guard([this, id = stream.id, search](auto batches) {
            Stream* again = core_.streams.find(id);
            if (!batches)
                return search->done(
                    protocol::fail(ErrorCode::kBusy, "the log cannot be read now: {}", batches.error().message));
            if (again == nullptr) return search->done(protocol::fail(ErrorCode::kUnknownTopic, "the topic is deleted"));
            Offset next;
            for (const Bytes& bytes : *batches) {
                auto batch = protocol::BatchView::parse(bytes);
                if (!batch)
                    return search->done(
                        protocol::fail(ErrorCode::kBusy, "the log is damaged: {}", batch.error().message));
                const Answer answer = answer_of(*batch, search->sent);
                if (answer == Answer::kDoubt)
                    return search->done(protocol::fail(ErrorCode::kInvalid,
                                                       "a later instance of its producer resumed and may have sent it "
                                                       "again, or something else in its place"));
                if (answer != Answer::kNothing)
                    return answer_repeated(*again, batch->base_offset(), proto::QUORUM, std::move(search->done));
                next = batch->next_offset();
            }
            if (batches->empty())
                return search->done(protocol::fail(ErrorCode::kBusy, "the log cannot be read; retry"));
            this->search(*again, next, search);
        }));
}

void OwnSession::append(Stream& stream, Bytes batch, proto::Acks acks, Replicator::ProduceHandler done) {
    // Nobody waits for acks=none, but it is in the queue.
    const std::size_t queued_bytes = queue_.size() * view_.frame_bytes;
    const std::size_t limit = core_.settings.max_pending_bytes;
    // Alone one of any size goes through: an orphan may have outgrown the limit.
    const bool too_many_bytes = waiting_bytes_ > 0 && waiting_bytes_ + batch.size() > limit;
    if (too_many_bytes || queued_bytes > limit || pending_.full() || commits_.full())
        return done(protocol::fail(ErrorCode::kBusy,
                                   "{} bytes await acknowledgement and {} await sending; limits.pending_bytes is {}; "
                                   "retry",
                                   waiting_bytes_, queued_bytes, limit));
    const Offset base = stream.log->log_end();
    protocol::assign(batch, base, view_.number);
    // A clock that was set back makes nothing old: what comes later is not older.
    const std::int64_t now_ms = std::max(core_.clocks.now_ms(), stream.log->newest_append_ms());
    if (auto appended = stream.log->append(batch, now_ms); !appended) return done(std::unexpected(appended.error()));
    const std::size_t bytes = batch.size();
    const std::int64_t records = stream.log->log_end() - base;
    counters_.records_appended += static_cast<std::uint64_t>(records);
    counters_.payload_bytes += bytes;
    told_ = acks_.committed();
    told_at_ = core_.env.now();
    last_added_ = packer_.add(stream.id, told_, now_ms, std::move(batch), queue_);
    const bool has_room = commits_.push(last_added_, stream.id, stream.log->log_end());
    LS_ASSERT(has_room);  // it is bounded with pending_ and queue_
    schedule_pump();
    if (acks == proto::NONE) return done(base);
    wait(acks, last_added_, base, bytes, std::move(done));
}

// A retry that was recognised is answered when the original is: by the same acks, not before.
void OwnSession::answer_repeated(const Stream& stream, Offset base_offset, proto::Acks acks,
                                 Replicator::ProduceHandler done) {
    if (acks == proto::NONE) return done(base_offset);
    if (acks == proto::ALL && accepted_.size() < view_.members.size())
        return done(
            protocol::fail(ErrorCode::kUnknown, "not every member has installed view {} yet; retry", view_.number));
    const bool stands = stream.high_watermark == stream.log->log_end() && acks == proto::QUORUM;
    if (stands) return done(base_offset);
    wait(acks, last_added_, base_offset, 0, std::move(done));
    schedule_pump();
}

void OwnSession::wait(proto::Acks acks, Sequence sequence, Offset base_offset, std::size_t bytes,
                      Replicator::ProduceHandler done) {
    const Cookie cookie{++last_cookie_};
    if (!pending_.add(level_of(acks), sequence, cookie))
        return done(protocol::fail(ErrorCode::kUnknown, "too many requests are queued; retry"));
    waiting_bytes_ += bytes;
    waiting_.emplace(cookie, Waiting{std::move(done), base_offset, bytes});
}

void OwnSession::abandon(const std::string& reason) {
    pending_.take_all();
    for (auto& [cookie, waiting] : std::exchange(waiting_, {}))
        waiting.done(protocol::fail(ErrorCode::kUnknown, "{}", reason));
}

// At the end of this turn of the loop, so that what one turn brought shares frames, system calls and a flush.
void OwnSession::schedule_pump() {
    if (pump_timer_.value != 0) return;
    pump_timer_ = core_.env.set_timer(Duration{0}, [this] {
        pump_timer_ = {};
        pump();
    });
}

void OwnSession::pump() {
    if (packer_.open()) packer_.flush(queue_);  // a frame that is flushed to the disk takes no more messages
    flush();
    const protocol::TimePoint now = core_.env.now();
    std::vector<protocol::OutFrame> frames;
    retransmit_.poll(ring_, now, frames);
    counters_.frames_resent += frames.size();
    while (!queue_.empty() && !window_is_full()) {
        const protocol::OutFrame& frame = ring_.append(std::move(queue_.front()));
        queue_.pop_front();
        ++counters_.frames_sent;
        counters_.bytes_sent += frame.size();
        frames.push_back(frame);
        if (frames.size() == kFramesPerSend) {
            transmit(frames);
            frames.clear();
        }
    }
    if (!frames.empty()) transmit(frames);
    acks_.sent(ring_.last_sent(), now);
    core_.env.cancel_timer(resend_timer_);
    resend_timer_ = {};
    if (const protocol::TimePoint next = retransmit_.next_deadline(); next != protocol::TimePoint::max())
        resend_timer_ = core_.env.set_timer(next - now, [this] { pump(); });
    settle();
}

void OwnSession::transmit(std::span<const protocol::OutFrame> frames) {
    if (view_.multicast) return core_.env.multicast(frames);
    for (const view::Member& member : view_.members) {
        if (member.id == core_.self.id) continue;
        for (const protocol::OutFrame& frame : frames) {
            OutMessage message{MessageType::kReplicate, 0, Correlation{}, {}, {frame.head}};
            if (!frame.tail.empty()) message.body.push_back(frame.tail);
            core_.links.send(address_of(member), std::move(message));
        }
    }
}

void OwnSession::flush() {
    if (flush_asked_ == last_added_) return;
    flush_asked_ = last_added_;
    core_.store.flush(lifetime_.guard([this, durable = last_added_](Result<void> flushed) {
        if (!flushed) return core_.fatal(flushed.error());
        acks_.own_durable(durable, core_.env.now());
        settle();
    }));
}

bool OwnSession::window_is_full() const { return !queue_.empty() && !ring_.can_send(queue_.front().frame.size()); }

// Acts on what has become durable, committed and stable.
void OwnSession::settle() {
    commits_.advance(acks_.committed(), [this](StreamId id, Offset end) {
        if (Stream* stream = core_.streams.find(id)) core_.streams.advance(*stream, end);
    });
    tell_committed();
    ring_.release(acks_.stable());
    for (Cookie cookie : pending_.take_ready(acks_.own(), acks_.committed(), acks_.stable())) {
        auto node = waiting_.extract(cookie);
        if (node.empty()) continue;
        waiting_bytes_ -= node.mapped().bytes;
        node.mapped().done(node.mapped().base_offset);
    }
    core_.store.set_pending_bytes(waiting_bytes_);
    stalls_.update(window_is_full() ? acks_.only_one_behind() : std::nullopt, core_.env.now());
    if (!queue_.empty() && !window_is_full()) schedule_pump();
}

// What is committed last would be readable elsewhere only with the next heartbeat.
void OwnSession::tell_committed() {
    if (acks_.committed() <= told_ || news_timer_.value != 0) return;
    news_timer_ = core_.env.set_timer(told_at_ + kNewsAfter - core_.env.now(), [this] {
        news_timer_ = {};
        if (core_.env.now() - told_at_ < kNewsAfter) return tell_committed();
        if (acks_.committed() <= told_) return;
        told_ = acks_.committed();
        told_at_ = core_.env.now();
        news_();
    });
}

void OwnSession::on_ack(const proto::ReplicateAck& ack) {
    const NodeId member{ack.node()};
    accepted_.insert(member);
    if (protocol::planted(protocol::Bug::kOldViewAckCounted) && ack.view() < view_.number.value) {
        acks_.update(member, ring_.last_sent(), ring_.last_sent(), core_.env.now());
        return settle();
    }
    if (acks_.update(member, Sequence{ack.durable_sequence()}, Sequence{ack.received_sequence()}, core_.env.now()) ==
        replication::AckTracker::Update::kAdvanced)
        settle();
}

void OwnSession::on_member_alive(NodeId member) { accepted_.insert(member); }

void OwnSession::on_nack(const proto::Nack& nack, Endpoint from) {
    if (protocol::planted(protocol::Bug::kNackIgnored)) return;
    std::vector<replication::SequenceRange> ranges;
    for (const proto::SequenceRange& range : nack.ranges())
        ranges.push_back({Sequence{range.first()}, Sequence{range.last()}});
    if (const auto gone = retransmit_.on_nack(ranges, ring_, core_.env.now())) {
        proto::NackGone out;
        out.set_cluster_id(core_.record.cluster.value);
        out.set_view(view_.number.value);
        out.set_view_id(view_.id.value);
        out.set_first_available(gone->value);
        out.set_sender(core_.self.id.value);
        out.set_nonce(nack.nonce());
        if (from.port != 0) {
            const protocol::FrameHeader header{MessageType::kNackGone,
                                               0,
                                               protocol::cluster_tag(core_.settings.cluster),
                                               view_.number,
                                               core_.self.id,
                                               {},
                                               view_.id};
            core_.env.send_datagram(from, {protocol::encode_frame(header, out), {}});
        } else if (const view::Member* member = view_.find(NodeId{nack.node()})) {
            core_.links.send(address_of(*member), protocol::request(MessageType::kNackGone, Correlation{}, out));
        }
    }
    core_.env.log().debug("REPLICATE retransmit ranges={} for={}", ranges.size(), protocol::hex(nack.node()));
    pump();
}

std::optional<NodeId> OwnSession::slow() {
    const protocol::TimePoint now = core_.env.now();
    const auto slowest = acks_.slowest(now);
    if (slowest && slowest->behind_for > core_.settings.slow_member_timeout) return slowest->node;
    return stalls_.over(now);
}

}  // namespace logstream::node
