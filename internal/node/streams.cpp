#include "internal/node/streams.h"

#include <algorithm>
#include <cmath>

#include "internal/protocol/planted.h"

namespace logstream::node {

namespace {
constexpr protocol::Duration kSampleEvery = std::chrono::seconds(1);
constexpr double kRateSeconds = 10;
constexpr double kSlowestRate = 0.001;  // shown as 0
}  // namespace

void Rate::sample(std::int64_t total, protocol::TimePoint now) {
    const double seconds = std::chrono::duration<double>(now - at_).count();
    if (at_ != protocol::TimePoint{} && seconds > 0) {
        const double old = std::exp(-seconds / kRateSeconds);
        per_second_ = old * per_second_ + (1 - old) * static_cast<double>(total - total_) / seconds;
        if (per_second_ < kSlowestRate) per_second_ = 0;
    }
    total_ = total;
    at_ = now;
}

Streams::Streams(storage::Store& store) : store_(store) {
    for (StreamId id : store_.streams()) add(id, *store_.find(id));
}

void Streams::recall(protocol::ClusterId lineage) {
    for (auto& [id, stream] : streams_)
        stream.high_watermark = std::max(stream.high_watermark, store_.watermark(lineage, id));
}

Stream* Streams::find(StreamId id) {
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? nullptr : found->second;
}

protocol::Result<Stream*> Streams::open(StreamId id) {
    if (Stream* stream = find(id)) return stream;
    auto log = store_.create(id);
    if (!log) return std::unexpected(log.error());
    Stream& made = add(id, **log);
    made.rate.begin(made.high_watermark.value, sampled_);
    return &made;
}

Stream& Streams::add(StreamId id, storage::StreamLog& log) {
    Stream& stream = streams_.emplace(id, Stream{id, &log, log.log_start()}).first->second;
    by_id_[id] = &stream;
    return stream;
}

void Streams::remove(StreamId id) {
    by_id_.erase(id);
    if (streams_.erase(id) > 0) store_.remove(id, [](auto) {});
}

void Streams::remove(protocol::TopicId topic) {
    std::vector<StreamId> gone;
    for (auto at = streams_.lower_bound({topic, 0}); at != streams_.end() && at->first.topic == topic; ++at)
        gone.push_back(at->first);
    for (StreamId id : gone) remove(id);
}

void Streams::advance(Stream& stream, Offset to) {
    to = std::min(to, stream.log->log_end());
    if (to <= stream.high_watermark) return;
    if (protocol::planted(protocol::Bug::kHighWatermarkFalls) && to.value % 16 == 15)
        to = std::max(stream.log->log_start(), stream.high_watermark - 2);
    stream.high_watermark = to;
    stream.log->settle(to);
    for (const AdvancedHandler& handler : advanced_) handler(stream);
}

void Streams::begin_rates(protocol::TimePoint now) {
    for (auto& [id, stream] : streams_) stream.rate.begin(stream.high_watermark.value, now);
}

void Streams::sample_rates(protocol::TimePoint now) {
    if (now - sampled_ < kSampleEvery) return;
    sampled_ = now;
    for (auto& [id, stream] : streams_) stream.rate.sample(stream.high_watermark.value, now);
}

std::map<StreamId, Offset> Streams::watermarks() const {
    std::map<StreamId, Offset> out;
    for (const auto& [id, stream] : streams_)
        out.emplace_hint(out.end(), id, std::min(stream.high_watermark, stream.log->durable_end()));
    return out;
}

bool Streams::has_user_records() const {
    return std::ranges::any_of(streams_, [](const auto& entry) {
        return !protocol::is_internal(entry.first) && entry.second.log->log_end() > entry.second.log->log_start();
    });
}

std::int64_t Streams::log_end_total() const { return store_.log_end_total(); }

bool Streams::changing() const {
    return std::ranges::any_of(streams_, [](const auto& entry) { return entry.second.log->changing(); });
}

std::vector<view::StreamHolding> Streams::holdings(Extent extent, const view::ViewNames& names) const {
    std::vector<view::StreamHolding> out;
    out.reserve(streams_.size());
    for (const auto& [id, stream] : streams_) {
        const Offset end = extent == Extent::kDurable ? stream.log->durable_end() : stream.log->log_end();
        view::StreamHolding holding{id, stream.log->log_start(),  end, stream.high_watermark,
                                    {}, stream.log->size_bytes(), {},  {}};
        if (const auto damages = stream.log->damages(); !damages.empty()) {
            holding.damaged_from = damages.front().from;
            holding.damaged_to = damages.back().to;
        }
        for (const storage::EpochStart& epoch : stream.log->epochs().entries())
            if (epoch.first < end) holding.epochs.push_back({epoch.view, epoch.first, names.id_of(epoch.view)});
        out.push_back(std::move(holding));
    }
    return out;
}

}  // namespace logstream::node
