#include "internal/node/service.h"

#include <algorithm>

#include "internal/node/node.h"
#include "internal/node/service_answers.h"
#include "internal/protocol/planted.h"
#include "internal/protocol/record_check.h"

namespace logstream::node {

using protocol::Bytes;
using protocol::TopicId;

namespace {
constexpr std::size_t kMaxWaitingFetches = 10'000;
constexpr std::size_t kMaxFetchBytes = 16u << 20;
constexpr Duration kMaxWait = std::chrono::seconds(60);

std::optional<Offset> last_offset_of(const Bytes& bytes) {
    const auto batch = protocol::BatchView::parse(bytes);
    return batch ? std::optional(batch->last_offset()) : std::nullopt;
}
}  // namespace

Service::Service(Node& node) : node_(node), core_(node.core()), door_(core_.settings, core_.env.log()) {
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
                 fmt::format("this broker belongs to lineage {}, the request names {}: these are different histories",
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
            if (proto::Metadata m; parsed(m)) on_metadata(caller, std::move(m));
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
        case MessageType::kGroups:
            on_groups_owner(caller, message);
            break;
        case MessageType::kTopics:
            if (proto::Topics m; parsed(m)) on_topics(caller, m);
            break;
        case MessageType::kStatus:
            if (proto::Status m; parsed(m)) {
                proto::StatusResponse response;
                response.set_json(m.views() ? node_.views_json() : node_.status_json());
                answer(caller, response);
            }
            break;
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
    if (const auto error = door_.check(*batch, core_.clocks.now_ms(), core_.env.now())) return refuse_batch(*error);
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
    if (!batch) return refuse<proto::ProduceResponse>(caller, {ErrorCode::kCorrupt, "a damaged orphan"});
    const auto checked = protocol::check_batch(*batch, protocol::OffsetRule::kRising, protocol::kMaxStoredRecordsBytes);
    if (!checked) return refuse<proto::ProduceResponse>(caller, checked.error());
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
    WaitingFetch fetch{
        caller, offset, std::clamp<std::size_t>(request.max_bytes(), 1, kMaxFetchBytes), request.any_replica(),
        core_.env.now() + std::min<Duration>(std::chrono::milliseconds(request.max_wait_ms()), kMaxWait)};
    if (offset < stream->high_watermark) return read(fetch, id);
    if (request.max_wait_ms() == 0) return send_records(fetch, *stream, {});
    if (waiting_fetches_ >= kMaxWaitingFetches)
        return refuse<proto::FetchResponse>(caller, {ErrorCode::kBusy, "too many readers wait on this broker"});
    fetch.timer = core_.env.set_timer(fetch.deadline - core_.env.now(), lifetime_.guard([this, id] { expire(id); }));
    waiting_[id].push_back(fetch);
    ++waiting_fetches_;
}

void Service::waits_no_more(const WaitingFetch& fetch) {
    core_.env.cancel_timer(fetch.timer);
    --waiting_fetches_;
}

void Service::read(const WaitingFetch& fetch, StreamId id) {
    Stream* stream = core_.streams.find(id);
    if (stream == nullptr) return end_wait(fetch, id);
    if (auto cached = stream->log->read_cached(fetch.offset, stream->high_watermark, fetch.max_bytes))
        return send_records(fetch, *stream, *std::move(cached));
    stream->log->read(fetch.offset, stream->high_watermark, fetch.max_bytes,
                      lifetime_.guard([this, fetch, id](Result<storage::Batches> batches) {
                          if (!batches) return refuse<proto::FetchResponse>(fetch.caller, batches.error());
                          Stream* again = core_.streams.find(id);
                          if (again == nullptr) return end_wait(fetch, id);
                          send_records(fetch, *again, *std::move(batches));
                      }));
}

void Service::send_records(const WaitingFetch& fetch, const Stream& stream, std::vector<Bytes> batches) {
    const auto history = this->history();
    if (history && !fetch.any_replica) return refuse<proto::FetchResponse>(fetch.caller, *history);
    proto::FetchResponse response;
    response.set_high_watermark(stream.high_watermark.value);
    response.set_log_start(stream.log->log_start().value);
    if (history) *response.mutable_history() = to_proto(*history);
    answer(fetch.caller, response, std::move(batches));
}

void Service::end_wait(const WaitingFetch& fetch, StreamId id) {
    if (const Stream* stream = core_.streams.find(id)) return send_records(fetch, *stream, {});
    refuse<proto::FetchResponse>(fetch.caller, {ErrorCode::kUnknownTopic, "the topic was deleted"});
}

std::optional<Error> Service::history() const {
    if (protocol::planted(protocol::Bug::kMinorityReads)) return std::nullopt;
    return node_.history();
}

void Service::tick() {
    if (waiting_.empty()) return;
    const bool history = this->history().has_value();
    std::vector<StreamId> ids;
    for (auto& [id, fetches] : waiting_) {
        const bool gone = core_.streams.find(id) == nullptr;
        for (WaitingFetch& fetch : fetches)
            if (gone || (history && !fetch.any_replica)) fetch.deadline = {};
        if (gone || history) ids.push_back(id);
    }
    for (const StreamId id : ids) expire(id);
}

void Service::wake(Stream& stream) {
    const auto found = waiting_.find(stream.id);
    if (found == waiting_.end()) return;
    std::vector<WaitingFetch> ready;
    std::erase_if(found->second, [&](const WaitingFetch& fetch) {
        if (fetch.offset >= stream.high_watermark) return false;
        waits_no_more(fetch);
        ready.push_back(fetch);
        return true;
    });
    if (found->second.empty()) waiting_.erase(found);
    for (const WaitingFetch& fetch : ready) read(fetch, stream.id);
}

void Service::expire(StreamId id) {
    const auto found = waiting_.find(id);
    if (found == waiting_.end()) return;
    const protocol::TimePoint now = core_.env.now();
    std::erase_if(found->second, [&](const WaitingFetch& fetch) {
        if (fetch.deadline > now) return false;
        waits_no_more(fetch);
        end_wait(fetch, id);
        return true;
    });
    if (found->second.empty()) waiting_.erase(found);
}

void Service::on_freeze() {
    for (const auto& [id, fetches] : std::exchange(waiting_, {}))
        for (const WaitingFetch& fetch : fetches) {
            waits_no_more(fetch);
            end_wait(fetch, id);
        }
}

// What a broker reads to catch up: records up to its limit, committed or not.
void Service::on_catch_up(const Caller& caller, const proto::Fetch& request) {
    using Response = proto::FetchResponse;
    if (const auto error = wrong_cluster(request.cluster_id())) return refuse<Response>(caller, *error);
    Stream* stream = core_.streams.find({TopicId{request.topic()}, request.partition()});
    if (stream == nullptr)
        return refuse<Response>(caller, {ErrorCode::kUnknownTopic, "this broker does not hold the stream"});
    const auto reply = [this, caller, id = stream->id, service = lifetime_.observe()](
                           Result<std::vector<Bytes>> body, std::optional<Offset> start = std::nullopt) {
        if (service.expired()) return;
        if (!body) return refuse<Response>(caller, body.error());
        const Stream* again = core_.streams.find(id);
        if (again == nullptr) return;
        Response response;
        response.set_high_watermark(again->high_watermark.value);
        response.set_log_start(start.value_or(again->log->log_start()).value);
        if (const auto last = body->empty() ? std::nullopt : last_offset_of(body->back()))
            response.set_appended_ms(again->log->appended_ms(*last));
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
