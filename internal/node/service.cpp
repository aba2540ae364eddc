#include "internal/node/service.h"

#include <algorithm>

#include "internal/node/node.h"
#include "internal/node/service_answers.h"
#include "internal/protocol/planted.h"

namespace logstream::node {

using protocol::Bytes;
using protocol::TopicId;

namespace {
constexpr std::size_t kMaxWaitingFetches = 10'000;
constexpr std::size_t kMaxFetchBytes = 16u << 20;
constexpr Duration kMaxWait = std::chrono::seconds(60);
}  // namespace

Service::Service(Node& node) : node_(node), core_(node.core()) {
    core_.streams.on_advanced([this](Stream& stream) { wake(stream); });
}

void Service::on_closed(env::ConnectionId connection, const Error&) {
    refused_.erase(connection);
    node_.introductions().forget(connection);
}

void Service::close(env::ConnectionId connection) {
    core_.env.close(connection);
    refused_.erase(connection);
    node_.introductions().forget(connection);
}

std::size_t Service::waiting_fetches() const {
    std::size_t count = 0;
    for (const auto& [id, fetches] : waiting_) count += fetches.size();
    return count;
}

void Service::reassign(const Caller& caller, StreamId stream) {
    proto::ReassignBroker out;
    out.set_topic(stream.topic.value);
    out.set_partition(stream.partition);
    if (const auto& view = node_.current_view()) out.set_view(view->number.value);
    if (const view::Member* owner = node_.owner_of(stream)) *out.mutable_owner() = view::to_proto(*owner);
    core_.env.send(
        caller.connection,
        OutMessage{MessageType::kReassignBroker, protocol::kResponse, caller.correlation, out.SerializeAsString(), {}});
}

std::optional<Error> Service::wrong_cluster(std::uint64_t cluster_id) const {
    if (cluster_id == core_.record.cluster.value) return std::nullopt;
    return Error{ErrorCode::kWrongCluster,
                 fmt::format("this broker belongs to lineage {}, the request names {}: they are different histories",
                             to_string(core_.record.cluster), protocol::hex(cluster_id))};
}

void Service::on_client(const Caller& caller, Message& message) {
    const auto parsed = [&](auto& request) {
        if (message.parse(request)) return true;
        close(caller.connection);
        return false;
    };
    switch (message.type) {
        case MessageType::kMetadata:
            if (proto::Metadata m; parsed(m)) on_metadata(caller, m);
            break;
        case MessageType::kProduce:
            if (proto::Produce m; parsed(m)) on_produce(caller, m, std::move(message.body));
            break;
        case MessageType::kFetch:
            if (proto::Fetch m; parsed(m)) m.catch_up_limit() > 0 ? on_catch_up(caller, m) : on_fetch(caller, m);
            break;
        case MessageType::kListOffsets:
            if (proto::ListOffsets m; parsed(m)) on_list_offsets(caller, m);
            break;
        case MessageType::kSubscribe:
        case MessageType::kCommitOffsets:
            on_group(caller, message);
            break;
        case MessageType::kTopics:
            if (proto::Topics m; parsed(m)) on_topics(caller, m);
            break;
        case MessageType::kStatus: {
            proto::StatusResponse response;
            response.set_json(node_.status_json());
            answer(caller, response);
            break;
        }
        case MessageType::kAdmin:
            if (proto::Admin m; parsed(m)) answer(caller, node_.on_admin(m));
            break;
        case MessageType::kVerify:
            if (proto::Verify m; parsed(m)) on_verify(caller, m);
            break;
        case MessageType::kProducerState:
            if (proto::ProducerState m; parsed(m)) on_producer_state(caller, m);
            break;
        default:
            core_.env.log().warn("CLIENT sent a message of unknown type {}; closed", static_cast<int>(message.type));
            close(caller.connection);
    }
}

Error Service::unknown_topic() const {
    if (!node_.topics().reader().caught_up())
        return {ErrorCode::kBusy, "this broker is still reading what topics there are; retry"};
    return {ErrorCode::kUnknownTopic, "there is no such topic or partition here"};
}

void Service::on_produce(const Caller& caller, const proto::Produce& request, Bytes body) {
    const StreamId id{TopicId{request.topic()}, request.partition()};
    std::set<StreamId>& refused = refused_[caller.connection];
    auto batch = protocol::BatchView::parse(body);
    const auto refuse_batch = [&](const Error& error) {
        if (request.acks() != proto::NONE) refuse<proto::ProduceResponse>(caller, error);
    };
    if (!batch) return refuse_batch(batch.error());
    const bool anonymous = batch->producer_id() == protocol::kNoProducer;
    if (anonymous && refused.contains(id))
        return refuse_batch(
            {ErrorCode::kSequenceGap, "a batch sent before this one was refused; open a new connection"});
    if (anonymous) refused.insert(id);  // taken back below when the batch is appended
    if (body.size() > core_.settings.batch_bytes)
        return refuse_batch({ErrorCode::kTooLarge, fmt::format("a batch of {} bytes; limits.batch_bytes is {}",
                                                               body.size(), core_.settings.batch_bytes)});
    if (batch->is_orphan() || batch->is_control())
        return refuse_batch({ErrorCode::kInvalid, "a producer's batch has attributes that only brokers set"});
    if (!anonymous && batch->base_sequence() < 0)
        return refuse_batch({ErrorCode::kInvalid, "a batch with a producer id and without a sequence"});
    if (!batch->crc_ok()) return refuse_batch({ErrorCode::kCorrupt, "the batch does not match its checksum"});
    Stream* stream = writable<proto::ProduceResponse>(caller, request.cluster_id(), id);
    if (stream == nullptr) return;
    if (anonymous) refused.erase(id);
    node_.replicator().produce(*stream, std::move(body), request.acks(),
                               [this, caller, id, anonymous, acks = request.acks()](const Result<Offset>& appended) {
                                   if (!appended && anonymous)
                                       if (const auto known = refused_.find(caller.connection); known != refused_.end())
                                           known->second.insert(id);
                                   if (acks == proto::NONE) return;
                                   if (!appended) return refuse<proto::ProduceResponse>(caller, appended.error());
                                   proto::ProduceResponse response;
                                   response.set_base_offset(appended->value);
                                   answer(caller, response);
                               });
}

void Service::on_orphan(const Caller& caller, const proto::Orphan& request, const Bytes& body) {
    const StreamId id{TopicId{request.topic()}, request.partition()};
    auto batch = protocol::BatchView::parse(body);
    if (!batch || !batch->crc_ok())
        return refuse<proto::ProduceResponse>(caller, {ErrorCode::kCorrupt, "a damaged orphan"});
    Stream* stream = writable<proto::ProduceResponse>(caller, request.cluster_id(), id);
    if (stream == nullptr) return;
    node_.replicator().produce_orphan(*stream, *batch, {ClusterId{request.lineage()}, Offset{request.departed_at()}},
                                      [this, caller](const Result<Offset>& appended) {
                                          if (!appended)
                                              return refuse<proto::ProduceResponse>(caller, appended.error());
                                          proto::ProduceResponse response;
                                          response.set_base_offset(appended->value);
                                          answer(caller, response);
                                      });
}

// A fence is a control batch that only opens the producer's next epoch: once it is committed, no older instance can
// append any more, and what it appended is known. Of one that resumes, what comes of older instances later is dropped.
void Service::on_producer_state(const Caller& caller, const proto::ProducerState& request) {
    using Response = proto::ProducerStateResponse;
    const StreamId id{TopicId{request.topic()}, request.partition()};
    Stream* stream = writable<Response>(caller, request.cluster_id(), id);
    if (stream == nullptr) return;
    const protocol::ProducerId producer{request.producer_id()};
    const storage::ProducerTable& producers = stream->log->producers();
    const int next = request.epoch() >= 0 ? request.epoch() : producers.epoch_of(producer).value_or(-1) + 1;
    if (producer.value < 0 || next > 0x7fff || next <= producers.epoch_of(producer).value_or(-1))
        return refuse<Response>(caller, {ErrorCode::kFenced, "a newer instance of this producer took over"});
    if (request.resumes() && !producers.epoch_of(producer) && producers.has_forgotten_a_name())
        return refuse<Response>(
            caller, {ErrorCode::kInvalid,
                     fmt::format("partition {} of this topic has had more named producers than limits.producers lets "
                                 "it remember: whether this one sent anything is not known. Use another topic, or "
                                 "send all without --resume",
                                 request.partition())});
    const auto epoch = static_cast<std::int16_t>(next);
    const std::int32_t last = producers.last_sequence_of(producer);
    const bool resumes = request.resumes() && !protocol::planted(protocol::Bug::kResumeIgnored);
    protocol::BatchBuilder builder({.producer_id = producer,
                                    .producer_epoch = epoch,
                                    .base_sequence = resumes ? protocol::kResumeSequence : -1,
                                    .control = true});
    builder.add(core_.env.wall_clock_ms(), std::nullopt, std::nullopt);
    auto fence = builder.finish();
    if (!fence) return refuse<Response>(caller, fence.error());
    node_.replicator().produce(*stream, *std::move(fence), proto::QUORUM,
                               [this, caller, epoch, last](const Result<Offset>& appended) {
                                   if (!appended) return refuse<Response>(caller, appended.error());
                                   Response response;
                                   response.set_epoch(epoch);
                                   response.set_last_sequence(last);
                                   answer(caller, response);
                               });
}

void Service::on_fetch(const Caller& caller, const proto::Fetch& request) {
    const StreamId id{TopicId{request.topic()}, request.partition()};
    Stream* stream = readable<proto::FetchResponse>(caller, request.cluster_id(), id, request.any_replica());
    if (stream == nullptr) return;
    const Offset offset{request.offset()};
    if (offset < stream->log->log_start() || offset > stream->log->log_end()) {
        return refuse<proto::FetchResponse>(
            caller, {ErrorCode::kOffsetOutOfRange, fmt::format("offset {} is not held: the log has {} to {}", offset,
                                                               stream->log->log_start(), stream->high_watermark)});
    }
    const WaitingFetch fetch{
        caller, offset, std::clamp<std::size_t>(request.max_bytes(), 1, kMaxFetchBytes),
        core_.env.now() + std::min<Duration>(std::chrono::milliseconds(request.max_wait_ms()), kMaxWait)};
    if (offset < stream->high_watermark) return read(fetch, id);
    if (request.max_wait_ms() == 0) return send_records(fetch, *stream, {});
    if (waiting_fetches() >= kMaxWaitingFetches)
        return refuse<proto::FetchResponse>(caller, {ErrorCode::kBusy, "too many readers wait on this broker"});
    waiting_[id].push_back(fetch);
    core_.env.set_timer(fetch.deadline - core_.env.now(), [this, id, weak = std::weak_ptr<bool>(alive_)] {
        if (weak.lock()) expire(id);
    });
}

void Service::read(const WaitingFetch& fetch, StreamId id) {
    Stream* stream = core_.streams.find(id);
    if (stream == nullptr)
        return refuse<proto::FetchResponse>(fetch.caller, {ErrorCode::kUnknownTopic, "the topic is gone"});
    if (auto cached = stream->log->read_cached(fetch.offset, stream->high_watermark, fetch.max_bytes))
        return send_records(fetch, *stream, *std::move(cached));
    stream->log->read(fetch.offset, stream->high_watermark, fetch.max_bytes,
                      [this, fetch, id, weak = std::weak_ptr<bool>(alive_)](Result<storage::Batches> batches) {
                          if (!weak.lock()) return;
                          if (!batches) return refuse<proto::FetchResponse>(fetch.caller, batches.error());
                          if (Stream* again = core_.streams.find(id)) send_records(fetch, *again, *std::move(batches));
                      });
}

void Service::send_records(const WaitingFetch& fetch, const Stream& stream, std::vector<Bytes> batches) {
    proto::FetchResponse response;
    response.set_high_watermark(stream.high_watermark.value);
    response.set_log_start(stream.log->log_start().value);
    answer(fetch.caller, response, std::move(batches));
}

void Service::wake(Stream& stream) {
    const auto found = waiting_.find(stream.id);
    if (found == waiting_.end()) return;
    std::vector<WaitingFetch> ready;
    std::erase_if(found->second, [&](const WaitingFetch& fetch) {
        if (fetch.offset >= stream.high_watermark) return false;
        ready.push_back(fetch);
        return true;
    });
    if (found->second.empty()) waiting_.erase(found);
    for (const WaitingFetch& fetch : ready) read(fetch, stream.id);
}

void Service::expire(StreamId id) {
    const auto found = waiting_.find(id);
    Stream* stream = core_.streams.find(id);
    if (found == waiting_.end()) return;
    const protocol::TimePoint now = core_.env.now();
    std::erase_if(found->second, [&](const WaitingFetch& fetch) {
        if (fetch.deadline > now) return false;
        if (stream != nullptr) send_records(fetch, *stream, {});
        return true;
    });
    if (found->second.empty()) waiting_.erase(found);
}

void Service::on_freeze() {
    for (const auto& [id, fetches] : std::exchange(waiting_, {}))
        if (const Stream* stream = core_.streams.find(id))
            for (const WaitingFetch& fetch : fetches) send_records(fetch, *stream, {});
}

// What a broker reads to catch up: records up to its limit, committed or not.
void Service::on_catch_up(const Caller& caller, const proto::Fetch& request) {
    using Response = proto::FetchResponse;
    if (const auto error = wrong_cluster(request.cluster_id())) return refuse<Response>(caller, *error);
    Stream* stream = core_.streams.find({TopicId{request.topic()}, request.partition()});
    if (stream == nullptr)
        return refuse<Response>(caller, {ErrorCode::kUnknownTopic, "this broker does not hold the stream"});
    const auto reply = [this, caller, id = stream->id, weak = std::weak_ptr<bool>(alive_)](
                           Result<std::vector<Bytes>> body, std::optional<Offset> start = std::nullopt) {
        if (!weak.lock()) return;
        if (!body) return refuse<Response>(caller, body.error());
        const Stream* again = core_.streams.find(id);
        if (again == nullptr) return;
        Response response;
        response.set_high_watermark(again->high_watermark.value);
        response.set_log_start(start.value_or(again->log->log_start()).value);
        answer(caller, response, *std::move(body));
    };
    if (request.start_tables()) {
        stream->log->start_tables([reply](Result<storage::StreamLog::StartTables> found) {
            if (!found) return reply(std::unexpected(found.error()));
            reply(std::vector<Bytes>{std::move(found->tables)}, found->start);
        });
        return;
    }
    const Offset limit = std::min(Offset{request.catch_up_limit()}, stream->log->log_end());
    const Offset from{request.offset()};
    if (from < stream->log->log_start() || from >= limit)
        return refuse<Response>(
            caller, {ErrorCode::kOffsetOutOfRange, fmt::format("offsets {} to {} are not held", from, limit)});
    stream->log->read(from, limit, std::clamp<std::size_t>(request.max_bytes(), 1, kMaxFetchBytes), reply);
}

}  // namespace logstream::node
