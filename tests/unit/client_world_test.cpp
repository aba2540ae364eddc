// The world of client_world.h, and that it is a fair one.
#include "client_world.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "internal/protocol/ids.h"

namespace logstream::client::test {

using protocol::OutMessage;

namespace {

template <class Response>
OutMessage refuse_with(const Message& message, const Error& error) {
    Response response;
    response.mutable_error()->set_code(static_cast<std::uint32_t>(error.code));
    response.mutable_error()->set_message(error.message);
    return protocol::respond(message, response);
}
}  // namespace

ConnectionId FakeEnv::connect(Endpoint to, Duration timeout, env::ConnectionHandler& handler) {
    const ConnectionId id{++last_id_};
    connections_[id] = {to, &handler, false};
    const Listener& listener = listeners_[to];
    const bool dead = listener.silent;
    set_timer(dead ? timeout : 2 * kLatency, [this, id, dead] {
        const auto found = connections_.find(id);
        if (found == connections_.end()) return;
        Connection& connection = found->second;
        if (!dead && listeners_[connection.to].up) {
            connection.up = true;
            return connection.handler->on_connected(id);
        }
        env::ConnectionHandler* told = connection.handler;
        connections_.erase(found);
        told->on_closed(id, {ErrorCode::kNetwork, dead ? "connecting timed out" : "connection refused"});
    });
    return id;
}

env::SendStatus FakeEnv::send(ConnectionId connection, OutMessage message) {
    const auto found = connections_.find(connection);
    if (found == connections_.end()) return env::SendStatus::kClosed;
    Message in{message.type, message.flags, message.correlation, Bytes::copy_of(message.header), {}};
    std::string body;
    for (const Bytes& piece : message.body) body.append(piece.view());
    in.body = Bytes::copy_of(body);
    set_timer(kLatency, [this, connection, to = found->second.to, in = std::move(in)]() mutable {
        const Listener& listener = listeners_[to];
        if (connections_.contains(connection) && listener.up && !listener.silent && listener.deliver)
            listener.deliver(connection, std::move(in));
    });
    return env::SendStatus::kOk;
}

void FakeEnv::reply(ConnectionId connection, const OutMessage& message) {
    Message in{message.type, message.flags, message.correlation, Bytes::copy_of(message.header), {}};
    std::string body;
    for (const Bytes& piece : message.body) body.append(piece.view());
    in.body = Bytes::copy_of(body);
    set_timer(kLatency, [this, connection, in = std::move(in)]() mutable {
        const auto found = connections_.find(connection);
        if (found != connections_.end() && !listeners_[found->second.to].silent)
            found->second.handler->on_message(connection, std::move(in));
    });
}

void FakeEnv::drain() {
    queued = 0;
    for (const auto& [id, connection] : connections_) connection.handler->on_writable(id);
}

void FakeEnv::break_connections(Endpoint at) {
    for (const auto& [id, connection] : connections_) {
        if (connection.to != at) continue;
        set_timer(kLatency, [this, id] {
            const auto found = connections_.find(id);
            if (found == connections_.end()) return;
            env::ConnectionHandler* told = found->second.handler;
            connections_.erase(found);
            told->on_closed(id, {ErrorCode::kNetwork, "connection reset"});
        });
    }
}

bool FakeEnv::step(TimePoint limit) {
    if (timers_.empty() || timers_.begin()->first.first > limit) {
        now_ = limit;
        return false;
    }
    auto node = timers_.extract(timers_.begin());
    now_ = std::max(now_, node.key().first);
    node.mapped()();
    return true;
}

std::size_t FakeEnv::said(std::string_view text) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        lines_->last_formatted(), [text](const std::string& line) { return line.find(text) != std::string::npos; }));
}

void FakeEnv::run_for(Duration time) {
    const TimePoint limit = now_ + time;
    while (step(limit)) {
    }
}

bool FakeEnv::run_until(const std::function<bool()>& done, Duration limit) {
    const TimePoint end = now_ + limit;
    while (!done() && step(end)) {
    }
    return done();
}

FakeCluster::FakeCluster(FakeEnv& env, int brokers, std::uint32_t partitions) : env_(env), logs_(partitions) {
    for (int broker = 1; broker <= brokers; ++broker) {
        members_.push_back(broker);
        env_.listener(endpoint(broker)).deliver = [this, broker](ConnectionId connection, const Message& message) {
            on_message(broker, connection, message);
        };
    }
    rebuild_ring();
}

std::vector<Endpoint> FakeCluster::endpoints() const {
    std::vector<Endpoint> out;
    for (const int broker : members_) out.push_back(endpoint(broker));
    return out;
}

int FakeCluster::owner(std::uint32_t partition) const {
    return static_cast<int>(ring_.owner({TopicId{topic_id_}, partition}).value);
}

void FakeCluster::rebuild_ring() {
    std::vector<NodeId> ids;
    for (const int broker : members_) ids.push_back(NodeId{static_cast<std::uint64_t>(broker)});
    ring_ = ring::HashRing(ids);
}

void FakeCluster::kill(int broker) {
    env_.listener(endpoint(broker)).up = false;
    env_.break_connections(endpoint(broker));
}

void FakeCluster::revive(int broker) {
    env_.listener(endpoint(broker)).up = true;
    env_.listener(endpoint(broker)).silent = false;
}

void FakeCluster::remove(int broker) {
    std::erase(members_, broker);
    rebuild_ring();
    ++view_number_;
}

std::vector<std::string> FakeCluster::values(std::uint32_t partition) const {
    std::vector<std::string> out;
    for (const Stored& stored : logs_[partition]) out.push_back(stored.value);
    return out;
}

void FakeCluster::append(std::uint32_t partition, const std::string& value) { logs_[partition].push_back({value, {}}); }

proto::View FakeCluster::view() const {
    proto::View out;
    out.set_number(view_number_);
    out.set_coordinator(static_cast<std::uint64_t>(members_.front()));
    for (const int broker : members_) {
        proto::Member* member = out.add_members();
        member->set_id(static_cast<std::uint64_t>(broker));
        protocol::put_ip(*member, endpoint(broker).ip);
        member->set_port(8001);
    }
    return out;
}

void FakeCluster::on_message(int broker, ConnectionId connection, const Message& message) {
    std::optional<OutMessage> answer;
    switch (message.type) {
        case MessageType::kMetadata:
            answer = on_metadata(broker, message);
            break;
        case MessageType::kProduce:
            answer = on_produce(broker, message);
            break;
        case MessageType::kFetch:
            answer = on_fetch(broker, message);
            break;
        case MessageType::kListOffsets:
            answer = on_list_offsets(broker, message);
            break;
        case MessageType::kProducerState:
            answer = on_producer_state(message);
            break;
        default:
            if (other) answer = other(broker, message);
    }
    if (answer) env_.reply(connection, *answer);
}

std::int64_t FakeCluster::end(int broker, std::uint32_t partition) const {
    const auto behind = left_behind_.find(broker);
    return static_cast<std::int64_t>(behind == left_behind_.end() ? logs_[partition].size() : behind->second);
}

OutMessage FakeCluster::on_metadata(int broker, const Message& message) {
    proto::Metadata request;
    EXPECT_TRUE(message.parse(request));
    proto::MetadataResponse response;
    response.set_cluster("logstream");
    response.set_cluster_id(lineage_of(broker));
    *response.mutable_view() = left_behind_.contains(broker) && old_view_.number() > 0 ? old_view_ : view();
    response.set_quorum(has_quorum(broker));
    response.set_disk_full(disk_full);
    if (request.topics_size() > 0) asked_for_topics.emplace_back(broker, request.auto_create());
    if (!response.quorum()) {
        response.mutable_error()->set_code(static_cast<std::uint32_t>(ErrorCode::kNoQuorum));
        response.mutable_error()->set_message(no_quorum);
    }
    response.set_max_batch_bytes(static_cast<std::uint32_t>(max_batch_bytes));
    if (request.auto_create() && auto_create && request.topics_size() > 0) topic_exists = true;
    // Like the offset of the metadata stream, which gains a record with each change.
    const auto topics = std::tuple(topic_exists, topic_id_, logs_.size());
    if (std::exchange(topics_told_, topics) != topics) ++topics_as_of_;
    response.set_topics_as_of(topics_as_of_);
    for (const std::string& name : request.topics()) {
        proto::TopicInfo* topic = response.add_topics();
        topic->set_name(name);
        if (topic_exists) {
            topic->set_topic(topic_id_);
            topic->mutable_settings()->set_partitions(static_cast<std::uint32_t>(logs_.size()));
        } else {
            topic->mutable_error()->set_code(static_cast<std::uint32_t>(ErrorCode::kUnknownTopic));
            topic->mutable_error()->set_message("there is no such topic");
        }
    }
    return protocol::respond(message, response);
}

void FakeCluster::delete_topic() {
    topic_exists = false;
    ++topic_id_;
    for (auto& log : logs_) log.clear();
    producers_.clear();
}

void FakeCluster::create_topic(std::uint32_t partitions) {
    topic_exists = true;
    logs_.assign(partitions, {});
}

void FakeCluster::tell_history(int broker, proto::Failure& out) const {
    out.set_code(static_cast<std::uint32_t>(ErrorCode::kNoQuorum));
    out.set_message(no_quorum + " at broker " + std::to_string(broker));
}

// Of an owner without a quorum, and of a topic that is not this one.
template <class Response>
std::optional<OutMessage> FakeCluster::refuses_reader(int broker, const auto& request, const Message& message) const {
    if (request.cluster_id() != lineage_of(broker))
        return refuse_with<Response>(
            message, {ErrorCode::kWrongCluster, "this broker belongs to lineage " + protocol::hex(lineage_of(broker))});
    if (!topic_exists || request.topic() != topic_id_ || request.partition() >= logs_.size())
        return refuse_with<Response>(message, {ErrorCode::kUnknownTopic, "there is no such topic or partition here"});
    if (request.any_replica()) return std::nullopt;
    if (!has_quorum(broker)) return refuse_with<Response>(message, {ErrorCode::kNoQuorum, no_quorum});
    return not_owner<Response>(broker, request.partition(), message);
}

template <class Response>
std::optional<OutMessage> FakeCluster::not_owner(int broker, std::uint32_t partition, const Message& message) const {
    if (owner(partition) == broker || left_behind_.contains(broker)) return std::nullopt;
    proto::ReassignBroker reassign;
    reassign.set_view(view_number_);
    OutMessage out = protocol::respond(message, reassign);
    out.type = MessageType::kReassignBroker;
    return out;
}

std::optional<OutMessage> FakeCluster::on_produce(int broker, const Message& message) {
    proto::Produce request;
    EXPECT_TRUE(message.parse(request));
    const auto batch = protocol::BatchView::parse(message.body);
    EXPECT_TRUE(batch && batch->crc_ok());
    produced.push_back(
        {broker, request.partition(), batch->producer_epoch(), batch->base_sequence(), batch->record_count()});
    if (!topic_exists || request.topic() != topic_id_ || request.partition() >= logs_.size())
        return refuse_with<proto::ProduceResponse>(message, {ErrorCode::kUnknownTopic, "no such topic or partition"});
    if (auto reassign = not_owner<proto::ProduceResponse>(broker, request.partition(), message)) return reassign;
    const auto refuse_it = [&message](ErrorCode code, const char* text) {
        return refuse_with<proto::ProduceResponse>(message, {code, text});
    };
    if (!quorum) return refuse_it(ErrorCode::kNoQuorum, no_quorum.c_str());
    if (disk_full) return refuse_it(ErrorCode::kDiskFull, "the disk is full");
    if (refuse)
        if (const auto error = refuse(broker, *batch)) return refuse_with<proto::ProduceResponse>(message, *error);
    ProducerRecord& known = producers_[{request.partition(), batch->producer_id().value}];
    if (batch->producer_epoch() < known.epoch) return refuse_it(ErrorCode::kFenced, "a newer instance took over");
    if (batch->producer_epoch() > known.epoch) known = {batch->producer_epoch(), batch->base_sequence(), {}};
    proto::ProduceResponse response;
    if (const auto again = known.offsets.find(batch->base_sequence()); again != known.offsets.end()) {
        response.set_base_offset(again->second);
        return protocol::respond(message, response);
    }
    const bool fills = !missing.empty() && batch->base_sequence() == missing.front().first;
    if (fills) {
        missing.front().first = batch->last_sequence() + 1;
        if (missing.front().first > missing.front().last) missing.erase(missing.begin());
    } else if (batch->base_sequence() != known.next_sequence && request.acks() != proto::OWNER &&
               request.acks() != proto::NONE)
        return refuse_it(ErrorCode::kSequenceGap, "an earlier batch is missing");
    std::vector<Stored>& log = logs_[request.partition()];
    response.set_base_offset(static_cast<std::int64_t>(log.size()));
    known.offsets[batch->base_sequence()] = static_cast<std::int64_t>(log.size());
    if (!fills) known.next_sequence = batch->base_sequence() + batch->record_count();
    const auto decoded = batch->for_each(64u << 20, [&log](const protocol::Record& record) {
        log.push_back(
            {std::string(*record.value), record.key ? std::optional(std::string(*record.key)) : std::nullopt});
        return true;
    });
    EXPECT_TRUE(decoded.has_value());
    if (request.acks() == proto::NONE || !answers(*batch)) return std::nullopt;
    return protocol::respond(message, response);
}

OutMessage FakeCluster::on_fetch(int broker, const Message& message) {
    proto::Fetch request;
    EXPECT_TRUE(message.parse(request));
    if (auto refused = refuses_reader<proto::FetchResponse>(broker, request, message)) return *refused;
    fetched.emplace_back(broker, Offset{request.offset()});
    const std::vector<Stored>& log = logs_[request.partition()];
    const std::int64_t end = this->end(broker, request.partition());
    if (request.offset() < log_start || request.offset() > end)
        return refuse_with<proto::FetchResponse>(message, {ErrorCode::kOffsetOutOfRange, "out of range"});
    proto::FetchResponse response;
    response.set_high_watermark(end);
    response.set_log_start(log_start);
    if (!has_quorum(broker)) tell_history(broker, *response.mutable_history());
    protocol::BatchBuilder builder({});
    protocol::BatchBuilder control({.control = true});
    // Batches begin at multiples of three, so that a reader often asks for the middle of one.
    std::int64_t offset = request.offset() - request.offset() % 3;
    std::vector<Bytes> body;
    for (const std::int64_t limit = std::min(end, offset + static_cast<std::int64_t>(fetch_records)); offset < limit;) {
        const std::int64_t begin = offset;
        const auto stored = [&log](std::int64_t at) -> const Stored& { return log[static_cast<std::size_t>(at)]; };
        const bool is_control = stored(begin).value == kControl;
        do (is_control ? control : builder).add(env_.wall_clock_ms(), stored(offset).key, stored(offset).value);
        while (++offset < end && offset % 3 != 0 && !is_control && stored(offset).value != kControl);
        Bytes batch = *(is_control ? control : builder).finish();
        if (begin <= unreadable && unreadable < offset) {
            batch.mutable_data()[batch.size() - 1] = std::byte{2};  // a header that is not there
            protocol::restamp_producer(batch, protocol::kNoProducer, -1, -1);
        }
        protocol::assign(batch, Offset{begin}, ViewNumber{view_number_});
        body.push_back(batch);
    }
    return protocol::respond(message, response, body);
}

OutMessage FakeCluster::on_list_offsets(int broker, const Message& message) {
    proto::ListOffsets request;
    EXPECT_TRUE(message.parse(request));
    if (auto refused = refuses_reader<proto::ListOffsetsResponse>(broker, request, message)) return *refused;
    proto::ListOffsetsResponse response;
    if (!has_quorum(broker)) tell_history(broker, *response.mutable_history());
    response.set_log_start(log_start);
    response.set_high_watermark(end(broker, request.partition()));
    return protocol::respond(message, response);
}

OutMessage FakeCluster::on_producer_state(const Message& message) {
    proto::ProducerState request;
    EXPECT_TRUE(message.parse(request));
    const auto found = producers_.find({request.partition(), request.producer_id()});
    proto::ProducerStateResponse response;
    response.set_next(found == producers_.end() ? 0 : found->second.next_sequence);
    response.set_content_known(true);
    if (!request.resumes()) response.set_first(response.next());
    for (const SequenceRange hole : missing) {
        proto::SequenceRange& told = *response.add_missing();
        told.set_first(static_cast<std::uint64_t>(hole.first));
        told.set_last(static_cast<std::uint64_t>(hole.last));
    }
    if (request.look()) return protocol::respond(message, response);
    response.set_epoch(found == producers_.end() ? 0 : found->second.epoch + 1);
    producers_[{request.partition(), request.producer_id()}] = {
        static_cast<std::int16_t>(response.epoch()), static_cast<std::int32_t>(response.next()), {}};
    return protocol::respond(message, response);
}

TEST(ClientWorld, TimersRunInOrder) {
    FakeEnv env;
    std::vector<int> order;
    env.set_timer(2ms, [&] { order.push_back(2); });
    env.set_timer(1ms, [&] { order.push_back(1); });
    env.cancel_timer(env.set_timer(1ms, [&] { order.push_back(3); }));
    env.run_for(5ms);
    EXPECT_EQ(order, (std::vector{1, 2}));
}

}  // namespace logstream::client::test
