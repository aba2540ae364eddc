#include "internal/replication/frame_packer.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace logstream::replication {

using protocol::kFirstFragment;
using protocol::kFrameHeaderBytes;
using protocol::kLastFragment;

namespace {

std::byte* put(std::byte* at, std::span<const std::byte> bytes) {
    std::memcpy(at, bytes.data(), bytes.size());
    return at + bytes.size();
}

}  // namespace

FramePacker::FramePacker(std::size_t frame_bytes, Sequence first_sequence)
    : frame_bytes_(frame_bytes), next_(first_sequence), open_bytes_(kFrameHeaderBytes) {
    LS_ASSERT(frame_bytes >= protocol::kMinFrameBytes);
    LS_ASSERT(first_sequence.value >= 1);
}

Sequence FramePacker::add(StreamId stream, Sequence committed, std::int64_t appended_ms, Bytes batch,
                          std::deque<PackedFrame>& out) {
    LS_ASSERT(!batch.empty());
    // Alone in its view an owner commits what it has not sent; but nobody receives that.
    const MessageHead head = encode_message_head(stream, std::min(committed, before(next_)), appended_ms, batch.size());
    const std::size_t message_bytes = head.size + batch.size();
    if (open() && open_bytes_ + message_bytes > frame_bytes_) close_frame(out, {});

    if (kFrameHeaderBytes + message_bytes > frame_bytes_) {
        fragment(head, batch, out);
        return before(next_);
    }
    const Sequence sequence = next_;
    const bool referenced = batch.size() >= kReferenceBytes;
    open_.push_back(Small{head, referenced ? Bytes() : batch});
    open_bytes_ += message_bytes;
    if (referenced) close_frame(out, std::move(batch));
    return sequence;
}

void FramePacker::flush(std::deque<PackedFrame>& out) {
    if (open()) close_frame(out, {});
}

// Copies the waiting messages into one buffer of their size; a referenced batch of the last one becomes the tail.
void FramePacker::close_frame(std::deque<PackedFrame>& out, Bytes referenced) {
    Bytes head = Bytes::allocate(open_bytes_ - referenced.size());
    std::byte* at = head.mutable_data() + kFrameHeaderBytes;
    for (const Small& message : open_) {
        at = put(at, message.head.span());
        if (!message.batch.empty()) at = put(at, message.batch.span());
    }
    LS_ASSERT(at == head.mutable_data() + head.size());
    open_.clear();
    open_bytes_ = kFrameHeaderBytes;
    out.push_back(PackedFrame{next_, kFirstFragment | kLastFragment, {std::move(head), std::move(referenced)}});
    ++next_;
}

// All heads of the message's frames lie in one buffer; the tails are slices of the batch.
void FramePacker::fragment(const MessageHead& head, const Bytes& batch, std::deque<PackedFrame>& out) {
    const std::size_t room = frame_bytes_ - kFrameHeaderBytes;
    const std::size_t frames = (head.size + batch.size() + room - 1) / room;
    const Bytes heads = [&] {
        Bytes buffer = Bytes::allocate(head.size + frames * kFrameHeaderBytes);
        put(buffer.mutable_data() + kFrameHeaderBytes, head.span());
        return buffer;
    }();

    std::size_t head_begin = 0;
    std::size_t batch_begin = 0;
    for (std::size_t i = 0; i < frames; ++i, ++next_) {
        const std::size_t head_bytes = kFrameHeaderBytes + (i == 0 ? head.size : 0);
        const std::size_t piece = std::min(frame_bytes_ - head_bytes, batch.size() - batch_begin);
        const auto flags =
            static_cast<std::uint8_t>((i == 0 ? kFirstFragment : 0) | (i + 1 == frames ? kLastFragment : 0));
        out.push_back(
            PackedFrame{next_, flags, {heads.slice(head_begin, head_bytes), batch.slice(batch_begin, piece)}});
        head_begin += head_bytes;
        batch_begin += piece;
    }
    LS_ASSERT(batch_begin == batch.size());
}

}  // namespace logstream::replication
