#include "internal/storage/segment_rewrite.h"

#include <algorithm>
#include <utility>

#include "internal/storage/segment_scan.h"
#include "internal/storage/store_context.h"

namespace logstream::storage {
namespace {

// What goes to the disk at a time: a state save waits for no more.
constexpr std::size_t kChunkBytes = 1u << 20;

}  // namespace

void SegmentRewrite::start(const std::shared_ptr<StreamLog>& log, Offset base, Bytes content, FlushCallback callback) {
    std::make_shared<SegmentRewrite>(log, base, std::move(content), std::move(callback))->write_next();
}

SegmentRewrite::SegmentRewrite(const std::shared_ptr<StreamLog>& log, Offset base, Bytes content,
                               FlushCallback callback)
    : log_(log), base_(base), content_(std::move(content)), callback_(std::move(callback)) {
    const std::size_t at = log->segment_index(base);
    const Segment& old = log->segments_[at];
    LS_ASSERT(old.base == base && at + 1 < log->segments_.size());
    old_generation_ = old.generation;
    old_size_ = old.size;
    stem_ = segment_stem(log->dir_, base, old.generation + 1);
    temporary_ = stem_ + ".log.tmp";
    const SegmentScan scan = scan_segment(content_, 0, base, log->seed_);
    index_ = std::make_shared<const SparseIndex>(index_of(scan, base, log->context_.options.index_interval_bytes));
    const Offset end = log->end_of(at);
    for (const ScanGap& gap : scan.gaps)
        damage_.push_back({gap.from, gap.to.value_or(end), gap.position, gap.to_position});
    const bool open = !scan.gaps.empty() && !scan.gaps.back().to;
    if (!open && scan.end < end) damage_.push_back({scan.end, end, scan.end_position, content_.size()});
}

Segment* SegmentRewrite::segment(StreamLog& log) const {
    if (base_ < log.log_start() || log.cutting_) return nullptr;
    const std::size_t at = log.segment_index(base_);
    Segment& segment = log.segments_[at];
    const bool same = segment.base == base_ && segment.generation == old_generation_ && segment.size == old_size_;
    return same && at + 1 < log.segments_.size() ? &segment : nullptr;
}

void SegmentRewrite::write_next() {
    const auto log = log_.lock();
    if (!log) return;
    if (segment(*log) == nullptr) return give_up(protocol::fail(ErrorCode::kBusy, "the log changed meanwhile"));
    if (written_ == content_.size()) return give_name();
    if (written_ == 0 && !log->context_.commit.has_room(claim_of(log->id_), content_.size()))
        return give_up(protocol::fail(ErrorCode::kDiskFull, "there is no room to write a segment anew"));
    std::vector<DiskOp> ops;
    if (written_ == 0) ops.emplace_back(CreateOp{temporary_});
    const std::size_t n = std::min<std::size_t>(kChunkBytes, content_.size() - written_);
    ops.emplace_back(WriteOp{temporary_, written_, {content_.slice(written_, n)}});
    written_ += n;
    log->context_.commit.background(std::move(ops), [self = shared_from_this()](Result<void> status) {
        if (!status) return self->give_up(std::move(status));
        self->write_next();
    });
}

void SegmentRewrite::give_name() {
    const auto log = log_.lock();
    // From here to the swap nothing may cut the log: the new file could come back after a crash, longer than the log.
    ++log->swaps_;
    std::vector<DiskOp> ops;
    ops.emplace_back(SyncOp{{temporary_}, {}});
    ops.emplace_back(CreateOp{stem_ + ".index"});
    ops.emplace_back(WriteOp{stem_ + ".index", 0, {index_->encode(content_.size())}});
    ops.emplace_back(SyncOp{{stem_ + ".index"}, {}});
    ops.emplace_back(RenameOp{temporary_, stem_ + ".log"});
    ops.emplace_back(SyncOp{{}, {log->dir_}});
    log->context_.commit.background(std::move(ops), [self = shared_from_this()](Result<void> status) {
        const auto l = self->log_.lock();
        if (!l) return;
        if (status) {
            self->swap();
        } else {
            self->give_up(std::move(status));
        }
        l->end_swap();
    });
}

void SegmentRewrite::swap() {
    const auto log = log_.lock();
    Segment* old = segment(*log);
    LS_ASSERT(old != nullptr);
    std::vector<DiskOp> ops;
    ops.emplace_back(RemoveOp{old->log_path()});
    ops.emplace_back(RemoveOp{old->index_path()});
    ops.emplace_back(SyncOp{{}, {log->dir_}});
    log->context_.indexes.erase(old->stem);
    ++old->generation;
    old->stem = stem_;
    old->size = old->written = content_.size();
    old->appended = index_->appended();
    old->appended_known = true;
    old->damage = std::move(damage_);
    ++log->layout_;
    log->context_.indexes.put(stem_, index_);
    // If it does not work out the next start does it.
    log->context_.commit.background(std::move(ops), [](const Result<void>&) {});
    callback_({});
}

void SegmentRewrite::give_up(Result<void> why) {
    const auto log = log_.lock();
    if (!log) return;
    // Not while its name may be the new one: after a failed rename the next start tells.
    log->context_.commit.background({RemoveOp{temporary_}}, [](const Result<void>&) {});
    callback_(std::move(why));
}

}  // namespace logstream::storage
