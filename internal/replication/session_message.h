// What a session carries: record batches, each behind a header that says where it belongs.
//
//    0 u32 total length: these 6 bytes, the header and the batch
//    4 u16 length of the header
//    6 header: Protobuf ReplicateHeader
//      batch: raw bytes, the rest of the total length
//
// Little-endian. A frame with both kFirstFragment and kLastFragment holds one or more whole messages, one behind the
// other. A message too large for a frame has frames of its own: kFirstFragment on the first, which holds the whole
// head, kLastFragment on the last, none between; no frame's payload is empty.
#pragma once

#include <array>
#include <span>

#include "internal/protocol/error.h"
#include "internal/replication/session.h"

namespace logstream::replication {

inline constexpr std::size_t kMessagePrefixBytes = 6;
// Prefix and the longest ReplicateHeader that we write: topic 9, partition 6, committed sequence 11, append time 11
// bytes.
inline constexpr std::size_t kMaxMessageHeadBytes = 43;

// The bytes of a message before its batch.
struct MessageHead {
    std::array<std::byte, kMaxMessageHeadBytes> bytes;
    std::size_t size{};
    std::span<const std::byte> span() const { return std::span(bytes).first(size); }
};
// `appended_ms`: when the owner appended the batch.
MessageHead encode_message_head(StreamId stream, Sequence committed, std::int64_t appended_ms, std::size_t batch_bytes);

struct DecodedMessageHead {
    StreamId stream;
    Sequence committed;
    std::int64_t appended_ms{};  // 0: the owner does not say
    std::size_t head_bytes{};    // prefix and header; <= the size of what was decoded
    std::size_t batch_bytes{};   // > 0; may be more than what was decoded holds
};
// Decodes the head at the begin of `payload`. kCorrupt when the lengths contradict each other or the payload's end,
// when the header is no ReplicateHeader, or when the batch is empty or longer than `max_batch_bytes`.
protocol::Result<DecodedMessageHead> decode_message_head(std::span<const std::byte> payload,
                                                         std::size_t max_batch_bytes);

}  // namespace logstream::replication
