// A message on a TCP connection: a Protobuf header and, behind it, raw bytes that are never copied into a message.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "internal/protocol/bytes.h"
#include "internal/protocol/frame.h"
#include "internal/protocol/record_batch.h"

namespace logstream::protocol {

// Pairs a response with its request on one connection; chosen by the requester. 0: one-way.
using Correlation = Id<struct CorrelationTag, std::uint64_t>;

struct Message {
    MessageType type{};
    std::uint8_t flags{};
    Correlation correlation;
    Bytes header;  // Protobuf of the type
    Bytes body;    // record batches, or empty

    bool is_response() const { return (flags & kResponse) != 0; }
    // Parses the Protobuf header; false when it is not one.
    template <class Proto>
    bool parse(Proto& out) const {
        return out.ParseFromArray(header.data(), static_cast<int>(header.size()));
    }
};

struct OutMessage {
    MessageType type{};
    std::uint8_t flags{};
    Correlation correlation;
    std::string header;       // serialized Protobuf
    std::vector<Bytes> body;  // sent one after the other, by reference
};

template <class Proto>
OutMessage request(MessageType type, Correlation correlation, const Proto& header, std::vector<Bytes> body = {}) {
    return OutMessage{type, 0, correlation, header.SerializeAsString(), std::move(body)};
}
template <class Proto>
OutMessage respond(const Message& to, const Proto& header, std::vector<Bytes> body = {}) {
    return OutMessage{to.type, kResponse, to.correlation, header.SerializeAsString(), std::move(body)};
}

// The fixed header and the Protobuf header as one buffer; the body pieces follow it on the wire.
Bytes encode_message_head(const OutMessage& message, ClusterTag cluster);

// Cuts a byte stream into messages. Never allocates more than the limits, whatever a length field claims.
class MessageDecoder {
public:
    struct Limits {
        std::size_t header_bytes = 16u << 20;  // Protobuf headers (a state exchange of many streams is the largest)
        std::size_t body_bytes = kMaxStoredBatchBytes;
    };
    MessageDecoder(ClusterTag cluster, Limits limits) : cluster_(cluster), limits_(limits) {}

    // Where the next bytes from the socket go: a free range that `received` then accounts for. A large body is read
    // straight into its own buffer, which the Message hands on by reference.
    std::span<std::byte> writable();
    // `size` bytes, or none, were put into writable(). Calls `deliver` for each message that is now whole. An error is
    // final: the stream is garbage (or another cluster's) and the connection must be closed.
    Result<void> received(std::size_t size, const std::function<void(Message)>& deliver);

private:
    enum class Phase : std::uint8_t { kFixed, kHeader, kBody };
    // Checks the fixed part as far as it has come, so that garbage is noticed before it has to be complete.
    Result<void> check_fixed(std::span<const std::byte> so_far) const;
    void begin_message(std::span<const std::byte> fixed);
    Result<void> decode(const std::function<void(Message)>& deliver);
    void take(Bytes& target);  // moves what the chunk holds into the part being read
    std::size_t missing() const;

    ClusterTag cluster_;
    Limits limits_;
    Bytes chunk_;             // read buffer for fixed headers and small messages; empty while it would hold nothing
    std::size_t filled_{};    // bytes of chunk_ received
    std::size_t consumed_{};  // of these, bytes already used
    Phase phase_{Phase::kFixed};
    Message current_;
    std::size_t body_bytes_{};  // of current_, allocated once its header has proved right
    std::uint32_t crc_expected_{};
    std::uint32_t crc_so_far_{};
    std::size_t part_filled_{};  // bytes of the header or body being read
};

}  // namespace logstream::protocol
