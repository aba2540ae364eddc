#include "internal/replication/receive_window.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace logstream::replication {

using protocol::ErrorCode;
using protocol::fail;
using protocol::kFirstFragment;
using protocol::kLastFragment;
using protocol::Result;

ReceiveWindow::ReceiveWindow(const Options& options)
    : options_(options),
      next_(options.first_sequence),
      highest_(before(options.first_sequence)),
      last_message_end_(before(options.first_sequence)),
      early_end_(options.first_sequence) {
    LS_ASSERT(options.first_sequence.value >= 1);
    LS_ASSERT(options.max_frames >= 1);
}

Result<void> ReceiveWindow::insert(Sequence sequence, std::uint8_t flags, Bytes payload,
                                   std::vector<DeliveredMessage>& out) {
    if (broken_) return std::unexpected(*broken_);
    if (sequence < next_) {
        ++counters_.duplicates;
        return {};
    }
    if (sequence - next_ >= options_.max_frames) {
        ++counters_.beyond;
        return {};
    }
    highest_ = std::max(highest_, sequence);
    if (sequence > next_) {
        keep_early(sequence, flags, std::move(payload));
        return {};
    }

    Result<void> result = deliver(flags, std::move(payload), out);
    while (result && buffered_frames_ > 0 && next_ < early_end_ && early_[next_].present) {
        Early frame = std::exchange(early_[next_], Early{});
        buffered_bytes_ -= frame.payload.size();
        --buffered_frames_;
        result = deliver(frame.flags, std::move(frame.payload), out);
    }
    if (!result) broken_ = result.error();
    return result;
}

void ReceiveWindow::raise_highest(Sequence last) {
    highest_ = std::max(highest_, std::min(last, before(next_ + options_.max_frames)));
}

bool ReceiveWindow::is_missing(Sequence sequence) const {
    if (sequence < next_) return false;
    return sequence >= early_end_ || !early_[sequence].present;
}

void ReceiveWindow::keep_early(Sequence sequence, std::uint8_t flags, Bytes payload) {
    if (!is_missing(sequence)) {
        ++counters_.duplicates;
        return;
    }
    if (payload.size() > options_.max_buffered_bytes - buffered_bytes_) {
        ++counters_.beyond;
        return;
    }
    const Sequence end = std::max(next_, early_end_);
    early_end_ = std::max(end, sequence + 1);
    early_.reserve(next_, end, early_end_);
    buffered_bytes_ += payload.size();
    ++buffered_frames_;
    ++counters_.early;
    early_[sequence] = Early{true, flags, std::move(payload)};
}

// The frame next_; afterwards next_ is the one behind it.
Result<void> ReceiveWindow::deliver(std::uint8_t flags, Bytes payload, std::vector<DeliveredMessage>& out) {
    const bool first = (flags & kFirstFragment) != 0;
    const bool last = (flags & kLastFragment) != 0;
    const bool continues = !partial_.batch.empty();
    if (first == continues) {
        return fail(ErrorCode::kCorrupt, "frame {} {} a message while one is {}", next_, first ? "begins" : "continues",
                    continues ? "incomplete" : "not begun");
    }
    if (payload.empty()) return fail(ErrorCode::kCorrupt, "frame {} is empty", next_);

    const Result<void> result = first && last ? deliver_whole(payload, out)
                                : first       ? begin_fragmented(payload)
                                              : append_fragment(payload, last, out);
    if (!result) return result;
    ++counters_.frames;
    ++next_;
    return {};
}

Result<void> ReceiveWindow::deliver_whole(const Bytes& payload, std::vector<DeliveredMessage>& out) {
    for (std::size_t at = 0; at < payload.size();) {
        const auto head = decode_head(payload.span().subspan(at));
        if (!head) return std::unexpected(head.error());
        at += head->head_bytes;
        if (head->batch_bytes > payload.size() - at) {
            return fail(ErrorCode::kCorrupt, "a batch of {} bytes runs over the end of frame {}", head->batch_bytes,
                        next_);
        }
        // A copy, for a slice would pin the packet that it came in.
        auto batch = Bytes::copy_of(payload.span().subspan(at, head->batch_bytes));
        hand_out({head->stream, head->committed, head->appended_ms, std::move(batch), next_}, out);
        at += head->batch_bytes;
    }
    return {};
}

Result<void> ReceiveWindow::begin_fragmented(const Bytes& payload) {
    const auto head = decode_head(payload.span());
    if (!head) return std::unexpected(head.error());
    const std::size_t piece = payload.size() - head->head_bytes;
    if (piece >= head->batch_bytes) {
        return fail(ErrorCode::kCorrupt, "frame {} begins a fragmented message and holds all of it", next_);
    }
    partial_ = {head->stream, head->committed, head->appended_ms, Bytes::allocate(head->batch_bytes), next_};
    std::memcpy(partial_.batch.mutable_data(), payload.data() + head->head_bytes, piece);
    partial_filled_ = piece;
    return {};
}

Result<void> ReceiveWindow::append_fragment(const Bytes& payload, bool last, std::vector<DeliveredMessage>& out) {
    const std::size_t missing = partial_.batch.size() - partial_filled_;
    if (last ? payload.size() != missing : payload.size() >= missing) {
        return fail(ErrorCode::kCorrupt, "frame {} has {} bytes of a batch that lacks {}, {} its end", next_,
                    payload.size(), missing, last ? "at" : "before");
    }
    std::memcpy(partial_.batch.mutable_data() + partial_filled_, payload.data(), payload.size());
    partial_filled_ += payload.size();
    if (!last) return {};
    partial_.last_frame = next_;
    hand_out(std::exchange(partial_, {}), out);
    return {};
}

// What a sender says to be committed was acknowledged, so it was sent before this frame.
Result<DecodedMessageHead> ReceiveWindow::decode_head(std::span<const std::byte> payload) const {
    auto head = decode_message_head(payload, options_.max_message_bytes);
    if (head && head->committed >= next_) {
        return fail(ErrorCode::kCorrupt, "frame {} claims that {} is committed", next_, head->committed);
    }
    return head;
}

void ReceiveWindow::hand_out(DeliveredMessage message, std::vector<DeliveredMessage>& out) {
    last_message_end_ = message.last_frame;
    ++counters_.messages;
    counters_.batch_bytes += message.batch.size();
    out.push_back(std::move(message));
}

}  // namespace logstream::replication
