#include "internal/storage/compaction.h"

#include <algorithm>
#include <limits>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "internal/protocol/record_codec.h"
#include "internal/storage/segment_rewrite.h"
#include "internal/storage/segment_scan.h"
#include "internal/storage/store_context.h"

namespace logstream::storage {
namespace {

constexpr std::size_t kMaxDecompressedBytes = 256u << 20;
// Neighbours become one batch up to this size, and while their offsets are this close.
constexpr std::size_t kMaxMergedBytes = 1u << 20;
constexpr std::int64_t kMaxMergedOffsets = std::int64_t{1} << 30;
constexpr std::uint16_t kLeftAlone = protocol::kOrphanBit | protocol::kControlBit | protocol::kTransactionalBit;

bool mergeable(const protocol::BatchView& batch) {
    return batch.producer_id() == protocol::kNoProducer && !batch.has_append_time() &&
           (batch.attributes() & kLeftAlone) == 0;
}

// Gathers what stays of one batch, or of neighbours that become one.
class Merge {
public:
    Merge(const LastOffsets& last, std::vector<Bytes>& out) : last_(last), out_(out) {}

    bool takes(const protocol::BatchView& batch) const {
        if (batches_ == 0) return true;
        return mergeable_ && mergeable(batch) && batch.leader_epoch() == view_ && records_.size() < kMaxMergedBytes &&
               batch.next_offset() - base_ < kMaxMergedOffsets;
    }

    Result<void> add(const protocol::BatchView& batch) {
        if (batches_++ == 0) {
            base_ = batch.base_offset();
            view_ = batch.leader_epoch();
            mergeable_ = mergeable(batch);
            first_ = batch;
            base_timestamp_ms_ = batch.base_timestamp_ms();
            max_timestamp_ms_ = batch.max_timestamp_ms();
        }
        end_ = batch.next_offset();
        max_timestamp_ms_ = std::max(max_timestamp_ms_, batch.max_timestamp_ms());
        newest_.clear();
        newest_stays_ = false;
        return batch.for_each(kMaxDecompressedBytes, [&](const protocol::Record& record) {
            const bool gone = last_.superseded(record);
            if (gone) ++dropped_;
            newest_.clear();
            encode(newest_, record);
            newest_stays_ = !gone;
            if (!gone) {
                records_.append(newest_.span());
                ++count_;
            }
            return true;
        });
    }

    // Writes the batch and starts anew.
    Result<void> finish() {
        if (batches_ == 0) return {};
        // A batch is never empty; and one that may be merged keeps the record at its end, so that trim_batch works.
        if (count_ == 0 || (mergeable_ && !newest_stays_)) {
            records_.append(newest_.span());
            ++count_;
            --dropped_;
        }
        Result<void> result;
        if (batches_ == 1 && dropped_ == 0) {
            out_.push_back(first_->bytes());
        } else {
            total_dropped_ += dropped_;
            result = write();
        }
        batches_ = 0;
        count_ = 0;
        dropped_ = 0;
        records_.clear();
        return result;
    }

    // Whether the outcome is worth a new segment.
    bool changed() const { return total_dropped_ > 0; }

private:
    void encode(protocol::RecordBuffer& out, const protocol::Record& record) const {
        protocol::RawRecord raw;
        raw.timestamp_delta = first_->has_append_time() ? 0 : record.timestamp_ms - base_timestamp_ms_;
        raw.offset_delta = static_cast<std::int32_t>(record.offset - base_);
        raw.key = record.key;
        raw.value = record.value;
        raw.header_count = static_cast<std::int32_t>(record.headers.size());
        protocol::append_record(out, raw, record.headers, protocol::record_body_bytes(raw, record.headers));
    }

    Result<void> write() {
        protocol::BatchFields fields;
        fields.base_offset = base_;
        fields.leader_epoch = static_cast<std::int32_t>(view_.value);
        fields.attributes = static_cast<std::uint16_t>(first_->attributes() & ~protocol::kCodecMask);
        fields.last_offset_delta = static_cast<std::int32_t>(end_ - base_ - 1);
        fields.base_timestamp_ms = base_timestamp_ms_;
        fields.max_timestamp_ms = max_timestamp_ms_;
        fields.producer_id = first_->producer_id();
        fields.producer_epoch = first_->producer_epoch();
        fields.base_sequence = first_->base_sequence();
        fields.record_count = count_;
        auto batch = protocol::encode_batch(fields, first_->codec(), records_);
        if (!batch) return std::unexpected(std::move(batch.error()));
        out_.push_back(std::move(*batch));
        return {};
    }

    const LastOffsets& last_;
    std::vector<Bytes>& out_;
    std::size_t batches_{0};
    std::optional<protocol::BatchView> first_;
    bool mergeable_{false};
    Offset base_;
    Offset end_;
    ViewNumber view_;
    std::int64_t base_timestamp_ms_{};
    std::int64_t max_timestamp_ms_{};
    protocol::RecordBuffer records_;
    std::int32_t count_{0};
    std::int64_t dropped_{0};
    protocol::RecordBuffer newest_;  // the last record seen, encoded
    bool newest_stays_{false};
    std::int64_t total_dropped_{0};
};

}  // namespace

KeyHash hash_key(std::string_view key) {
    const XXH128_hash_t hash = XXH3_128bits(key.data(), key.size());
    return {hash.low64, hash.high64};
}

bool LastOffsets::add(const protocol::BatchView& batch) {
    bool room = true;
    // A batch that cannot be decoded holds keys that nobody can read; it is left alone.
    (void)batch.for_each(kMaxDecompressedBytes, [&](const protocol::Record& record) {
        if (!record.key) return true;
        Offset& last = last_[hash_key(*record.key)];
        last = std::max(last, record.offset);
        room = last_.size() <= kMaxKeys;
        return room;
    });
    return room;
}

bool LastOffsets::superseded(const protocol::Record& record) const {
    if (!record.key) return false;
    const auto found = last_.find(hash_key(*record.key));
    return found != last_.end() && found->second > record.offset;
}

Result<std::optional<std::vector<Bytes>>> compact_batches(const std::vector<protocol::BatchView>& batches,
                                                          const LastOffsets& last) {
    std::vector<Bytes> out;
    Merge merge(last, out);
    for (const protocol::BatchView& batch : batches) {
        const bool alone = (batch.attributes() & kLeftAlone) != 0;
        if (alone || !merge.takes(batch)) {
            if (auto ok = merge.finish(); !ok) return std::unexpected(std::move(ok.error()));
        }
        if (alone) {
            out.push_back(batch.bytes());
        } else if (auto ok = merge.add(batch); !ok) {
            return std::unexpected(std::move(ok.error()));
        }
    }
    if (auto ok = merge.finish(); !ok) return std::unexpected(std::move(ok.error()));
    if (!merge.changed()) return std::optional<std::vector<Bytes>>();
    return std::optional(std::move(out));
}

Bytes trim_batch(const Bytes& bytes, Offset from) {
    const auto batch = protocol::BatchView::parse(bytes);
    if (!batch || batch->base_offset() >= from || from >= batch->next_offset() || !mergeable(*batch)) return bytes;
    if (batch->record_count() == batch->next_offset() - batch->base_offset()) return bytes;
    const std::int64_t skip = from - batch->base_offset();
    protocol::RecordBuffer records;
    protocol::BatchFields fields;
    const auto walked =
        protocol::for_each_raw(*batch, kMaxDecompressedBytes, [&](const protocol::RawRecord& raw) -> Result<bool> {
            if (raw.offset_delta < skip) return true;
            protocol::RawRecord record = raw;
            record.offset_delta = static_cast<std::int32_t>(raw.offset_delta - skip);
            std::vector<protocol::Header> headers;
            if (auto ok = protocol::decode_headers(raw, headers); !ok) return std::unexpected(std::move(ok.error()));
            protocol::append_record(records, record, headers, protocol::record_body_bytes(record, headers));
            ++fields.record_count;
            return true;
        });
    if (!walked || fields.record_count == 0) return bytes;
    fields.base_offset = from;
    fields.leader_epoch = static_cast<std::int32_t>(batch->leader_epoch().value);
    fields.attributes = static_cast<std::uint16_t>(batch->attributes() & ~protocol::kCodecMask);
    fields.last_offset_delta = static_cast<std::int32_t>(batch->next_offset() - from - 1);
    fields.base_timestamp_ms = batch->base_timestamp_ms();
    fields.max_timestamp_ms = batch->max_timestamp_ms();
    fields.producer_id = batch->producer_id();
    fields.producer_epoch = batch->producer_epoch();
    fields.base_sequence = batch->base_sequence();
    auto trimmed = protocol::encode_batch(fields, batch->codec(), records);
    return trimmed ? *trimmed : bytes;
}

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
    std::vector<protocol::BatchView> batches;
    const SegmentScan scan = scan_segment(*data, 0, base, log->seed_);
    if (!scan.gaps.empty() || scan.end != log->end_of(i)) {
        return log->inspect(base, [self = shared_from_this()](bool) {
            self->finish(protocol::fail(ErrorCode::kCorrupt, "a segment that was to be compacted is damaged"));
        });
    }
    for (const ScannedEntry& entry : scan.entries) {
        const std::size_t begin = entry.position + kEntryHeaderBytes;
        auto view = protocol::BatchView::parse(data->slice(begin, entry.end_position - begin));
        LS_ASSERT(view.has_value());
        batches.push_back(std::move(*view));
    }
    if (pass_ == Pass::kLearn) {
        for (const protocol::BatchView& batch : batches) {
            if (!last_.add(batch)) return finish(protocol::fail(ErrorCode::kTooLarge, "too many keys to compact"));
        }
        ++at_;
        return next();
    }
    auto kept = compact_batches(batches, last_);
    if (!kept) return finish(std::unexpected(std::move(kept.error())));
    ++at_;
    if (!*kept) return next();
    std::vector<std::byte> content;
    for (const Bytes& batch : **kept) {
        const auto parsed = parse_batches(batch);
        LS_ASSERT(parsed.has_value());
        const std::size_t header = content.size();
        content.resize(header + kEntryHeaderBytes);
        encode_entry_header(content.data() + header,
                            {parsed->front().info.base, static_cast<std::uint32_t>(batch.size()),
                             parsed->front().info.view, log->synced_end_},
                            log->seed_);
        content.insert(content.end(), batch.span().begin(), batch.span().end());
    }
    SegmentRewrite::start(log, base, Bytes::copy_of(content), [self = shared_from_this()](Result<void> status) {
        if (!status) return self->finish(std::move(status));
        self->next();
    });
}

void StreamLog::compact(Offset below, FlushCallback callback) {
    if (compacting_ || changing_ || swaps_ > 0) {
        context_.disk.post([callback = std::move(callback)]() mutable {
            callback(protocol::fail(ErrorCode::kBusy, "the stream is being compacted or cut"));
        });
        return;
    }
    Compaction::start(shared_from_this(), below, std::move(callback));
}

}  // namespace logstream::storage
