// Big-endian fields, as Kafka's formats have them, at a position of a buffer whose size the caller has checked.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>

#include "internal/protocol/wire.h"

namespace logstream::protocol {

template <std::integral T>
T load_be(const std::byte* at) {
    return std::byteswap(load<T>(at));
}
template <std::integral T>
void store_be(std::byte* at, T value) {
    store(at, std::byteswap(value));
}

}  // namespace logstream::protocol
