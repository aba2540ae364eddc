// Compressed bytes from any client, by each codec.
#include "internal/protocol/compression.h"

#include "tests/fuzz/fuzz.h"

namespace logstream::fuzz {

using protocol::Bytes;
using protocol::Codec;

namespace {

constexpr std::size_t kMaxBytes = 256u << 10;

void round_trip(Codec codec, Input data) {
    const auto compressed = protocol::compress(codec, data);
    LS_ASSERT(compressed.has_value());
    const auto again = protocol::decompress(codec, compressed->span(), data.size());
    LS_ASSERT(again && equal(again->span(), data));
    // Neither cut off nor with something behind it.
    if (codec == Codec::kNone || data.empty()) return;
    LS_ASSERT(!protocol::decompress(codec, compressed->span().first(compressed->size() - 1), kMaxBytes));
    LS_ASSERT(!protocol::decompress(codec, compressed->span(), data.size() - 1));
}

}  // namespace

// The first byte says by which codec.
void try_input(Input input) {
    if (input.empty()) return;
    const auto codec = static_cast<Codec>(std::to_integer<std::uint8_t>(input[0]) % (protocol::kCodecCount + 1));
    const auto data = input.subspan(1);
    const auto plain = protocol::decompress(codec, data, kMaxBytes);
    const bool known = static_cast<std::uint8_t>(codec) < protocol::kCodecCount;
    LS_ASSERT(known || !plain);
    if (known) round_trip(codec, data);
    if (!plain) return;
    LS_ASSERT(plain->size() <= kMaxBytes);
    round_trip(codec, plain->span());
}

}  // namespace logstream::fuzz
