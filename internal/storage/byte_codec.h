// Writes and reads the little-endian fields of the small files (snapshots, indexes, state). A reader never goes past
// its end: a read too far marks it failed and gives zeros, so a decoder checks once.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "internal/protocol/bytes.h"
#include "internal/protocol/wire.h"

namespace logstream::storage {

class ByteWriter {
public:
    template <std::integral T>
    void put(T value) {
        const std::size_t at = bytes_.size();
        bytes_.resize(at + sizeof value);
        protocol::store(bytes_.data() + at, value);
    }
    void put_bytes(std::span<const std::byte> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
    std::span<const std::byte> span() const { return bytes_; }
    std::size_t size() const { return bytes_.size(); }
    protocol::Bytes take() const { return protocol::Bytes::copy_of(bytes_); }

private:
    std::vector<std::byte> bytes_;
};

class ByteReader {
public:
    explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}
    template <std::integral T>
    T get() {
        if (bytes_.size() < sizeof(T)) {
            failed_ = true;
            bytes_ = {};
            return T{};
        }
        const T value = protocol::load<T>(bytes_.data());
        bytes_ = bytes_.subspan(sizeof(T));
        return value;
    }
    // A count of things that take at least `least_size` bytes each; failed when so many cannot follow.
    std::size_t get_count(std::size_t least_size) {
        const auto count = get<std::uint32_t>();
        if (count > bytes_.size() / least_size) failed_ = true;
        return failed_ ? 0 : count;
    }
    void fail() { failed_ = true; }
    bool ok() const { return !failed_; }
    bool at_end() const { return bytes_.empty(); }
    std::span<const std::byte> rest() const { return bytes_; }

private:
    std::span<const std::byte> bytes_;
    bool failed_{false};
};

}  // namespace logstream::storage
