// A datagram: header and checksum.
#include "internal/protocol/frame.h"

#include "internal/protocol/checksum.h"
#include "tests/fuzz/fuzz.h"

namespace logstream::fuzz {

using protocol::Bytes;
using protocol::kFrameHeaderBytes;
using protocol::kLeastFrameHeaderBytes;

namespace {

constexpr std::size_t kHeaderWordsAt = 7;
constexpr std::size_t kCrcAt = 12;

Bytes with_checksum(Input datagram) {
    Bytes out = Bytes::copy_of(datagram);
    if (out.size() < kLeastFrameHeaderBytes) return out;
    protocol::store(out.mutable_data() + kCrcAt, std::uint32_t{0});
    protocol::store(out.mutable_data() + kCrcAt, protocol::crc32c(out.span()));
    return out;
}

void decode(const Bytes& datagram) {
    const auto frame = protocol::decode_frame(datagram.span());
    if (!frame) return;
    LS_ASSERT(frame->payload_begin >= kLeastFrameHeaderBytes && frame->payload_begin <= datagram.size());
    if (datagram.data()[kHeaderWordsAt] == std::byte{kFrameHeaderBytes / 4}) {
        const Bytes again = protocol::encode_frame(frame->header, datagram.from(frame->payload_begin).span());
        LS_ASSERT(equal(again.span(), datagram.span()));
    }
    // Whatever bit flips on the way, the datagram is refused.
    Bytes flipped = Bytes::copy_of(datagram.span());
    const std::size_t bit = protocol::crc32c(datagram.span()) % (datagram.size() * 8);
    flipped.mutable_data()[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    LS_ASSERT(!protocol::decode_frame(flipped.span()));
}

}  // namespace

void try_input(Input input) {
    decode(Bytes::copy_of(input));
    decode(with_checksum(input));
}

}  // namespace logstream::fuzz
