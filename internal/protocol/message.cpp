#include "internal/protocol/message.h"

#include <algorithm>
#include <utility>

#include "internal/protocol/checksum.h"
#include "internal/protocol/wire.h"

namespace logstream::protocol {

namespace {
constexpr std::size_t kMessageCrcAt = 12;
constexpr std::size_t kChunkBytes = 64u << 10;
constexpr std::size_t kDirectReadBytes = 4096;  // from this size on, the rest of a part is read into place

// Connections take turns at one chunk, so that a thousand of them which wait for their next message hold none.
thread_local Bytes spare_chunk;

std::uint32_t crc_of_fixed(std::span<const std::byte> fixed) {
    std::array<std::byte, kMessageHeaderBytes> copy;
    std::memcpy(copy.data(), fixed.data(), copy.size());
    store(&copy[kMessageCrcAt], std::uint32_t{0});
    return crc32c(copy);
}
}  // namespace

Bytes encode_message_head(const OutMessage& message, ClusterTag cluster) {
    std::size_t body_bytes = 0;
    for (const Bytes& piece : message.body) body_bytes += piece.size();
    LS_ASSERT(std::in_range<std::uint32_t>(message.header.size()) && std::in_range<std::uint32_t>(body_bytes));
    Bytes out = Bytes::allocate(kMessageHeaderBytes + message.header.size());
    std::byte* at = out.mutable_data();
    store(at, kMessageMagic);
    store(at + 4, kHeaderVersion);
    store(at + 5, static_cast<std::uint8_t>(message.type));
    store(at + 6, message.flags);
    store(at + 7, static_cast<std::uint8_t>(kMessageHeaderBytes / 4));
    store(at + 8, cluster.value);
    store(at + kMessageCrcAt, std::uint32_t{0});
    store(at + 16, message.correlation.value);
    store(at + 24, static_cast<std::uint32_t>(message.header.size()));
    store(at + 28, static_cast<std::uint32_t>(body_bytes));
    std::memcpy(at + kMessageHeaderBytes, message.header.data(), message.header.size());
    store(at + kMessageCrcAt, crc32c(out.span()));
    return out;
}

std::size_t MessageDecoder::missing() const {
    if (phase_ == Phase::kHeader) return current_.header.size() - part_filled_;
    if (phase_ == Phase::kBody) return current_.body.size() - part_filled_;
    return 0;
}

std::span<std::byte> MessageDecoder::writable() {
    if (const std::size_t rest = missing(); rest >= kDirectReadBytes) {
        LS_ASSERT(filled_ == consumed_);
        Bytes& part = phase_ == Phase::kHeader ? current_.header : current_.body;
        return {part.mutable_data() + part_filled_, rest};
    }
    if (chunk_.empty()) chunk_ = spare_chunk.empty() ? Bytes::allocate(kChunkBytes) : std::exchange(spare_chunk, {});
    if (consumed_ > 0) {
        std::memmove(chunk_.mutable_data(), chunk_.data() + consumed_, filled_ - consumed_);
        filled_ -= consumed_;
        consumed_ = 0;
    }
    return {chunk_.mutable_data() + filled_, chunk_.size() - filled_};
}

Result<void> MessageDecoder::check_fixed(std::span<const std::byte> so_far) const {
    const std::byte* at = so_far.data();
    if (so_far.size() >= 4 && load<std::uint32_t>(at) != kMessageMagic)
        return fail(ErrorCode::kInvalid, "the peer does not speak LogStream's protocol");
    if (so_far.size() < kMessageHeaderBytes) return {};
    if (load<std::uint8_t>(at + 4) != kHeaderVersion)
        return fail(ErrorCode::kInvalid, "the peer uses protocol version {}, this program {}",
                    load<std::uint8_t>(at + 4), kHeaderVersion);
    if (const std::size_t bytes = std::size_t{load<std::uint8_t>(at + 7)} * 4; bytes < kMessageHeaderBytes)
        return fail(ErrorCode::kInvalid, "a message header of {} bytes", bytes);
    if (!compatible(ClusterTag{load<std::uint32_t>(at + 8)}, cluster_))
        return fail(ErrorCode::kWrongCluster,
                    "the peer belongs to a cluster with another name; check --cluster on both sides");
    const std::size_t header_bytes = load<std::uint32_t>(at + 24);
    const std::size_t body_bytes = load<std::uint32_t>(at + 28);
    if (header_bytes > limits_.header_bytes || body_bytes > limits_.body_bytes)
        return fail(ErrorCode::kTooLarge, "a message claims {} + {} bytes; the limits are {} + {}", header_bytes,
                    body_bytes, limits_.header_bytes, limits_.body_bytes);
    return {};
}

void MessageDecoder::begin_message(std::span<const std::byte> fixed) {
    const std::byte* at = fixed.data();
    const std::size_t header_bytes = load<std::uint32_t>(at + 24);
    current_ = Message{static_cast<MessageType>(load<std::uint8_t>(at + 5)), load<std::uint8_t>(at + 6),
                       Correlation{load<std::uint64_t>(at + 16)}, Bytes::allocate(header_bytes), Bytes{}};
    body_bytes_ = load<std::uint32_t>(at + 28);
    crc_expected_ = load<std::uint32_t>(at + kMessageCrcAt);
    crc_so_far_ = crc_of_fixed(fixed);
    phase_ = Phase::kHeader;
    part_filled_ = 0;
}

void MessageDecoder::take(Bytes& target) {
    const std::size_t size = std::min(filled_ - consumed_, target.size() - part_filled_);
    if (size > 0) std::memcpy(target.mutable_data() + part_filled_, chunk_.data() + consumed_, size);
    consumed_ += size;
    part_filled_ += size;
}

Result<void> MessageDecoder::received(std::size_t size, const std::function<void(Message)>& deliver) {
    if (missing() >= kDirectReadBytes) {
        part_filled_ += size;
    } else {
        filled_ += size;
    }
    Result<void> sound = decode(deliver);
    if (filled_ == consumed_ && !chunk_.empty()) {
        spare_chunk = std::exchange(chunk_, {});
        filled_ = consumed_ = 0;
    }
    return sound;
}

Result<void> MessageDecoder::decode(const std::function<void(Message)>& deliver) {
    while (true) {
        if (phase_ == Phase::kFixed) {
            const std::size_t available = filled_ - consumed_;
            const std::span<const std::byte> so_far(chunk_.data() + consumed_, available);
            if (auto sound = check_fixed(so_far); !sound) return sound;
            if (available < kMessageHeaderBytes) return {};
            const std::size_t head_bytes = std::size_t{load<std::uint8_t>(so_far.data() + 7)} * 4;
            if (available < head_bytes) return {};
            begin_message(so_far.first(kMessageHeaderBytes));
            // An authentication tag is covered by the checksum too.
            crc_so_far_ = crc32c({chunk_.data() + consumed_ + kMessageHeaderBytes, head_bytes - kMessageHeaderBytes},
                                 crc_so_far_);
            consumed_ += head_bytes;
        }
        if (phase_ == Phase::kHeader) {
            take(current_.header);
            if (missing() > 0) return {};
            if (crc32c(current_.header.span(), crc_so_far_) != crc_expected_)
                return fail(ErrorCode::kCorrupt, "a message header with a wrong checksum");
            if (body_bytes_ > 0) current_.body = Bytes::allocate(body_bytes_);
            phase_ = Phase::kBody;
            part_filled_ = 0;
        }
        take(current_.body);
        if (missing() > 0) return {};
        phase_ = Phase::kFixed;
        part_filled_ = 0;
        deliver(std::move(current_));
        current_ = {};
    }
}

}  // namespace logstream::protocol
