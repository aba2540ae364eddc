#include "internal/protocol/record_buffer.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace logstream::protocol {
namespace {

constexpr std::size_t kFirstBytes = 512;

}  // namespace

void RecordBuffer::grow(std::size_t bytes) {
    // A little more than the last time: what closes a batch is rarely the same record to the byte.
    const std::size_t likely = last_taken_ + last_taken_ / 8;
    Bytes larger = Bytes::allocate(std::max({end_ + bytes, 2 * buffer_.size(), likely, kFirstBytes}));
    if (!empty()) std::memcpy(larger.mutable_data() + kBatchHeaderBytes, span().data(), size());
    buffer_ = std::move(larger);
}

void RecordBuffer::append(std::span<const std::byte> records) {
    if (!records.empty()) std::memcpy(extend(records.size()), records.data(), records.size());
}

Bytes RecordBuffer::take() {
    if (buffer_.empty()) grow(0);
    last_taken_ = end_;
    Bytes taken = buffer_.slice(0, end_);
    // Whoever keeps the batch keeps the whole buffer.
    if (end_ < buffer_.size() / 2)
        taken = Bytes::copy_of(taken.span());
    else
        buffer_ = {};
    clear();
    return taken;
}

}  // namespace logstream::protocol
