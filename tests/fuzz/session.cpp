// A session's frames: in whatever order they come, they make the messages that they make in order.
#include <algorithm>
#include <deque>

#include "internal/replication/frame_packer.h"
#include "internal/replication/receive_window.h"
#include "internal/replication/session_message.h"
#include "tests/fuzz/fuzz.h"

namespace logstream::fuzz {

using namespace replication;
using protocol::Bytes;

namespace {

constexpr ReceiveWindow::Options kOptions{
    .first_sequence = Sequence{1}, .max_frames = 64, .max_buffered_bytes = 4096, .max_message_bytes = 8192};
constexpr std::size_t kMaxPieces = 64;

struct Heard {
    std::vector<DeliveredMessage> messages;
    bool broken{};
};

bool same_content(const DeliveredMessage& a, const DeliveredMessage& b) {
    return a.stream == b.stream && equal(a.batch.span(), b.batch.span());
}

bool same(const DeliveredMessage& a, const DeliveredMessage& b) {
    return same_content(a, b) && a.committed == b.committed && a.last_frame == b.last_frame;
}

// Frame `i` is the piece before it. Those that find no room are sent again, until nothing moves.
Heard listen(const std::vector<Piece>& pieces, const std::vector<std::uint64_t>& order) {
    Heard heard;
    ReceiveWindow window(kOptions);
    for (Sequence before{}; !heard.broken && window.received() != before;) {
        before = window.received();
        for (const std::uint64_t i : order) {
            const Piece& piece = pieces[i - 1];
            heard.broken = !window.insert(Sequence{i}, piece.tag, Bytes::copy_of(piece.bytes), heard.messages);
            LS_ASSERT(window.buffered_bytes() <= kOptions.max_buffered_bytes);
            LS_ASSERT(window.received() <= window.highest_seen() && window.last_message_end() <= window.received());
            if (heard.broken) break;
        }
    }
    return heard;
}

void pack_again(const std::vector<DeliveredMessage>& messages) {
    FramePacker packer(protocol::kMinFrameBytes, Sequence{1});
    std::deque<PackedFrame> frames;
    for (const DeliveredMessage& m : messages) {
        const auto head = encode_message_head(m.stream, m.committed, m.appended_ms, m.batch.size());
        const auto decoded = decode_message_head(head.span(), m.batch.size());
        LS_ASSERT(decoded && decoded->stream == m.stream && decoded->committed == m.committed);
        LS_ASSERT(decoded->head_bytes == head.size && decoded->batch_bytes == m.batch.size());
        packer.add(m.stream, m.committed, m.appended_ms, m.batch, frames);
    }
    packer.flush(frames);
    ReceiveWindow window(ReceiveWindow::Options{.max_message_bytes = kOptions.max_message_bytes});
    std::vector<DeliveredMessage> again;
    for (const PackedFrame& packed : frames) {
        LS_ASSERT(packed.frame.size() <= protocol::kMinFrameBytes);
        std::vector<std::byte> payload(packed.frame.head.span().begin() + protocol::kFrameHeaderBytes,
                                       packed.frame.head.span().end());
        payload.insert(payload.end(), packed.frame.tail.span().begin(), packed.frame.tail.span().end());
        LS_ASSERT(window.insert(packed.sequence, packed.flags, Bytes::copy_of(payload), again).has_value());
    }
    LS_ASSERT(std::ranges::equal(messages, again, same_content));
}

}  // namespace

// Each piece is a frame: the flags are its tag's lowest bits, the others shuffle.
void try_input(Input input) {
    auto pieces = cut(input);
    if (pieces.size() > kMaxPieces) pieces.resize(kMaxPieces);
    std::vector<std::uint64_t> order(pieces.size());
    std::ranges::generate(order, [next = std::uint64_t{}]() mutable { return ++next; });
    for (const Piece& piece : pieces)
        if (const auto head = decode_message_head(piece.bytes, kOptions.max_message_bytes)) {
            LS_ASSERT(head->head_bytes <= piece.bytes.size());
            LS_ASSERT(head->batch_bytes > 0 && head->batch_bytes <= kOptions.max_message_bytes);
        }
    const Heard in_order = listen(pieces, order);
    std::ranges::sort(order, {}, [&](std::uint64_t i) { return std::pair(pieces[i - 1].tag >> 2, i); });
    const Heard shuffled = listen(pieces, order);
    LS_ASSERT(in_order.broken == shuffled.broken && std::ranges::equal(in_order.messages, shuffled.messages, same));
    pack_again(in_order.messages);
}

}  // namespace logstream::fuzz
