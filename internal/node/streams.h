// The broker's streams: each one's log, and the offset below which all is committed.
#pragma once

#include <functional>
#include <map>
#include <unordered_map>

#include "internal/storage/store.h"
#include "internal/storage/stream_log.h"
#include "internal/view/change.h"

namespace logstream::node {

using protocol::Offset;
using protocol::StreamId;

// How fast a number grows: a moving average that forgets with a time constant of ten seconds.
class Rate {
public:
    // Where it begins, unless that is the first sample.
    void begin(std::int64_t total, protocol::TimePoint now) { total_ = total, at_ = now; }
    // Once a second or so.
    void sample(std::int64_t total, protocol::TimePoint now);
    double per_second() const { return per_second_; }

private:
    std::int64_t total_{};
    protocol::TimePoint at_{};
    double per_second_{};
};

struct Stream {
    StreamId id;
    storage::StreamLog* log{};
    // Below it all is committed and readable. Never falls while the process runs.
    Offset high_watermark;
    Rate rate{};  // of the high watermark
};

class Streams {
public:
    // A stream's high watermark rose.
    using AdvancedHandler = std::function<void(Stream&)>;

    explicit Streams(storage::Store& store);
    // Once, before anything else: what a run in this lineage saved of the high watermarks.
    void recall(protocol::ClusterId lineage);
    void on_advanced(AdvancedHandler handler) { advanced_.push_back(std::move(handler)); }

    Stream* find(StreamId id);
    // Made if it is not there.
    protocol::Result<Stream*> open(StreamId id);
    void remove(StreamId id);
    // All partitions of the topic, with their orphans.
    void remove(protocol::TopicId topic);

    // A recovery gives up what was committed from `to` on: a person has decided.
    void give_up(Stream& stream, Offset to) { stream.high_watermark = std::min(stream.high_watermark, to); }
    // What a restart may begin with: of each stream what is committed and durable here.
    std::map<StreamId, Offset> watermarks() const;

    // What has grown so far was not written now: it was read from disk, or found to be committed.
    void begin_rates(protocol::TimePoint now);
    // Looks how fast each stream grows, at most once a second.
    void sample_rates(protocol::TimePoint now);

    // Everything below `to` is committed; an older value changes nothing. Never beyond the log's end.
    void advance(Stream& stream, Offset to);

    std::map<StreamId, Stream>& all() { return streams_; }
    const std::map<StreamId, Stream>& all() const { return streams_; }
    bool has_user_records() const;
    // Some log is being cut or mended, perhaps for somebody who is gone: what it holds is not to be told yet.
    bool changing() const;
    // Sum of all log ends: how far a member is, in one number.
    std::int64_t log_end_total() const;
    // What this node holds, as STATE_EXCHANGE tells it. `durable`: up to what a completed flush covers. The logs know
    // views by number, `names` their ids.
    enum class Extent : std::uint8_t { kDurable, kWhole };
    std::vector<view::StreamHolding> holdings(Extent extent, const view::ViewNames& names) const;

private:
    Stream& add(StreamId id, storage::StreamLog& log);

    storage::Store& store_;
    std::map<StreamId, Stream> streams_;
    // Points into streams_: looked up for every batch, so hashed rather than searched in the tree.
    std::unordered_map<StreamId, Stream*> by_id_;
    std::vector<AdvancedHandler> advanced_;
    protocol::TimePoint sampled_{};
};

}  // namespace logstream::node
