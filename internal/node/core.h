// What every part of the broker works on: the door to the world, the record of promises, the logs, the links.
#pragma once

#include <functional>
#include <memory>

#include "internal/node/clocks.h"
#include "internal/node/peer_links.h"
#include "internal/node/settings.h"
#include "internal/node/streams.h"
#include "internal/protocol/lifetime.h"
#include "internal/view/record.h"

namespace logstream::node {

using protocol::ClusterId;
using protocol::Error;
using protocol::ErrorCode;
using protocol::milliseconds;
using protocol::NodeId;
using protocol::Result;
using protocol::ViewNumber;

inline proto::Failure to_proto(const Error& error) {
    proto::Failure out;
    out.set_code(static_cast<std::uint32_t>(error.code));
    out.set_message(error.message);
    return out;
}

// A disk that failed, or a broken promise: the broker must not go on.
using FatalHandler = std::function<void(const Error&)>;

inline constexpr Duration kFullDiskPause = std::chrono::seconds(1);
inline constexpr Duration kStillInterval = std::chrono::milliseconds(1);  // between looks at a log that is being cut

struct Core {
    env::Env& env;
    const Settings& settings;
    storage::Store& store;
    PeerLinks& links;
    Streams& streams;
    Clocks& clocks;
    view::Member self;    // this run of this broker
    view::Record record;  // change it, then `persist` before anything that rests on it is sent
    FatalHandler fatal;

    bool has_room = true;  // false while the record waits for room on a full disk
    protocol::Lifetime lifetime{};

    // Writes the record to disk, flushed; then calls `done`. On a full disk that comes later, once there is room: until
    // then this broker promises nothing. A failing disk is fatal.
    void persist(std::function<void()> done) {
        const std::string bytes = view::encode(record);
        store.save_state(protocol::Bytes::copy_of(std::string_view(bytes)),
                         [this, done = std::move(done)](Result<void> saved) {
                             if (saved) {
                                 has_room = true;
                                 return done();
                             }
                             if (saved.error().code != ErrorCode::kDiskFull) return fatal(saved.error());
                             if (std::exchange(has_room, false))
                                 env.log().warn("DISK full: the broker state cannot be saved until there is room: {}",
                                                saved.error().message);
                             // The record of then, which may be newer: an older one must not come after it.
                             env.set_timer(kFullDiskPause, lifetime.guard([this, done] { persist(done); }));
                         });
    }

    // What this broker holds contradicts what the cluster holds: it ends, and does not go on by itself when it is
    // started again, however often, so that nothing of it is given up before a person has decided.
    void condemn(Error why) {
        if (condemned()) return;
        record.verdict = why.message;
        persist([this, why = std::move(why)] { fatal(why); });
    }
    bool condemned() const { return !record.verdict.empty(); }

    // Calls `then` once no log is being cut or mended any more, perhaps for somebody who is gone: at once if so.
    void when_still(std::function<void()> then) {
        if (!streams.changing()) return then();
        env.set_timer(kStillInterval,
                      lifetime.guard([this, then = std::move(then)]() mutable { when_still(std::move(then)); }));
    }
};

}  // namespace logstream::node
