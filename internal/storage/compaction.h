// Compaction of one stream: of the records with one key the last stays. Closed segments are read twice, once to learn
// where each key stands last and once to write those anew that hold something superseded.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "internal/storage/compacted_batches.h"
#include "internal/storage/stream_log.h"

namespace logstream::storage {

class Compaction : public std::enable_shared_from_this<Compaction> {
public:
    // See StreamLog::compact.
    static void start(const std::shared_ptr<StreamLog>& log, Offset below, FlushCallback callback);

private:
    enum class Pass : std::uint8_t { kLearn, kRewrite };
    void next();
    void look_at(Result<Bytes> data);
    void finish(Result<void> status);

    std::weak_ptr<StreamLog> log_;
    FlushCallback callback_;
    std::vector<Offset> bases_;  // of the segments concerned
    Offset end_;                 // of the last of them
    std::size_t at_{0};
    Pass pass_{Pass::kLearn};
    LastOffsets last_;
    std::uint64_t version_{};
};

}  // namespace logstream::storage
