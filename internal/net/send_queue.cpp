#include "internal/net/send_queue.h"

#include <utility>

namespace logstream::net {

namespace {
// Of one system call.
constexpr std::size_t kGatherPieces = 256;
constexpr std::size_t kGatherBytes = 1u << 20;
constexpr std::size_t kPieceOverheadBytes = 64;
}  // namespace

void SendQueue::push(protocol::Bytes piece) {
    if (piece.empty()) return;
    bytes_ += piece.size();
    pieces_.push_back(std::move(piece));
}

std::size_t SendQueue::cost_bytes() const { return bytes_ + pieces_.size() * kPieceOverheadBytes; }

std::span<const uv_buf_t> SendQueue::gather() {
    buffers_.clear();
    std::size_t gathered = 0;
    for (const protocol::Bytes& piece : pieces_) {
        if (buffers_.size() == kGatherPieces || gathered >= kGatherBytes) break;
        auto* base = const_cast<char*>(reinterpret_cast<const char*>(piece.data()));  // libuv only reads it
        buffers_.push_back(uv_buf_init(base, static_cast<unsigned>(piece.size())));
        gathered += piece.size();
    }
    return buffers_;
}

void SendQueue::consume(std::size_t bytes) {
    LS_ASSERT(bytes <= bytes_);
    bytes_ -= bytes;
    while (bytes > 0) {
        protocol::Bytes& first = pieces_.front();
        if (bytes < first.size()) {
            first = first.from(bytes);
            return;
        }
        bytes -= first.size();
        pieces_.pop_front();
    }
}

void SendQueue::clear() {
    pieces_.clear();
    buffers_.clear();
    bytes_ = 0;
}

std::size_t total_bytes(std::span<const uv_buf_t> buffers) {
    std::size_t total = 0;
    for (const uv_buf_t& buffer : buffers) total += buffer.len;
    return total;
}

}  // namespace logstream::net
