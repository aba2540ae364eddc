#include "internal/protocol/frame.h"

#include <xxhash.h>

#include "internal/protocol/checksum.h"
#include "internal/protocol/wire.h"

namespace logstream::protocol {

namespace {
constexpr std::size_t kFrameCrcAt = 12;
}

ClusterTag cluster_tag(std::string_view cluster_name) {
    if (cluster_name.empty()) return kAnyCluster;
    const ClusterTag tag{XXH32(cluster_name.data(), cluster_name.size(), 0)};
    return tag == kAnyCluster ? ClusterTag{1} : tag;
}

std::string_view to_string(MessageType type) {
    switch (type) {
        case MessageType::kJoin:
            return "JOIN";
        case MessageType::kJoinResponse:
            return "JOIN_RESPONSE";
        case MessageType::kHeartbeat:
            return "HEARTBEAT";
        case MessageType::kReplicate:
            return "REPLICATE";
        case MessageType::kNack:
            return "NACK";
        case MessageType::kNackGone:
            return "NACK_GONE";
        case MessageType::kProbeMulticast:
            return "PROBE_MULTICAST";
        case MessageType::kReplicateAck:
            return "REPLICATE_ACK";
        case MessageType::kElection:
            return "ELECTION";
        case MessageType::kProbe:
            return "PROBE";
        case MessageType::kStateExchange:
            return "STATE_EXCHANGE";
        case MessageType::kViewInstall:
            return "VIEW_INSTALL";
        case MessageType::kViewChosen:
            return "VIEW_CHOSEN";
        case MessageType::kLearn:
            return "LEARN";
        case MessageType::kSummary:
            return "SUMMARY";
        case MessageType::kHandover:
            return "HANDOVER";
        case MessageType::kOrphan:
            return "ORPHAN";
        case MessageType::kPeerReport:
            return "PEER_REPORT";
        case MessageType::kIntroduction:
            return "INTRODUCTION";
        case MessageType::kMetadata:
            return "METADATA";
        case MessageType::kProduce:
            return "PRODUCE";
        case MessageType::kFetch:
            return "FETCH";
        case MessageType::kListOffsets:
            return "LIST_OFFSETS";
        case MessageType::kSubscribe:
            return "SUBSCRIBE";
        case MessageType::kCommitOffsets:
            return "COMMIT_OFFSETS";
        case MessageType::kTopics:
            return "TOPICS";
        case MessageType::kStatus:
            return "STATUS";
        case MessageType::kAdmin:
            return "ADMIN";
        case MessageType::kVerify:
            return "VERIFY";
        case MessageType::kProducerState:
            return "PRODUCER_STATE";
        case MessageType::kReassignBroker:
            return "REASSIGN_BROKER";
        case MessageType::kGroups:
            return "GROUPS";
    }
    return "?";
}

std::array<std::byte, kFrameHeaderBytes> encode_frame_header(const FrameHeader& header,
                                                             std::span<const std::byte> first,
                                                             std::span<const std::byte> second) {
    std::array<std::byte, kFrameHeaderBytes> out{};
    store(&out[0], kFrameMagic);
    store(&out[4], kHeaderVersion);
    store(&out[5], static_cast<std::uint8_t>(header.type));
    store(&out[6], header.flags);
    store(&out[7], static_cast<std::uint8_t>(kFrameHeaderBytes / 4));
    store(&out[8], header.cluster.value);
    store(&out[16], header.view.value);
    store(&out[24], header.sender.value);
    store(&out[32], header.sequence.value);
    store(&out[40], header.view_id.value);
    std::uint32_t crc = crc32c(out);
    crc = crc32c(first, crc);
    if (!second.empty()) crc = crc32c(second, crc);
    store(&out[kFrameCrcAt], crc);
    return out;
}

Bytes encode_frame(const FrameHeader& header, std::span<const std::byte> payload) {
    Bytes out = Bytes::allocate(kFrameHeaderBytes + payload.size());
    const auto fixed = encode_frame_header(header, payload);
    std::memcpy(out.mutable_data(), fixed.data(), fixed.size());
    if (!payload.empty()) std::memcpy(out.mutable_data() + fixed.size(), payload.data(), payload.size());
    return out;
}

Result<DecodedFrame> decode_frame(std::span<const std::byte> datagram) {
    if (datagram.size() < kLeastFrameHeaderBytes)
        return fail(ErrorCode::kInvalid, "datagram of {} bytes is too short", datagram.size());
    const std::byte* at = datagram.data();
    if (load<std::uint32_t>(at) != kFrameMagic) return fail(ErrorCode::kInvalid, "datagram without LogStream's magic");
    if (load<std::uint8_t>(at + 4) != kHeaderVersion)
        return fail(ErrorCode::kInvalid, "datagram of protocol version {}, this is {}", load<std::uint8_t>(at + 4),
                    kHeaderVersion);
    const std::size_t header_bytes = std::size_t{load<std::uint8_t>(at + 7)} * 4;
    if (header_bytes < kLeastFrameHeaderBytes || header_bytes > datagram.size())
        return fail(ErrorCode::kInvalid, "datagram with a header of {} bytes", header_bytes);
    std::array<std::byte, kLeastFrameHeaderBytes> fixed;
    std::memcpy(fixed.data(), at, fixed.size());
    store(&fixed[kFrameCrcAt], std::uint32_t{0});
    const std::uint32_t crc = crc32c(datagram.subspan(kLeastFrameHeaderBytes), crc32c(fixed));
    if (crc != load<std::uint32_t>(at + kFrameCrcAt))
        return fail(ErrorCode::kCorrupt, "datagram with a wrong checksum");
    const ViewId view_id{header_bytes >= kFrameHeaderBytes ? load<std::uint64_t>(at + 40) : 0};
    return DecodedFrame{
        FrameHeader{static_cast<MessageType>(load<std::uint8_t>(at + 5)), load<std::uint8_t>(at + 6),
                    ClusterTag{load<std::uint32_t>(at + 8)}, ViewNumber{load<std::uint64_t>(at + 16)},
                    NodeId{load<std::uint64_t>(at + 24)}, Sequence{load<std::uint64_t>(at + 32)}, view_id},
        header_bytes};
}

}  // namespace logstream::protocol
