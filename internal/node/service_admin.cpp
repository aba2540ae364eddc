// Service's part that answers about topics, groups and the state of the cluster.
#include <xxhash.h>

#include <algorithm>

#include "internal/node/node.h"
#include "internal/node/service_answers.h"

namespace logstream::node {

using protocol::TopicId;

namespace {

proto::TopicInfo info_of(const proto::TopicRecord& topic) {
    proto::TopicInfo out;
    out.set_name(topic.name());
    out.set_topic(topic.topic());
    *out.mutable_settings() = topic.settings();
    return out;
}

// Collects answers that come one by one, and sends the whole when the last is in.
template <class Response>
struct Gathering {
    Response response;
    std::size_t missing{};
    std::function<void(const Response&)> done;
    void arrived() {
        if (--missing == 0) done(response);
    }
};

}  // namespace

void Service::on_metadata(const Caller& caller, proto::Metadata question) {
    struct Made {
        std::map<std::string, Error> why_not;  // topics that could not be made
        std::set<std::string> created;
    };
    const auto asked = std::make_shared<const proto::Metadata>(std::move(question));
    const proto::Metadata& request = *asked;
    auto gathering = std::make_shared<Gathering<Made>>();
    gathering->missing = 2 + static_cast<std::size_t>(request.topics_size());
    gathering->done = [this, caller, asked](const Made& made) {
        const proto::Metadata& request = *asked;
        proto::MetadataResponse response;
        response.set_cluster(core_.settings.cluster);
        response.set_cluster_id(core_.record.cluster.value);
        view::put_ancestors(core_.record.ancestors, response);
        if (const auto& view = node_.current_view()) *response.mutable_view() = view::to_proto(*view);
        const auto refused = node_.refusal();
        response.set_quorum(!refused.has_value());
        if (refused) *response.mutable_error() = to_proto(*refused);
        response.set_disk_full(core_.store.disk_full());
        response.set_max_batch_bytes(static_cast<std::uint32_t>(core_.settings.record_bytes));
        // All topics as of one moment, which the answer names.
        response.set_topics_as_of(node_.topics().reader().applied().value);
        response.set_all_topics(request.all());
        if (request.all())
            for (const auto& [name, topic] : node_.topics().all()) *response.add_topics() = info_of(topic);
        for (const std::string& name : request.topics()) {
            proto::TopicInfo& info = *response.add_topics();
            if (const proto::TopicRecord* topic = node_.topics().find(name)) {
                info = info_of(*topic);
                info.set_created(made.created.contains(name));
                continue;
            }
            info.set_name(name);
            const auto error = made.why_not.find(name);
            *info.mutable_error() =
                to_proto(error != made.why_not.end() ? error->second
                         : !node_.topics().reader().caught_up()
                             ? unknown_topic()
                             : Error{ErrorCode::kUnknownTopic, fmt::format("there is no topic '{}'", name)});
        }
        answer(caller, response);
    };
    auto arrived = lifetime_.guard([gathering] { gathering->arrived(); });
    // Right after its start a broker does not know all of them.
    request.all() ? node_.topics().reader().when_caught_up(arrived) : arrived();
    for (const std::string& name : request.topics()) {
        const auto made = [gathering, name](const Result<void>& created) {
            if (!created) gathering->response.why_not.emplace(name, created.error());
            gathering->arrived();
        };
        if (node_.topics().find(name) != nullptr) {
            made({});
        } else if (auto valid = check_topic_name(name); !valid) {
            made(valid);
        } else if (!request.auto_create()) {
            made({});
        } else if (!core_.settings.auto_create) {
            made(protocol::fail(
                ErrorCode::kRefused,
                "there is no topic '{}', and topics.auto_create is off: create it with `logstreamctl topics create {}`",
                name, name));
        } else {
            node_.create_topic(name, core_.settings.topic_defaults,
                               [gathering, name, made](const Result<void>& created) {
                                   if (created) gathering->response.created.insert(name);
                                   made(created);
                               });
        }
    }
    arrived();
}

// What this broker, and nobody else, tells of its topics' partitions: those that it owns now.
void Service::put_figures(proto::TopicsResponse& out) {
    for (const auto& [name, topic] : node_.topics().all()) {
        proto::TopicFigures figures;
        figures.set_topic(topic.topic());
        for (std::uint32_t partition = 0; partition < topic.settings().partitions(); ++partition) {
            const StreamId id{TopicId{topic.topic()}, partition};
            const view::Member* owner = node_.owner_of(id);
            if (owner == nullptr || owner->id != core_.self.id) continue;
            figures.set_partitions(figures.partitions() + 1);
            const Stream* stream = core_.streams.find(id);
            if (stream == nullptr) continue;  // nothing was written to it yet
            const std::uint64_t records =
                stream->high_watermark - std::min(stream->log->log_start(), stream->high_watermark);
            figures.set_records(figures.records() + records);
            figures.set_bytes(figures.bytes() + stream->log->size_bytes());
            figures.set_records_per_second(figures.records_per_second() + stream->rate.per_second());
            figures.set_last_append_ms(std::max(figures.last_append_ms(), stream->log->newest_append_ms()));
        }
        if (figures.partitions() > 0) *out.add_figures() = std::move(figures);
    }
}

void Service::list_topics(const Caller& caller, const proto::Topics& request) {
    if (const auto history = this->history()) return refuse<proto::TopicsResponse>(caller, *history);
    proto::TopicsResponse response;
    for (const auto& [name, topic] : node_.topics().all()) *response.add_topics() = info_of(topic);
    if (request.figures()) put_figures(response);
    answer(caller, response);
}

void Service::on_topics(const Caller& caller, const proto::Topics& request) {
    const auto reply = [this, caller, name = request.name()](const Result<void>& done) {
        proto::TopicsResponse response;
        if (!done) *response.mutable_error() = to_proto(done.error());
        if (const proto::TopicRecord* topic = node_.topics().find(name)) *response.add_topics() = info_of(*topic);
        answer(caller, response);
    };
    switch (request.action()) {
        case proto::Topics::LIST:
            return list_topics(caller, request);
        case proto::Topics::CREATE: {
            proto::TopicSettings settings = request.settings();
            if (settings.partitions() == 0) settings.set_partitions(core_.settings.topic_defaults.partitions());
            if (node_.topics().find(request.name()) != nullptr)
                return reply(protocol::fail(ErrorCode::kExists, "topic '{}' already exists", request.name()));
            return node_.create_topic(request.name(), settings, reply);
        }
        case proto::Topics::DELETE:
            return node_.delete_topic(request.name(), TopicId{request.topic()}, reply);
        case proto::Topics::ALTER:
            return node_.alter_topic(request.name(), TopicId{request.topic()}, request.alteration(), reply);
        default:
            return reply(protocol::fail(ErrorCode::kInvalid, "this broker does not know this action on topics"));
    }
}

// Whatever is asked of the owner of the groups stream.
template <class Response, class Request>
void Service::on_group(const Caller& caller, const Message& message,
                       void (Groups::*handle)(const Request&, std::function<void(const Response&)>)) {
    Request request;
    if (!message.parse(request))
        return refuse<Response>(caller, {ErrorCode::kInvalid, "a request that cannot be read (is a name not UTF-8?)"});
    if (const auto error = wrong_cluster(request.cluster_id())) return refuse<Response>(caller, *error);
    if (const auto error = node_.refusal()) return refuse<Response>(caller, *error);
    if (node_.owner_of(protocol::kGroupsStream)->id != core_.self.id) return reassign(caller, protocol::kGroupsStream);
    if (!node_.groups().ready())
        return refuse<Response>(caller, {ErrorCode::kBusy, "the groups are being read; retry"});
    (node_.groups().*handle)(request,
                             lifetime_.guard([this, caller](const Response& response) { answer(caller, response); }));
}

void Service::on_groups_owner(const Caller& caller, const Message& message) {
    switch (message.type) {
        case MessageType::kSubscribe:
            return on_group(caller, message, &Groups::on_subscribe);
        case MessageType::kCommitOffsets:
            return on_group(caller, message, &Groups::on_commit);
        default:
            return on_group(caller, message, &Groups::on_groups);
    }
}

void Service::on_list_offsets(const Caller& caller, const proto::ListOffsets& request) {
    const StreamId id{TopicId{request.topic()}, request.partition()};
    Stream* stream = readable<proto::ListOffsetsResponse>(caller, request.cluster_id(), id, request.any_replica());
    if (stream == nullptr) return;
    proto::ListOffsetsResponse response;
    response.set_log_start(stream->log->log_start().value);
    response.set_high_watermark(stream->high_watermark.value);
    response.set_offset(stream->high_watermark.value);
    if (const auto history = this->history()) *response.mutable_history() = to_proto(*history);
    if (request.timestamp_ms() < 0) return answer(caller, response);
    stream->log->offset_for_timestamp(request.timestamp_ms(),
                                      lifetime_.guard([this, caller, response](Result<Offset> offset) mutable {
                                          if (!offset)
                                              return refuse<proto::ListOffsetsResponse>(caller, offset.error());
                                          response.set_offset(std::min(offset->value, response.high_watermark()));
                                          answer(caller, response);
                                      }));
}

void Service::on_verify(const Caller& caller, const proto::Verify& request) {
    if (const auto error = wrong_cluster(request.cluster_id())) return refuse<proto::VerifyResponse>(caller, *error);
    const auto describe = [this](proto::StreamDigest& digest, const view::StreamHolding& holding) {
        *digest.mutable_summary() = view::to_proto(holding);
        const proto::TopicRecord* topic = node_.topics().find(holding.stream.topic);
        digest.set_compacted(protocol::is_internal(holding.stream) ||
                             (topic != nullptr && topic->settings().compact()));
        if (topic != nullptr) digest.set_topic_name(topic->name());
        if (holding.stream == protocol::kMetadataStream) digest.set_topic_name("(metadata)");
        if (holding.stream == protocol::kGroupsStream) digest.set_topic_name("(groups)");
    };
    std::map<StreamId, view::StreamHolding> holdings;
    for (view::StreamHolding& holding : core_.streams.holdings(Streams::Extent::kWhole, core_.record.views))
        holdings[holding.stream] = std::move(holding);
    auto gathering = std::make_shared<Gathering<proto::VerifyResponse>>();
    if (const auto history = this->history()) *gathering->response.mutable_history() = to_proto(*history);
    gathering->done = [this, caller](const proto::VerifyResponse& response) { answer(caller, response); };
    if (request.from_size() == 0) {
        for (const auto& [id, holding] : holdings) describe(*gathering->response.add_streams(), holding);
        return answer(caller, gathering->response);
    }
    gathering->missing = static_cast<std::size_t>(request.from_size());
    for (const proto::StreamPoint& point : request.from()) {
        const StreamId id{TopicId{point.topic()}, point.partition()};
        const auto holding = holdings.find(id);
        if (holding == holdings.end()) {
            proto::StreamDigest& digest = *gathering->response.add_streams();
            digest.mutable_summary()->set_topic(point.topic());
            digest.mutable_summary()->set_partition(point.partition());
            *digest.mutable_error() = to_proto(Error{ErrorCode::kUnknownTopic, "this broker does not hold the stream"});
            gathering->arrived();
            continue;
        }
        const auto add = lifetime_.guard([gathering, describe, held = holding->second](Result<std::uint64_t> checksum) {
            proto::StreamDigest& digest = *gathering->response.add_streams();
            describe(digest, held);
            if (checksum)
                digest.set_checksum(*checksum);
            else
                *digest.mutable_error() = to_proto(checksum.error());
            gathering->arrived();
        });
        const proto::TopicRecord* topic = node_.topics().find(id.topic);
        if (protocol::is_internal(id) || (topic != nullptr && topic->settings().compact()))
            content_checksum(id, Offset{point.to()}, add);
        else
            core_.streams.find(id)->log->checksum(Offset{point.from()}, Offset{point.to()}, add);
    }
}

// Compacted streams are compared by their content: replicas compact at moments of their own.
void Service::content_checksum(StreamId id, Offset to, std::function<void(Result<std::uint64_t>)> done) {
    struct Scan {
        std::map<std::string, std::string> content;  // the newest value of each key
        Offset next;
    };
    auto scan = std::make_shared<Scan>();
    scan->next = core_.streams.find(id)->log->log_start();
    auto step = std::make_shared<std::function<void()>>();
    *step = [this, id, to, scan, done, weak_step = std::weak_ptr(step), service = lifetime_.observe()] {
        Stream* stream = core_.streams.find(id);
        if (stream == nullptr) return done(protocol::fail(ErrorCode::kUnknownTopic, "the stream is gone"));
        if (scan->next >= to) {
            std::string all;
            for (const auto& [key, value] : scan->content)
                all += fmt::format("{}:{}{}:{}", key.size(), key, value.size(), value);
            return done(XXH3_64bits(all.data(), all.size()));
        }
        stream->log->read(
            scan->next, to, 1u << 20, [scan, done, step = weak_step.lock(), service](Result<storage::Batches> batches) {
                if (service.expired() || !step) return;
                if (!batches) return done(std::unexpected(batches.error()));
                if (batches->empty())
                    return done(protocol::fail(ErrorCode::kCorrupt, "the log ends before offset {}", scan->next));
                for (const protocol::Bytes& bytes : *batches) {
                    auto batch = protocol::BatchView::parse(bytes);
                    if (!batch) return done(std::unexpected(batch.error()));
                    // Control batches have no content, and compaction leaves some on one replica and not on another.
                    scan->next = batch->next_offset();
                    if (batch->is_control()) continue;
                    auto read = batch->for_each(64u << 20, [&](const protocol::Record& record) {
                        const std::string key(record.key.value_or(""));
                        if (record.value)
                            scan->content[key] = std::string(*record.value);
                        else
                            scan->content.erase(key);
                        return true;
                    });
                    // What no reader can decode is the same if its bytes are.
                    if (!read)
                        scan->content[fmt::format("unreadable at {}", batch->base_offset())] = batch->bytes().view();
                }
                (*step)();
            });
    };
    (*step)();
}

}  // namespace logstream::node
