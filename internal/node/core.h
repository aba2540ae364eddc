// What every part of the broker works on: the door to the world, the record of promises, the logs, the links.
#pragma once

#include <functional>

#include "internal/node/peer_links.h"
#include "internal/node/settings.h"
#include "internal/node/streams.h"
#include "internal/view/record.h"

namespace logstream::node {

using protocol::ClusterId;
using protocol::Error;
using protocol::ErrorCode;
using protocol::milliseconds;
using protocol::NodeId;
using protocol::Result;
using protocol::ViewNumber;

inline Endpoint address_of(const view::Member& member) { return Endpoint{member.ip, member.port}; }

inline proto::Failure to_proto(const Error& error) {
    proto::Failure out;
    out.set_code(static_cast<std::uint32_t>(error.code));
    out.set_message(error.message);
    return out;
}

// A disk that failed, or a broken promise: the broker must not go on.
using FatalHandler = std::function<void(const Error&)>;

struct Core {
    env::Env& env;
    const Settings& settings;
    storage::Store& store;
    PeerLinks& links;
    Streams& streams;
    view::Member self;    // this run of this broker
    view::Record record;  // change it, then `persist` before anything that rests on it is sent
    FatalHandler fatal;

    // Writes the record to disk, flushed; then calls `done`. A failing disk is fatal.
    void persist(std::function<void()> done) {
        const std::string bytes = view::encode(record);
        store.save_state(protocol::Bytes::copy_of(std::string_view(bytes)),
                         [this, done = std::move(done)](Result<void> saved) {
                             if (!saved) return fatal(saved.error());
                             done();
                         });
    }
};

}  // namespace logstream::node
