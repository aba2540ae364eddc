// The part of Service that named producers ask: what of theirs is there, and who may append from now on.
#include "internal/node/node.h"
#include "internal/node/service.h"
#include "internal/node/service_answers.h"
#include "internal/protocol/planted.h"

namespace logstream::node {

using protocol::Bytes;
using protocol::TopicId;

namespace {

// What the log has of a producer, as ProducerStateResponse tells it.
void tell(const storage::SentSequences* sent, proto::ProducerStateResponse& response) {
    response.set_content_known(sent == nullptr || sent->content());
    if (sent == nullptr) return;
    response.set_first(sent->first());
    response.set_next(sent->next());
    response.set_content(sent->content().value_or(0));
    for (const storage::SequenceRange hole : sent->missing()) {
        proto::SequenceRange& missing = *response.add_missing();
        missing.set_first(static_cast<std::uint64_t>(hole.first));
        missing.set_last(static_cast<std::uint64_t>(hole.last));
    }
}

// The record of a fence. That of an instance that resumes says what it takes over.
Result<Bytes> make_fence(const protocol::BatchOptions& options, std::int64_t now_ms,
                         const storage::ProducerTable::Takeover& takeover) {
    protocol::BatchBuilder builder(options);
    std::string value;
    if (options.base_sequence == protocol::kResumeSequence) {
        proto::Takeover out;
        out.set_epochs(static_cast<std::uint32_t>(takeover.epochs));
        out.set_next(takeover.next);
        for (const storage::SequenceRange hole : takeover.missing) {
            proto::SequenceRange& missing = *out.add_missing();
            missing.set_first(static_cast<std::uint64_t>(hole.first));
            missing.set_last(static_cast<std::uint64_t>(hole.last));
        }
        value = out.SerializeAsString();
    }
    builder.add(now_ms, std::nullopt, value.empty() ? std::nullopt : std::optional<std::string_view>(value));
    return builder.finish();
}

}  // namespace

// Why an instance of a named producer cannot go on with what the older ones sent, if it cannot.
std::optional<Error> Service::cannot_resume(StreamId id, protocol::ProducerId producer) const {
    const storage::ProducerTable& producers = core_.streams.find(id)->log->producers();
    const storage::SentSequences* sent = producers.sent_by(producer);
    if (sent == nullptr && producers.has_forgotten_a_name())
        return Error{ErrorCode::kInvalid,
                     fmt::format("partition {} of this topic has had more named producers than limits.producers lets "
                                 "it remember: it is not known whether this one sent anything. Use another topic, or "
                                 "send everything without --resume",
                                 id.partition)};
    // A member that came to a compacted log later has seen less of it than one that was there.
    const bool compacted = node_.topics().find(id.topic)->settings().compact();
    if (sent != nullptr && (!sent->missing_known() || (compacted && !sent->missing().empty())))
        return Error{ErrorCode::kInvalid,
                     fmt::format("partition {} of this topic lacks some of what this name sent, and it is no longer "
                                 "known which{}. Use another name, or send everything without --resume",
                                 id.partition, compacted ? " (the topic is compacted)" : "")};
    return std::nullopt;
}

// A fence is a control batch that only opens the producer's next epoch: once it is committed, no older instance can
// append any more, and what it appended is known. Of one that resumes, what comes of older instances later is dropped.
void Service::on_producer_state(const Caller& caller, const proto::ProducerState& request) {
    using Response = proto::ProducerStateResponse;
    const StreamId id{TopicId{request.topic()}, request.partition()};
    Stream* stream = writable<Response>(caller, request.cluster_id(), id);
    if (stream == nullptr) return;
    const protocol::ProducerId producer{request.producer_id()};
    if (producer.value < 0) return refuse<Response>(caller, {ErrorCode::kInvalid, "producer ids are 0 or more"});
    if (request.resumes())
        if (const auto error = cannot_resume(id, producer)) return refuse<Response>(caller, *error);
    const storage::ProducerTable& producers = stream->log->producers();
    Response response;
    tell(producers.sent_by(producer), response);
    if (request.look()) return answer(caller, response);

    // A name that is forgotten may have orphans somewhere, and they are not of this one.
    const int first =
        producers.has_forgotten_a_name() ? static_cast<int>(core_.env.random() % storage::kEpochModulus) : 0;
    const auto last = producers.epoch_of(producer);
    const int next = request.epoch() >= 0 ? request.epoch() : last ? (*last + 1) % storage::kEpochModulus : first;
    const auto epoch = static_cast<std::int16_t>(next);
    if (next >= storage::kEpochModulus || last == epoch ||
        producers.check({producer, epoch}).verdict == storage::SequenceCheck::kFenced)
        return refuse<Response>(caller, {ErrorCode::kFenced, "a newer instance of this producer took over"});
    const bool resumes = request.resumes() && !protocol::planted(protocol::Bug::kResumeIgnored);
    const auto fence = make_fence({.producer_id = producer,
                                   .producer_epoch = epoch,
                                   .base_sequence = resumes ? protocol::kResumeSequence : -1,
                                   .control = true},
                                  core_.env.wall_clock_ms(), producers.takeover_by(producer));
    if (!fence) return refuse<Response>(caller, fence.error());
    response.set_epoch(epoch);
    if (!request.resumes()) {  // it begins anew behind all that was
        response.set_first(response.next());
        response.clear_missing();
        response.set_content_known(true);
        response.set_content(0);
    }
    node_.replicator().produce(*stream, *fence, proto::QUORUM,
                               [this, caller, response](const Result<Offset>& appended) mutable {
                                   if (!appended) return refuse<Response>(caller, appended.error());
                                   answer(caller, response);
                               });
}

}  // namespace logstream::node
