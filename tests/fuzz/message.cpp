// A TCP connection's bytes: they make the same messages however the network cuts them.
#include "internal/protocol/message.h"

#include <algorithm>
#include <limits>

#include "internal/protocol/checksum.h"
#include "tests/fuzz/fuzz.h"

namespace logstream::fuzz {

using protocol::Bytes;
using protocol::kMessageHeaderBytes;
using protocol::Message;
using protocol::MessageDecoder;

namespace {

constexpr protocol::ClusterTag kCluster{0x10c5};
constexpr MessageDecoder::Limits kLimits{.header_bytes = 32u << 10, .body_bytes = 64u << 10};

struct Heard {
    std::vector<Message> messages;
    bool refused{};
};

// Hands the stream over in pieces of at most `piece` bytes.
Heard listen(Input stream, std::size_t piece) {
    Heard heard;
    MessageDecoder decoder(kCluster, kLimits);
    while (!stream.empty() && !heard.refused) {
        const auto room = decoder.writable();
        LS_ASSERT(!room.empty() && room.size() <= 64u << 10);
        const auto taken = stream.first(std::min({piece, room.size(), stream.size()}));
        std::ranges::copy(taken, room.begin());
        stream = stream.subspan(taken.size());
        heard.refused = !decoder.received(taken.size(),
                                          [&heard](Message message) { heard.messages.push_back(std::move(message)); });
    }
    return heard;
}

bool same(const Message& a, const Message& b) {
    return a.type == b.type && a.flags == b.flags && a.correlation == b.correlation &&
           equal(a.header.span(), b.header.span()) && equal(a.body.span(), b.body.span());
}

// The messages, one behind the other as they are sent.
std::vector<std::byte> encode(const std::vector<Message>& messages) {
    std::vector<std::byte> out;
    for (const Message& m : messages) {
        const Bytes head = protocol::encode_message_head(
            {m.type, m.flags, m.correlation, std::string(m.header.view()), {m.body}}, kCluster);
        out.insert(out.end(), head.span().begin(), head.span().end());
        out.insert(out.end(), m.body.span().begin(), m.body.span().end());
    }
    return out;
}

std::vector<std::byte> with_checksums(Input stream) {
    std::vector<std::byte> out(stream.begin(), stream.end());
    for (std::size_t at = 0; out.size() - at >= kMessageHeaderBytes;) {
        std::byte* fixed = out.data() + at;
        const std::size_t head = std::to_integer<std::size_t>(fixed[7]) * 4 + protocol::load<std::uint32_t>(fixed + 24);
        if (head > out.size() - at) break;
        protocol::store(fixed + 12, std::uint32_t{0});
        protocol::store(fixed + 12, protocol::crc32c({fixed, head}));
        const std::size_t size = head + protocol::load<std::uint32_t>(fixed + 28);
        if (size < kMessageHeaderBytes || size > out.size() - at) break;
        at += size;
    }
    return out;
}

void decode(Input stream) {
    const Heard whole = listen(stream, std::numeric_limits<std::size_t>::max());
    for (const std::size_t piece : {std::size_t{1}, std::size_t{61}}) {
        const Heard pieces = listen(stream, piece);
        LS_ASSERT(pieces.refused == whole.refused);
        LS_ASSERT(std::ranges::equal(whole.messages, pieces.messages, same));
    }
    for (const Message& message : whole.messages)
        LS_ASSERT(message.header.size() <= kLimits.header_bytes && message.body.size() <= kLimits.body_bytes);
    const Heard again = listen(encode(whole.messages), std::numeric_limits<std::size_t>::max());
    LS_ASSERT(!again.refused && std::ranges::equal(whole.messages, again.messages, same));
}

}  // namespace

void try_input(Input input) {
    decode(input);
    decode(with_checksums(input));
}

}  // namespace logstream::fuzz
