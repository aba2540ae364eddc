// Follows the committed records of one stream: how the internal streams become state on every member.
#pragma once

#include <functional>
#include <memory>

#include "internal/env/env.h"
#include "internal/node/core.h"
#include "internal/node/streams.h"
#include "internal/protocol/lifetime.h"
#include "internal/protocol/record_batch.h"

namespace logstream::node {

class CommittedReader {
public:
    using RecordHandler = std::function<void(const protocol::Record&)>;

    CommittedReader(env::Env& env, Streams& streams, StreamId stream, RecordHandler apply);
    CommittedReader(const CommittedReader&) = delete;
    CommittedReader& operator=(const CommittedReader&) = delete;

    // Begins with what is known to be committed already.
    void start() { pump(); }
    // Everything that is committed here has been applied.
    bool caught_up() const;
    // All below it has been applied.
    Offset applied() const { return next_; }
    // Calls `task` as soon as everything committed by now is applied; at once if it is.
    void when_caught_up(std::function<void()> task);
    // Begins anew from the log's start (the logs were dropped).
    void reset();

private:
    void pump();
    void apply(const storage::Batches& batches);

    env::Env& env_;
    Streams& streams_;
    StreamId id_;
    RecordHandler apply_;
    Offset next_;
    bool reading_{};
    bool unreadable_{};  // and this was said
    std::vector<std::pair<Offset, std::function<void()>>> waiting_;
    protocol::Lifetime lifetime_;
};

}  // namespace logstream::node
