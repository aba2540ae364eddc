// How Service answers; shared by its files.
#pragma once

#include "internal/node/node.h"
#include "internal/node/service.h"

namespace logstream::node {

template <class Proto>
void Service::answer(const Caller& caller, const Proto& response, std::vector<protocol::Bytes> body) {
    if (caller.correlation.value == 0) return;
    core_.env.send(caller.connection, OutMessage{caller.type, protocol::kResponse, caller.correlation,
                                                 response.SerializeAsString(), std::move(body)});
}

template <class Response>
void Service::refuse(const Caller& caller, const Error& error) {
    Response response;
    *response.mutable_error() = to_proto(error);
    answer(caller, response);
}

template <class Response>
Stream* Service::writable(const Caller& caller, std::uint64_t cluster_id, StreamId id) {
    if (const auto error = wrong_cluster(cluster_id)) {
        refuse<Response>(caller, *error);
        return nullptr;
    }
    if (const auto error = node_.refusal()) {
        refuse<Response>(caller, *error);
        return nullptr;
    }
    const proto::TopicRecord* topic = node_.topics().find(id.topic);
    if (topic == nullptr || id.partition >= topic->settings().partitions()) {
        refuse<Response>(caller, unknown_topic());
        return nullptr;
    }
    if (node_.owner_of(id)->id != core_.self.id) {
        reassign(caller, id);
        return nullptr;
    }
    auto stream = core_.streams.open(id);
    if (!stream) refuse<Response>(caller, stream.error());
    return stream ? *stream : nullptr;
}

template <class Response>
Stream* Service::readable(const Caller& caller, std::uint64_t cluster_id, StreamId id, bool any_replica) {
    if (const auto error = wrong_cluster(cluster_id)) {
        refuse<Response>(caller, *error);
        return nullptr;
    }
    if (!protocol::is_internal(id)) {
        const proto::TopicRecord* topic = node_.topics().find(id.topic);
        if (topic == nullptr || id.partition >= topic->settings().partitions()) {
            refuse<Response>(caller, unknown_topic());
            return nullptr;
        }
    }
    // Who does not ask for any replica takes what it is told for all there is.
    if (!any_replica) {
        const view::Member* owner = node_.owner_of(id);
        if (const auto history = this->history(); history || owner == nullptr) {
            refuse<Response>(caller, history.value_or(Error{ErrorCode::kBusy, "the view is changing; retry"}));
            return nullptr;
        }
        if (owner->id != core_.self.id) {
            reassign(caller, id);
            return nullptr;
        }
    }
    auto stream = core_.streams.open(id);
    if (!stream) refuse<Response>(caller, stream.error());
    return stream ? *stream : nullptr;
}

}  // namespace logstream::node
