#include "internal/protocol/checksum.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace logstream::protocol {

std::uint32_t crc32c(std::span<const std::byte> data, std::uint32_t seed) {
    // ISA-L takes and returns the bare shift register; the standard inverts it before and after. Its length is an int.
    constexpr std::size_t kPiece = std::size_t{1} << 30;
    std::uint32_t state = ~seed;
    while (!data.empty()) {
        const auto piece = data.first(std::min(data.size(), kPiece));
        // ISA-L only reads, but its signature says otherwise.
        auto* at = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(piece.data()));
        state = crc32_iscsi(at, static_cast<int>(piece.size()), state);
        data = data.subspan(piece.size());
    }
    return ~state;
}

}  // namespace logstream::protocol
