// Appends this node's orphans again at their owners, in order, until all of a stream's are committed.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "internal/node/core.h"
#include "internal/protocol/lifetime.h"
#include "internal/storage/orphan_file.h"

namespace logstream::node {

class Orphans {
public:
    using OwnerOf = std::function<const view::Member*(StreamId)>;
    // The cluster's metadata says that its topic was deleted.
    using WasDeleted = std::function<bool(StreamId)>;

    Orphans(Core& core, OwnerOf owner_of, WasDeleted was_deleted)
        : core_(core), owner_of_(std::move(owner_of)), was_deleted_(std::move(was_deleted)) {}
    ~Orphans() { stop(); }
    Orphans(const Orphans&) = delete;
    Orphans& operator=(const Orphans&) = delete;

    // The view serves: begin, one stream after another in parallel, one batch of a stream after another.
    void start();
    void stop();
    // Batches appended again and committed since the process started, or found to be there or taken over.
    std::uint64_t returned() const { return returned_; }
    // Batches that can never be appended again; the log names each.
    std::uint64_t lost() const { return lost_; }

private:
    void send(StreamId stream, std::size_t index);
    void sent(StreamId stream, std::size_t index, const storage::OrphanEntry& entry, const Result<Message>& reply);
    void say_lost(StreamId stream, const storage::OrphanEntry& entry, const std::string& why);
    void again(StreamId stream, std::size_t index);

    Core& core_;
    OwnerOf owner_of_;
    WasDeleted was_deleted_;
    std::uint64_t returned_{};
    std::uint64_t lost_{};
    std::map<StreamId, std::size_t> lost_of_;  // in this run
    std::map<StreamId, Offset> departed_at_;   // the least of a stream's orphans
    bool unreadable_{};                        // the disk failed to read one, and this was said
    protocol::Lifetime lifetime_;              // of one run
};

}  // namespace logstream::node
