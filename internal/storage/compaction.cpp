#include "internal/storage/compaction.h"

#include <algorithm>
#include <utility>

#include "internal/storage/segment_rewrite.h"
#include "internal/storage/segment_scan.h"
#include "internal/storage/store_context.h"

namespace logstream::storage {

void Compaction::start(const std::shared_ptr<StreamLog>& log, Offset below, FlushCallback callback) {
    auto compaction = std::make_shared<Compaction>();
    compaction->log_ = log;
    compaction->callback_ = std::move(callback);
    compaction->version_ = log->version_;
    for (std::size_t i = 0; i + 1 < log->segments_.size(); ++i) {
        const Offset end = log->segments_[i + 1].base;
        if (end > below || end > log->synced_end_) break;
        if (log->segments_[i].damage.empty()) compaction->bases_.push_back(log->segments_[i].base);
        compaction->end_ = end;
    }
    // No segment was closed since the last time: it would find nothing new.
    if (compaction->end_ <= log->compacted_end_) compaction->bases_.clear();
    log->compacting_ = true;
    log->context_.disk.post([compaction] { compaction->next(); });
}

void Compaction::finish(Result<void> status) {
    const auto log = log_.lock();
    if (!log) return;
    log->compacting_ = false;
    callback_(std::move(status));
}

void Compaction::next() {
    const auto log = log_.lock();
    if (!log) return;
    if (at_ == bases_.size() && pass_ == Pass::kLearn) {
        pass_ = Pass::kRewrite;
        at_ = 0;
    }
    if (at_ == bases_.size()) {
        if (log->version_ == version_) log->compacted_end_ = std::max(log->compacted_end_, end_);
        return finish({});
    }
    if (log->version_ != version_) return finish(protocol::fail(ErrorCode::kBusy, "the log was cut meanwhile"));
    const Segment& segment = log->segments_[log->segment_index(bases_[at_])];
    log->context_.disk.read(segment.log_path(), 0, segment.size,
                            [self = shared_from_this()](Result<Bytes> data) { self->look_at(std::move(data)); });
}

void Compaction::look_at(Result<Bytes> data) {
    const auto log = log_.lock();
    if (!log) return;
    if (log->version_ != version_) return finish(protocol::fail(ErrorCode::kBusy, "the log was cut meanwhile"));
    if (!data) return finish(std::unexpected(std::move(data.error())));
    const Offset base = bases_[at_];
    const std::size_t i = log->segment_index(base);
    std::vector<StoredBatch> batches;
    const SegmentScan scan = scan_segment(*data, 0, base, log->seed_);
    if (!scan.gaps.empty() || scan.end != log->end_of(i)) {
        return log->inspect(base, ViewNumber(), [self = shared_from_this()](StreamLog::Inspection) {
            self->finish(protocol::fail(ErrorCode::kCorrupt, "a segment to be compacted is damaged"));
        });
    }
    for (const ScannedEntry& entry : scan.entries) {
        const std::size_t begin = entry.position + kEntryHeaderBytes;
        auto view = protocol::BatchView::parse(data->slice(begin, entry.end_position - begin));
        LS_ASSERT(view.has_value());
        batches.push_back({std::move(*view), entry.appended_ms});
    }
    if (pass_ == Pass::kLearn) {
        for (const StoredBatch& stored : batches) {
            if (!last_.add(stored.batch))
                return finish(protocol::fail(ErrorCode::kTooLarge, "too many keys to compact"));
        }
        ++at_;
        return next();
    }
    auto kept = compact_batches(batches, last_);
    if (!kept) return finish(std::unexpected(std::move(kept.error())));
    ++at_;
    if (!*kept) return next();
    std::vector<std::byte> content;
    for (const auto& [batch, appended_ms] : **kept) {
        const std::size_t header = content.size();
        content.resize(header + kEntryHeaderBytes);
        encode_entry_header(content.data() + header,
                            {batch.base_offset(), static_cast<std::uint32_t>(batch.size_bytes()), batch.leader_epoch(),
                             log->synced_end_, appended_ms},
                            log->seed_);
        content.insert(content.end(), batch.bytes().span().begin(), batch.bytes().span().end());
    }
    SegmentRewrite::start(log, base, Bytes::copy_of(content), [self = shared_from_this()](Result<void> status) {
        if (!status) return self->finish(std::move(status));
        self->next();
    });
}

void StreamLog::compact(Offset below, FlushCallback callback) {
    if (compacting_ || changing_ || swaps_ > 0) {
        context_.disk.post([callback = std::move(callback)]() mutable {
            callback(protocol::fail(ErrorCode::kBusy, "the stream is being compacted or truncated"));
        });
        return;
    }
    Compaction::start(shared_from_this(), below, std::move(callback));
}

}  // namespace logstream::storage
