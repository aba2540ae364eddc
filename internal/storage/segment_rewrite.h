// Puts new content in place of a closed segment, for compaction and repair: writes a new file of the next generation
// beside the old one, flushes it, gives it its name, and only then forgets the old one. A crash leaves the one or the
// other.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "internal/storage/stream_log.h"

namespace logstream::storage {

class SegmentRewrite : public std::enable_shared_from_this<SegmentRewrite> {
public:
    // `content` is a whole segment that begins at `base` and ends at the same offset as the old one, but for damage.
    // The segment is not the newest one and all of it is flushed. Calls back with kBusy, and nothing has changed, when
    // the segment was cut or dropped meanwhile.
    static void start(const std::shared_ptr<StreamLog>& log, Offset base, Bytes content, FlushCallback callback);

    SegmentRewrite(const std::shared_ptr<StreamLog>& log, Offset base, Bytes content, FlushCallback callback);

private:
    void write_next();
    void give_name();
    void swap();
    void give_up(Result<void> why);
    Segment* segment(StreamLog& log) const;

    std::weak_ptr<StreamLog> log_;
    Offset base_;
    Bytes content_;
    FlushCallback callback_;
    std::uint32_t old_generation_{};
    std::uint64_t old_size_{};
    std::string stem_;  // of the new generation
    std::string temporary_;
    std::uint64_t written_{0};
    std::shared_ptr<const SparseIndex> index_;
    std::vector<SegmentDamage> damage_;
};

}  // namespace logstream::storage
