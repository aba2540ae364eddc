// The four compressions of Kafka's record batches, in the framing that Kafka clients write and read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "internal/protocol/bytes.h"
#include "internal/protocol/error.h"

namespace logstream::protocol {

// The number is Kafka's and stands in the batch's attributes. Never renumber.
enum class Codec : std::uint8_t { kNone = 0, kGzip = 1, kSnappy = 2, kLz4 = 3, kZstd = 4 };
inline constexpr std::uint8_t kCodecCount = 5;

// Lower-case names, as in settings and flags: none, gzip, snappy, lz4, zstd.
std::string_view to_string(Codec codec);
// The codec of that exact name; nullopt for any other text.
std::optional<Codec> parse_codec(std::string_view name);

// Compresses at the library's default level. The result may be larger than `data`; kNone copies. The forms:
//   gzip    RFC 1952, one member
//   snappy  the "xerial" framing of Kafka's Java client: 16 bytes of header, then blocks of at most 32 KiB, each with a
//           big-endian int32 length before it
//   lz4     LZ4 frame, independent blocks of 64 KiB (Kafka reads no dependent ones), with content size
//   zstd    one frame, with content size
// kTooLarge: more than 1 GiB to compress.
Result<Bytes> compress(Codec codec, std::span<const std::byte> data);

// The opposite, for bytes from outside. Reads what any Kafka client writes: gzip of several members, snappy with or
// without the xerial framing, LZ4 frames with linked or independent blocks, zstd frames with or without content size.
//
// Neither the result nor any buffer for it is ever larger than `max_bytes`, and none is larger than the codec could
// fill from so much input, whatever sizes the input claims. Beside it the libraries hold their working state: at most 9
// MiB for LZ4, 200 KiB for the others.
//
// kTooLarge: it holds more than `max_bytes`. kInvalid: it is not what the codec writes, or is cut off, or more follows.
Result<Bytes> decompress(Codec codec, std::span<const std::byte> data, std::size_t max_bytes);

}  // namespace logstream::protocol
