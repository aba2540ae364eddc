// The streams' high watermarks as they stood a moment ago: after a restart a broker knows from it, before it has heard
// anybody, that so much of its logs is committed and nothing may take its place.
#pragma once

#include <map>
#include <string>

#include "internal/protocol/ids.h"
#include "internal/protocol/lifetime.h"
#include "internal/storage/group_commit.h"

namespace logstream::storage {

class WatermarkFile {
public:
    struct Watermarks {
        protocol::ClusterId lineage;
        std::map<protocol::StreamId, Offset> of{};
        friend bool operator==(const Watermarks&, const Watermarks&) = default;
    };

    WatermarkFile(Disk& disk, GroupCommit& commit, const std::string& dir)
        : disk_(disk), commit_(commit), path_(dir + "/watermarks") {}

    // Start-up only. A damaged file tells nothing; a disk that fails to read is an error.
    Result<void> load();
    // The one that was saved last in this lineage; 0 when there is none.
    Offset of(protocol::ClusterId lineage, protocol::StreamId stream) const;
    // Start-up only: the log has lost what stood behind `end` (a power cut under a policy that acknowledges before it
    // flushes), and other records may take that place. True if the file said otherwise.
    bool lower(protocol::StreamId stream, Offset end);
    // Start-up only: writes what `lower` has changed, flushed.
    Result<void> rewrite();
    // Beside the groups of records. Not while one is under way, and not without news.
    void save(Watermarks watermarks);

private:
    DiskOp replace(const Watermarks& watermarks) const;

    Disk& disk_;
    GroupCommit& commit_;
    std::string path_;
    Watermarks saved_;
    bool saving_{};
    protocol::Lifetime lifetime_;
};

}  // namespace logstream::storage
