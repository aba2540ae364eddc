// Encoded records on their way to becoming a batch.
#pragma once

#include <cstddef>
#include <span>

#include "internal/protocol/bytes.h"

namespace logstream::protocol {

// What stands before a batch's records; record_batch.h tells its fields.
inline constexpr std::size_t kBatchHeaderBytes = 61;

// Encoded records, one behind the other, with room before them for the header of the batch that they become:
// encode_batch hands the buffer on and copies nothing.
class RecordBuffer {
public:
    RecordBuffer() = default;
    RecordBuffer(const RecordBuffer&) = delete;  // two would write to one buffer
    RecordBuffer& operator=(const RecordBuffer&) = delete;

    std::size_t size() const { return end_ - kBatchHeaderBytes; }
    bool empty() const { return size() == 0; }
    std::span<const std::byte> span() const {
        return empty() ? std::span<const std::byte>() : buffer_.span().subspan(kBatchHeaderBytes, size());
    }
    const std::byte* end() const { return buffer_.data() + end_; }

    // So many bytes more at the end, for the caller to fill.
    std::byte* extend(std::size_t bytes) {
        if (end_ + bytes > buffer_.size()) grow(bytes);
        std::byte* const at = buffer_.mutable_data() + end_;
        end_ += bytes;
        return at;
    }
    void append(std::span<const std::byte> records);
    void clear() { end_ = kBatchHeaderBytes; }

    // The records behind kBatchHeaderBytes bytes that are not initialised. Leaves nothing here.
    Bytes take();

private:
    void grow(std::size_t bytes);

    Bytes buffer_;  // nobody else's
    std::size_t end_{kBatchHeaderBytes};
    std::size_t last_taken_{};  // bytes: the next ones are likely to be as many
};

}  // namespace logstream::protocol
