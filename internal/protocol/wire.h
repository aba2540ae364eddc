// Little-endian fields at a position of a buffer whose size the caller has checked.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>

namespace logstream::protocol {

static_assert(std::endian::native == std::endian::little,
              "the wire is little-endian and so is every supported machine");

template <std::integral T>
T load(const std::byte* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}
template <std::integral T>
void store(std::byte* at, T value) {
    std::memcpy(at, &value, sizeof value);
}

}  // namespace logstream::protocol
