#include "cmd/consumer/analytics.h"

#include <algorithm>

namespace logstream::consumer {

namespace {
constexpr protocol::Duration kLeastSlice = std::chrono::milliseconds(100);
constexpr int kMostSlices = 1000;
}  // namespace

Analytics::Analytics(protocol::Duration window)
    : window_(window), slice_(std::max(kLeastSlice, window / kMostSlices)) {}

void Analytics::forget(protocol::TimePoint now) {
    while (!slices_.empty() && now - slices_.front().begin > window_) slices_.pop_front();
}

void Analytics::add(protocol::TimePoint now, std::string_view topic, const client::ConsumedRecord& consumed) {
    if (first_ == protocol::TimePoint{}) first_ = now;
    if (slices_.empty() || now - slices_.back().begin >= slice_) {
        forget(now);
        slices_.push_back({now, 0, 0, {}});
    }
    const std::uint64_t bytes = consumed.record.value.value_or("").size() + consumed.record.key.value_or("").size();
    Slice& slice = slices_.back();
    ++slice.records;
    slice.bytes += bytes;
    auto known = topics_.find(topic);
    if (known == topics_.end()) known = topics_.emplace(topic).first;
    ++slice.by_partition[{*known, consumed.partition}];
    ++total_records_;
    total_bytes_ += bytes;
}

std::string Analytics::line(protocol::TimePoint now) {
    forget(now);
    Slice sum{};
    for (const Slice& slice : slices_) {
        sum.records += slice.records;
        sum.bytes += slice.bytes;
        for (const auto& [place, records] : slice.by_partition) sum.by_partition[place] += records;
    }
    const double window_s = std::chrono::duration<double>(window_).count();
    const double seconds =
        std::clamp(std::chrono::duration<double>(now - first_).count(), 0.1, window_s);  // shorter at the start
    std::string partitions;
    for (const auto& [place, records] : sum.by_partition)
        partitions += fmt::format("{}{}{}{}:{}", partitions.empty() ? "" : " ", place.first,
                                  place.first.empty() ? "" : "/", place.second, records);
    return fmt::format(
        "window={:g}s records={} rate={:.1f}/s bytes={} MB/s={:.3f} partitions=[{}] total_records={} total_bytes={}\n",
        window_s, sum.records, static_cast<double>(sum.records) / seconds, sum.bytes,
        static_cast<double>(sum.bytes) / seconds / 1e6, partitions, total_records_, total_bytes_);
}

}  // namespace logstream::consumer
