// CRC-32C (Castagnoli), the one checksum of frames, record batches and disk entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace logstream::protocol {

// The standard CRC-32C of `data` (RFC 3720 appendix B.4: crc32c("123456789") == 0xe3069283), in hardware where there is
// any. Chainable: crc32c(b, crc32c(a)) is the checksum of a followed by b. The checksum of nothing is `seed`.
std::uint32_t crc32c(std::span<const std::byte> data, std::uint32_t seed = 0);

}  // namespace logstream::protocol
