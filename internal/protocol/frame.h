// The fixed binary header of every datagram and the framing of TCP messages (both little-endian).
//
// Both begin with the same 12 bytes: magic, version, type, flags, header length, cluster tag. The header length
// leaves room for an authentication tag after the fixed part: a receiver skips what it does not know.
//
//   datagram ("frame"), 48 bytes             stream message, 32 bytes
//    0 u32 magic "LSDG"                       0 u32 magic "LSTM"
//    4 u8  version                            4 u8  version
//    5 u8  type                               5 u8  type
//    6 u8  flags                              6 u8  flags
//    7 u8  header length / 4                  7 u8  header length / 4
//    8 u32 cluster tag                        8 u32 cluster tag
//   12 u32 CRC-32C of header (this field 0)  12 u32 CRC-32C of header (this field 0), then header bytes
//          and payload                       16 u64 correlation
//   16 u64 view                              24 u32 length of the Protobuf header that follows
//   24 u64 sender (node id)                  28 u32 length of the raw body behind that
//   32 u64 sequence
//   40 u64 view id (not in the 40 bytes of older senders)
//
// A stream message's body is not covered by this CRC: it is record batches, which carry their own, and TCP's bytes are
// checked once where they are used.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "internal/protocol/bytes.h"
#include "internal/protocol/error.h"
#include "internal/protocol/ids.h"

namespace logstream::protocol {

inline constexpr std::uint32_t kFrameMagic = 0x4744534c;    // "LSDG"
inline constexpr std::uint32_t kMessageMagic = 0x4d54534c;  // "LSTM"
inline constexpr std::uint8_t kHeaderVersion = 1;
inline constexpr std::size_t kFrameHeaderBytes = 48;
// What fits in a datagram of a view, at least: header, message head and some of a batch.
inline constexpr std::size_t kMinFrameBytes = 256;
inline constexpr std::size_t kLeastFrameHeaderBytes = 40;  // of what is read
inline constexpr std::size_t kMessageHeaderBytes = 32;

// Names the cluster in every header, so that another cluster on the same network and group is counted and dropped.
// 0 names any cluster: a client that was given brokers' addresses need not know what their cluster is called.
using ClusterTag = Id<struct ClusterTagTag, std::uint32_t>;
inline constexpr ClusterTag kAnyCluster{0};
// Never kAnyCluster but for the empty name.
ClusterTag cluster_tag(std::string_view cluster_name);
inline bool compatible(ClusterTag a, ClusterTag b) { return a == b || a == kAnyCluster || b == kAnyCluster; }

enum class MessageType : std::uint8_t {
    // datagrams
    kJoin = 1,
    kJoinResponse = 2,
    kHeartbeat = 3,  // also over TCP, follower to leader
    kReplicate = 4,  // also over TCP where multicast does not work
    kNack = 5,
    kNackGone = 6,
    kProbeMulticast = 7,
    // between brokers, TCP
    kReplicateAck = 16,
    kElection = 17,
    kProbe = 18,
    kStateExchange = 19,
    kViewInstall = 20,
    kViewChosen = 21,
    kLearn = 22,
    kSummary = 23,
    kHandover = 24,
    kOrphan = 25,
    kPeerReport = 26,
    kIntroduction = 27,
    // clients and brokers, TCP
    kMetadata = 32,
    kProduce = 33,
    kFetch = 34,
    kListOffsets = 35,
    kSubscribe = 36,
    kCommitOffsets = 37,
    kTopics = 38,
    kStatus = 39,
    kAdmin = 40,
    kVerify = 41,
    kProducerState = 42,
    kReassignBroker = 43,
    kGroups = 44,
};
std::string_view to_string(MessageType type);

// Flags of a frame of a multicast session.
inline constexpr std::uint8_t kFirstFragment = 1;
inline constexpr std::uint8_t kLastFragment = 2;
// Flags of a stream message.
inline constexpr std::uint8_t kResponse = 1;

struct FrameHeader {
    MessageType type{};
    std::uint8_t flags{};
    ClusterTag cluster;
    ViewNumber view;
    NodeId sender;
    Sequence sequence;
    ViewId view_id{};  // of `view`; 0 where there is none
};

// A client asks which clusters there are, or is answered.
inline bool asks_any_cluster(const FrameHeader& header) {
    return header.cluster == kAnyCluster &&
           (header.type == MessageType::kJoin || header.type == MessageType::kJoinResponse);
}

// Encodes header and checksum; `first` and `second` together are the payload that will follow.
std::array<std::byte, kFrameHeaderBytes> encode_frame_header(const FrameHeader& header,
                                                             std::span<const std::byte> first,
                                                             std::span<const std::byte> second = {});
// A whole datagram in one buffer: header and `payload`.
Bytes encode_frame(const FrameHeader& header, std::span<const std::byte> payload);
template <class Proto>
Bytes encode_frame(const FrameHeader& header, const Proto& message)
    requires requires { message.SerializeAsString(); }
{
    const std::string bytes = message.SerializeAsString();
    return encode_frame(header, std::as_bytes(std::span(bytes)));
}

// One datagram to send: an encoded frame header with what belongs before the payload, and the payload by reference.
struct OutFrame {
    Bytes head;
    Bytes tail;  // may be empty

    std::size_t size() const { return head.size() + tail.size(); }
};

struct DecodedFrame {
    FrameHeader header;
    std::size_t payload_begin{};
};
// Checks magic, version, length and checksum. kInvalid or kCorrupt says what did not fit. The cluster tag is left to
// the caller.
Result<DecodedFrame> decode_frame(std::span<const std::byte> datagram);

}  // namespace logstream::protocol
