// Shared, sliceable bytes: what a socket read goes to the log, the multicast and the readers by reference.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include "internal/protocol/error.h"

namespace logstream::protocol {

// A slice of a reference-counted buffer. Copying a Bytes copies the reference. The bytes are constant once a
// second holder exists; `mutable_data` is for the one who fills the buffer or patches a batch's owner fields.
class Bytes {
public:
    Bytes() = default;

    // A new buffer of `size` bytes, not initialised.
    static Bytes allocate(std::size_t size) {
        Bytes b;
        b.owner_ = std::make_shared_for_overwrite<std::byte[]>(size);
        b.data_ = b.owner_.get();
        b.size_ = size;
        return b;
    }
    static Bytes copy_of(std::span<const std::byte> source) {
        Bytes b = allocate(source.size());
        if (!source.empty()) std::memcpy(b.data_, source.data(), source.size());
        return b;
    }
    static Bytes copy_of(std::string_view source) { return copy_of(std::as_bytes(std::span(source))); }

    const std::byte* data() const { return data_; }
    std::byte* mutable_data() { return data_; }
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    std::span<const std::byte> span() const { return {data_, size_}; }
    std::string_view view() const { return {reinterpret_cast<const char*>(data_), size_}; }

    // Whether another holds the buffer, or a part of it.
    bool shared() const { return owner_.use_count() > 1; }

    // The part [begin, begin + size); shares the buffer.
    Bytes slice(std::size_t begin, std::size_t size) const {
        LS_ASSERT(begin <= size_ && size <= size_ - begin);
        Bytes b = *this;
        b.data_ += begin;
        b.size_ = size;
        return b;
    }
    Bytes from(std::size_t begin) const { return slice(begin, size_ - begin); }

private:
    std::shared_ptr<std::byte[]> owner_;
    std::byte* data_{};
    std::size_t size_{};
};

}  // namespace logstream::protocol
