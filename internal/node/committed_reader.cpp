#include "internal/node/committed_reader.h"

#include <algorithm>

namespace logstream::node {

namespace {
constexpr std::size_t kReadBytes = 1u << 20;
constexpr std::size_t kMaxDecompressed = 64u << 20;
constexpr protocol::Duration kRetry = std::chrono::milliseconds(100);
}  // namespace

CommittedReader::CommittedReader(env::Env& env, Streams& streams, StreamId stream, RecordHandler apply)
    : env_(env), streams_(streams), id_(stream), apply_(std::move(apply)) {
    streams_.on_advanced([this](Stream& advanced) {
        if (advanced.id == id_) pump();
    });
}

bool CommittedReader::caught_up() const {
    const Stream* stream = streams_.find(id_);
    return stream == nullptr || next_ >= stream->high_watermark;
}

void CommittedReader::when_caught_up(std::function<void()> task) {
    if (caught_up()) return task();
    waiting_.emplace_back(streams_.find(id_)->high_watermark, std::move(task));
}

void CommittedReader::reset() {
    next_ = {};
    waiting_.clear();
    lifetime_.renew();
    reading_ = false;
    env_.set_timer(protocol::Duration{0}, lifetime_.guard([this] { pump(); }));
}

void CommittedReader::pump() {
    Stream* stream = streams_.find(id_);
    if (stream == nullptr || reading_ || next_ >= stream->high_watermark) return;
    next_ = std::max(next_, stream->log->log_start());
    reading_ = true;
    stream->log->read(
        next_, stream->high_watermark, kReadBytes, lifetime_.guard([this](Result<storage::Batches> batches) {
            reading_ = false;
            if (batches && !batches->empty()) {
                unreadable_ = false;
                apply(*batches);
                return pump();
            }
            if (!batches && !std::exchange(unreadable_, true))
                env_.log().error("STREAM {} cannot be read: {}", protocol::to_string(id_), batches.error().message);
            env_.set_timer(kRetry, lifetime_.guard([this] { pump(); }));
        }));
}

void CommittedReader::apply(const storage::Batches& batches) {
    for (const protocol::Bytes& bytes : batches) {
        auto batch = protocol::BatchView::parse(bytes);
        if (!batch) continue;
        if (batch->is_control()) {  // what compaction left of superseded records
            next_ = std::max(next_, batch->next_offset());
            continue;
        }
        const auto decoded = batch->for_each(kMaxDecompressed, [this](const protocol::Record& record) {
            if (record.offset >= next_) apply_(record);
            return true;
        });
        if (!decoded)
            env_.log().error("STREAM {} holds an unreadable batch at {}: {}", protocol::to_string(id_),
                             batch->base_offset(), decoded.error().message);
        next_ = std::max(next_, batch->next_offset());
    }
    while (!waiting_.empty() && waiting_.front().first <= next_) {
        const auto task = std::move(waiting_.front().second);
        waiting_.erase(waiting_.begin());
        task();
    }
}

}  // namespace logstream::node
