#include "internal/replication/session_message.h"

#include <limits>

#include "internal/protocol/wire.h"
#include "logstream.pb.h"

namespace logstream::replication {

using protocol::ErrorCode;
using protocol::fail;
using protocol::load;
using protocol::store;

MessageHead encode_message_head(StreamId stream, Sequence committed, std::int64_t appended_ms,
                                std::size_t batch_bytes) {
    proto::ReplicateHeader header;
    header.set_topic(stream.topic.value);
    header.set_partition(stream.partition);
    header.set_committed_sequence(committed.value);
    header.set_appended_ms(appended_ms);
    const std::size_t header_bytes = header.ByteSizeLong();

    MessageHead out;
    out.size = kMessagePrefixBytes + header_bytes;
    const std::size_t total = out.size + batch_bytes;
    LS_ASSERT(out.size <= kMaxMessageHeadBytes);
    LS_ASSERT(total <= std::numeric_limits<std::uint32_t>::max());
    store(&out.bytes[0], static_cast<std::uint32_t>(total));
    store(&out.bytes[4], static_cast<std::uint16_t>(header_bytes));
    header.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(&out.bytes[kMessagePrefixBytes]));
    return out;
}

protocol::Result<DecodedMessageHead> decode_message_head(std::span<const std::byte> payload,
                                                         std::size_t max_batch_bytes) {
    if (payload.size() < kMessagePrefixBytes) {
        return fail(ErrorCode::kCorrupt, "a session message is cut off after {} bytes", payload.size());
    }
    const std::size_t total = load<std::uint32_t>(payload.data());
    const std::size_t header_bytes = load<std::uint16_t>(payload.data() + 4);
    const std::size_t head_bytes = kMessagePrefixBytes + header_bytes;
    if (head_bytes > payload.size() || head_bytes >= total) {
        return fail(ErrorCode::kCorrupt, "a session message of {} bytes claims a head of {} ({} are there)", total,
                    head_bytes, payload.size());
    }
    if (total - head_bytes > max_batch_bytes) {
        return fail(ErrorCode::kCorrupt, "a session message claims a batch of {} bytes, {} are allowed",
                    total - head_bytes, max_batch_bytes);
    }
    proto::ReplicateHeader header;
    if (!header.ParseFromArray(payload.data() + kMessagePrefixBytes, static_cast<int>(header_bytes))) {
        return fail(ErrorCode::kCorrupt, "a session message has no ReplicateHeader");
    }
    return DecodedMessageHead{.stream = StreamId{protocol::TopicId{header.topic()}, header.partition()},
                              .committed = Sequence{header.committed_sequence()},
                              .appended_ms = header.appended_ms(),
                              .head_bytes = head_bytes,
                              .batch_bytes = total - head_bytes};
}

}  // namespace logstream::replication
