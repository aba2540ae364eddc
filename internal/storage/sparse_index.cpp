#include "internal/storage/sparse_index.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

#include "internal/protocol/checksum.h"
#include "internal/protocol/error.h"
#include "internal/storage/byte_codec.h"

namespace logstream::storage {
namespace {

constexpr std::uint32_t kIndexMagic = 0x3249534c;  // "LSI2"
// Of brokers that did not keep the times of append. The records' greatest timestamp stands for them.
constexpr std::uint32_t kOldIndexMagic = 0x3149534c;  // "LSI1"
constexpr std::size_t kIndexChecksumAt = 4;
constexpr std::size_t kPlaceBytes = 16;

}  // namespace

void SparseIndex::add(Offset base, std::uint64_t position, std::int64_t max_timestamp_ms, std::int64_t appended_ms) {
    const bool far_enough = entries_.empty() || position >= entries_.back().position + std::uint64_t{interval_bytes_};
    // No segment of ours reaches further; a damaged one may seem to, and is walked from the place before.
    const bool fits = std::in_range<std::uint32_t>(position) && std::in_range<std::uint32_t>(base - base_);
    if (far_enough && fits)
        entries_.push_back(
            {static_cast<std::uint32_t>(base - base_), static_cast<std::uint32_t>(position), max_timestamp_ms_});
    max_timestamp_ms_ = std::max(max_timestamp_ms_, max_timestamp_ms);
    if (appended_.first_ms == kNoTimestamp) appended_.first_ms = appended_ms;
    appended_.last_ms = std::max(appended_.last_ms, appended_ms);
}

void SparseIndex::bound_append_times(std::int64_t latest_ms) {
    appended_.first_ms = std::min(appended_.first_ms, latest_ms);
    appended_.last_ms = std::min(appended_.last_ms, latest_ms);
}

void SparseIndex::truncate(std::uint64_t position) {
    while (!entries_.empty() && entries_.back().position >= position) entries_.pop_back();
    if (!entries_.empty()) return;  // the first entry is always remembered
    max_timestamp_ms_ = kNoTimestamp;
    appended_ = {};
}

std::uint64_t SparseIndex::position_of(Offset offset) const {
    const auto after = std::ranges::upper_bound(entries_, offset - base_, {},
                                                [](const Place& place) { return std::int64_t{place.offset}; });
    return after == entries_.begin() ? 0 : std::prev(after)->position;
}

Offset SparseIndex::offset_of_time(std::int64_t timestamp_ms) const {
    // older_ms never falls from one entry to the next.
    const auto after = std::ranges::lower_bound(entries_, timestamp_ms, {}, &Place::older_ms);
    return after == entries_.begin() ? base_ : base_ + std::prev(after)->offset;
}

Bytes SparseIndex::encode(std::uint64_t segment_bytes) const {
    ByteWriter out;
    out.put(kIndexMagic);
    out.put(std::uint32_t{0});  // checksum
    out.put(base_.value);
    out.put(segment_bytes);
    out.put(interval_bytes_);
    out.put(max_timestamp_ms_);
    out.put(appended_.first_ms);
    out.put(appended_.last_ms);
    out.put(static_cast<std::uint32_t>(entries_.size()));
    for (const Place& place : entries_) {
        out.put(place.offset);
        out.put(place.position);
        out.put(place.older_ms);
    }
    Bytes bytes = out.take();
    protocol::store(bytes.mutable_data() + kIndexChecksumAt,
                    protocol::crc32c(bytes.span().subspan(kIndexChecksumAt + 4)));
    return bytes;
}

std::optional<SparseIndex> SparseIndex::decode(std::span<const std::byte> bytes, Offset base,
                                               std::uint64_t segment_bytes) {
    ByteReader in(bytes);
    const auto magic = in.get<std::uint32_t>();
    const auto checksum = in.get<std::uint32_t>();
    const bool known = magic == kIndexMagic || magic == kOldIndexMagic;
    if (!in.ok() || !known || checksum != protocol::crc32c(in.rest())) return std::nullopt;
    SparseIndex index;
    index.base_ = Offset(in.get<std::int64_t>());
    const auto length = in.get<std::uint64_t>();
    index.interval_bytes_ = in.get<std::uint32_t>();
    index.max_timestamp_ms_ = in.get<std::int64_t>();
    index.appended_ = {index.max_timestamp_ms_, index.max_timestamp_ms_};
    if (magic == kIndexMagic) {
        index.appended_.first_ms = in.get<std::int64_t>();
        index.appended_.last_ms = in.get<std::int64_t>();
    }
    index.entries_.resize(in.get_count(kPlaceBytes));
    for (Place& place : index.entries_) {
        place.offset = in.get<std::uint32_t>();
        place.position = in.get<std::uint32_t>();
        place.older_ms = in.get<std::int64_t>();
    }
    const auto rises = [](const Place& a, const Place& b) {
        return a.offset < b.offset && a.position < b.position && a.older_ms <= b.older_ms;
    };
    const bool in_order = std::ranges::adjacent_find(index.entries_, std::not_fn(rises)) == index.entries_.end();
    if (!in.ok() || !in.at_end() || !in_order || index.base_ != base || length != segment_bytes) return std::nullopt;
    return index;
}

}  // namespace logstream::storage
