#include "internal/storage/compacted_batches.h"

#include <algorithm>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "internal/protocol/record_codec.h"

namespace logstream::storage {
namespace {

using protocol::BatchView;

// Neighbours become one batch up to this size, and while their offsets are this close.
constexpr std::size_t kMaxMergedBytes = 1u << 20;
constexpr std::int64_t kMaxMergedOffsets = std::int64_t{1} << 30;
constexpr std::uint16_t kLeftAlone = protocol::kOrphanBit | protocol::kTransactionalBit | protocol::kAppendTimeBit;

bool mergeable(const BatchView& batch) {
    return (batch.attributes() & kLeftAlone) == 0 && (!batch.is_control() || is_stub(batch));
}

// Everything of `batch` but its records, from `base` on; it becomes a stub if no record is added.
protocol::BatchFields fields_from(const BatchView& batch, Offset base) {
    protocol::BatchFields fields;
    fields.base_offset = base;
    fields.leader_epoch = protocol::leader_epoch_of(batch.leader_epoch());
    fields.attributes = static_cast<std::uint16_t>(batch.attributes() & ~protocol::kCodecMask & ~protocol::kControlBit);
    fields.last_offset_delta = static_cast<std::int32_t>(batch.last_offset() - base);
    fields.base_timestamp_ms = batch.base_timestamp_ms();
    fields.max_timestamp_ms = batch.max_timestamp_ms();
    fields.producer_id = batch.producer_id();
    fields.producer_epoch = batch.producer_epoch();
    fields.base_sequence = batch.base_sequence();
    if (fields.base_sequence >= 0)
        fields.base_sequence =
            protocol::advance_sequence(fields.base_sequence, static_cast<std::int32_t>(base - batch.base_offset()));
    return fields;
}

Result<Bytes> write(protocol::BatchFields fields, protocol::Codec codec, protocol::RecordBuffer& records) {
    if (fields.record_count == 0) {
        protocol::RawRecord nothing;
        nothing.offset_delta = fields.last_offset_delta;
        protocol::append_record(records, nothing, {}, protocol::record_body_bytes(nothing, {}));
        fields.record_count = 1;
        fields.attributes |= protocol::kControlBit;
        codec = protocol::Codec::kNone;
    }
    return protocol::encode_batch(fields, codec, records);
}

// Gathers what stays of one batch, or of neighbours that become one.
class Merge {
public:
    Merge(const LastOffsets& last, std::vector<StoredBatch>& out) : last_(last), out_(out) {}

    bool takes(const BatchView& batch) const {
        if (batches_ == 0) return true;
        const BatchView& before = *newest_;
        const bool same_origin = batch.producer_id() == before.producer_id() &&
                                 batch.leader_epoch() == before.leader_epoch() &&
                                 (batch.producer_id() == protocol::kNoProducer ||
                                  (batch.producer_epoch() == before.producer_epoch() && before.base_sequence() >= 0 &&
                                   batch.base_sequence() == protocol::advance_sequence(before.last_sequence(), 1)));
        return same_origin && batch.base_offset() == before.next_offset() && records_.size() < kMaxMergedBytes &&
               batch.next_offset() - first_->batch.base_offset() < kMaxMergedOffsets;
    }

    // False, and nothing has changed, when the batch cannot be decoded.
    bool add(const StoredBatch& stored) {
        const StoredBatch& first = batches_ == 0 ? stored : *first_;
        protocol::RecordBuffer kept;
        std::int32_t count = 0;
        std::int64_t dropped = 0;
        const auto visit = [&](const protocol::Record& record) {
            if (last_.superseded(record)) {
                ++dropped;
            } else {
                encode(kept, record, first.batch);
                ++count;
            }
            return true;
        };
        if (!is_stub(stored.batch) && !stored.batch.for_each(protocol::kMaxStoredRecordsBytes, visit)) return false;
        if (batches_++ == 0) {
            first_ = stored;
            max_timestamp_ms_ = kNoTimestamp;
            appended_ms_ = kNoTimestamp;
        }
        records_.append(kept.span());
        count_ += count;
        dropped_ += dropped;
        newest_ = stored.batch;
        max_timestamp_ms_ = std::max(max_timestamp_ms_, stored.batch.max_timestamp_ms());
        appended_ms_ = std::max(appended_ms_, stored.appended_ms);
        return true;
    }

    // Writes the batch and starts anew.
    Result<void> finish() {
        if (batches_ == 0) return {};
        if (batches_ == 1 && dropped_ == 0) {
            out_.push_back(*first_);
        } else {
            protocol::BatchFields fields = fields_from(first_->batch, first_->batch.base_offset());
            fields.last_offset_delta = static_cast<std::int32_t>(newest_->last_offset() - fields.base_offset);
            fields.max_timestamp_ms = max_timestamp_ms_;
            fields.record_count = count_;
            auto bytes = write(fields, first_->batch.codec(), records_);
            if (!bytes) return std::unexpected(std::move(bytes.error()));
            auto batch = BatchView::parse(*std::move(bytes));
            LS_ASSERT(batch.has_value());
            out_.push_back({*std::move(batch), appended_ms_});
        }
        total_dropped_ += dropped_;
        batches_ = 0;
        count_ = 0;
        dropped_ = 0;
        records_.clear();
        return {};
    }

    // Whether the outcome is worth a new segment.
    bool changed() const { return total_dropped_ > 0; }

private:
    static void encode(protocol::RecordBuffer& out, const protocol::Record& record, const BatchView& first) {
        protocol::RawRecord raw;
        // Producers' clocks may say anything: the difference wraps as the encoder's does.
        raw.timestamp_delta = static_cast<std::int64_t>(static_cast<std::uint64_t>(record.timestamp_ms) -
                                                        static_cast<std::uint64_t>(first.base_timestamp_ms()));
        raw.offset_delta = static_cast<std::int32_t>(record.offset - first.base_offset());
        raw.key = record.key;
        raw.value = record.value;
        raw.header_count = static_cast<std::int32_t>(record.headers.size());
        protocol::append_record(out, raw, record.headers, protocol::record_body_bytes(raw, record.headers));
    }

    const LastOffsets& last_;
    std::vector<StoredBatch>& out_;
    std::size_t batches_{0};
    std::optional<StoredBatch> first_;
    std::optional<BatchView> newest_;
    std::int64_t max_timestamp_ms_{};
    std::int64_t appended_ms_{};
    protocol::RecordBuffer records_;
    std::int32_t count_{0};
    std::int64_t dropped_{0};
    std::int64_t total_dropped_{0};
};

}  // namespace

bool is_stub(const BatchView& batch) {
    return batch.is_control() && (batch.producer_id() == protocol::kNoProducer || batch.base_sequence() >= 0);
}

KeyHash hash_key(std::string_view key) {
    const XXH128_hash_t hash = XXH3_128bits(key.data(), key.size());
    return {hash.low64, hash.high64};
}

bool LastOffsets::add(const BatchView& batch) {
    of_batch_.clear();
    const auto read = batch.for_each(protocol::kMaxStoredRecordsBytes, [this](const protocol::Record& record) {
        if (record.key) of_batch_.emplace_back(hash_key(*record.key), record.offset);
        return true;
    });
    if (!read) return true;
    for (const auto& [key, offset] : of_batch_) {
        Offset& last = last_[key];
        last = std::max(last, offset);
    }
    return last_.size() <= kMaxKeys;
}

bool LastOffsets::superseded(const protocol::Record& record) const {
    if (!record.key) return false;
    const auto found = last_.find(hash_key(*record.key));
    return found != last_.end() && found->second > record.offset;
}

Result<std::optional<std::vector<StoredBatch>>> compact_batches(const std::vector<StoredBatch>& batches,
                                                                const LastOffsets& last) {
    std::vector<StoredBatch> out;
    Merge merge(last, out);
    for (const StoredBatch& stored : batches) {
        const bool merges = mergeable(stored.batch);
        if (!merges || !merge.takes(stored.batch)) {
            if (auto ok = merge.finish(); !ok) return std::unexpected(std::move(ok.error()));
        }
        if (merges && merge.add(stored)) continue;
        if (auto ok = merge.finish(); !ok) return std::unexpected(std::move(ok.error()));
        out.push_back(stored);
    }
    if (auto ok = merge.finish(); !ok) return std::unexpected(std::move(ok.error()));
    if (!merge.changed()) return std::optional<std::vector<StoredBatch>>();
    return std::optional(std::move(out));
}

Bytes trim_batch(const Bytes& bytes, Offset from) {
    const auto batch = BatchView::parse(bytes);
    if (!batch || batch->base_offset() >= from || from >= batch->next_offset() || !mergeable(*batch)) return bytes;
    if (batch->record_count() == batch->next_offset() - batch->base_offset()) return bytes;
    const std::int64_t skip = from - batch->base_offset();
    protocol::RecordBuffer records;
    protocol::BatchFields fields = fields_from(*batch, from);
    const auto keep = [&](const protocol::RawRecord& raw) -> Result<bool> {
        if (raw.offset_delta < skip) return true;
        protocol::RawRecord record = raw;
        record.offset_delta = static_cast<std::int32_t>(raw.offset_delta - skip);
        std::vector<protocol::Header> headers;
        if (auto ok = protocol::decode_headers(raw, headers); !ok) return std::unexpected(std::move(ok.error()));
        protocol::append_record(records, record, headers, protocol::record_body_bytes(record, headers));
        ++fields.record_count;
        return true;
    };
    if (!is_stub(*batch) && !protocol::for_each_raw(*batch, protocol::kMaxStoredRecordsBytes, keep)) return bytes;
    auto trimmed = write(fields, batch->codec(), records);
    return trimmed ? *trimmed : bytes;
}

}  // namespace logstream::storage
