#include "internal/net/datagrams.h"

#include <algorithm>

#include "internal/net/udp_socket.h"

namespace logstream::net {

using protocol::ErrorCode;
using protocol::fail;

namespace {

constexpr std::size_t kIpAndUdpBytes = 28;
constexpr std::size_t kLargestDatagramBytes = 65507;
// Loopback's MTU is 64 KiB, but losing so large a datagram is expensive. This is the size class of jumbo frames, and
// the largest that the kernel stores in 8 KiB: from 7820 bytes on it takes 16 KiB each, and a receive buffer holds half
// as many (tests: TheBufferHoldsWhatTheLimitsSay).
constexpr std::size_t kLoopbackDatagramBytes = 7680;
// A client does not know by which interface answers come; brokers' answers fit what their own interface takes.
constexpr std::size_t kClientSlotBytes = 9216;
constexpr std::size_t kSmallestMtuBytes = 576;  // what every IPv4 host must accept (RFC 791)

// What the kernel hands over at once with UDP_GRO.
constexpr std::size_t kLargestPacketBytes = 65536;
constexpr std::size_t kGroupSlots = 64;
constexpr std::size_t kOwnSlots = 16;
// Per turn of the loop: a flood leaves time for timers and connections.
constexpr int kGroupRounds = 4;
constexpr int kOwnRounds = 4;
constexpr std::size_t kOwnBufferBytes = 1u << 20;
constexpr std::size_t kSendBufferBytes = 4u << 20;

std::size_t interface_datagram_bytes(const std::optional<Interface>& interface) {
    if (!interface) return kClientSlotBytes;
    if (interface->loopback) return kLoopbackDatagramBytes;
    return std::min(std::max(interface->mtu_bytes, kSmallestMtuBytes) - kIpAndUdpBytes, kLargestDatagramBytes);
}

std::size_t datagram_bytes(const NetOptions& options, const std::optional<Interface>& interface) {
    const std::size_t most = interface_datagram_bytes(interface);
    if (options.mtu_bytes == 0) return most;
    return std::min(most, options.mtu_bytes - kIpAndUdpBytes);
}

bool is_multicast(std::uint32_t ip) { return (ip >> 28) == 0xe; }

}  // namespace

protocol::Result<std::optional<Interface>> choose_interface(const NetOptions& options, std::span<const Interface> all) {
    if (options.mtu_bytes != 0 && options.mtu_bytes < kSmallestMtuBytes)
        return fail(ErrorCode::kConfig, "an MTU of {} bytes is too small; the least is {}", options.mtu_bytes,
                    kSmallestMtuBytes);
    if (options.multicast && (!is_multicast(options.multicast->ip) || options.multicast->port == 0))
        return fail(ErrorCode::kConfig,
                    "{} is not a multicast group and port; choose one of 239.0.0.0/8 with --multicast",
                    env::to_string(*options.multicast));
    if (options.listen && options.listen->ip == 0)
        return fail(ErrorCode::kConfig, "0.0.0.0 is no address that others can reach; choose one of {} with --address",
                    describe_addresses(all));
    const Interface* own = options.listen ? find_by_address(all, options.listen->ip) : nullptr;
    if (options.listen && own == nullptr)
        return fail(ErrorCode::kNetwork,
                    "{} is not an address of this machine; its addresses are {}; choose one with --address",
                    to_string_ip(options.listen->ip), describe_addresses(all));
    if (options.interface.empty()) return own == nullptr ? std::nullopt : std::optional(*own);
    // An interface may have several addresses: the node's own is the right one.
    if (own != nullptr && own->name == options.interface) return *own;
    const Interface* named = find_by_name(all, options.interface);
    if (named == nullptr)
        return fail(ErrorCode::kConfig,
                    "there is no interface '{}' with an IPv4 address; this machine has {}; choose one with --interface",
                    options.interface, describe_addresses(all));
    return *named;
}

Datagrams::Datagrams(Loop& loop, const NetOptions& options, const std::optional<Interface>& interface,
                     Counters& counters, spdlog::logger& log)
    : loop_(loop),
      options_(options),
      interface_(interface),
      counters_(counters),
      log_(log),
      cluster_(protocol::cluster_tag(options.cluster)),
      few_(kOwnSlots, interface_datagram_bytes(interface), interface_datagram_bytes(interface)),
      many_(options.multicast ? kGroupSlots : 1, kLargestPacketBytes, interface_datagram_bytes(interface)) {
    limits_.max_datagram_bytes = datagram_bytes(options, interface);
}

protocol::Result<std::unique_ptr<Datagrams>> Datagrams::open(Loop& loop, const NetOptions& options,
                                                             const std::optional<Interface>& interface, Fd own,
                                                             Counters& counters, spdlog::logger& log) {
    std::unique_ptr<Datagrams> self(new Datagrams(loop, options, interface, counters, log));
    if (auto opened = self->open_own(std::move(own)); !opened) return std::unexpected(opened.error());
    if (options.multicast && interface) {
        if (auto opened = self->open_group(); !opened)
            log.warn("NET no multicast: {}; replication has to go by TCP", opened.error().message);
    }
    if (options.listen_broadcast) {
        if (auto opened = self->open_broadcast(); !opened) return std::unexpected(opened.error());
    }
    return self;
}

protocol::Result<void> Datagrams::open_own(Fd fd) {
    grow_send_buffer(fd.get(), kSendBufferBytes);
    limits_.receive_buffer_bytes = grow_receive_buffer(fd.get(), kOwnBufferBytes);
    auto socket = PolledFd::open(
        loop_, std::move(fd), [this] { receive(env::Channel::kUnicast, *own_, few_, kOwnRounds); },
        [this] { sender_->writable(); });
    if (!socket) return std::unexpected(socket.error());
    own_ = std::move(*socket);
    sender_ = std::make_unique<FrameSender>(loop_, *own_, options_.datagram_queue_frames, counters_, log_);
    return {};
}

protocol::Result<void> Datagrams::open_group() {
    if (auto set = send_multicast_by(own_->fd(), *interface_, options_.multicast_ttl); !set) return set;
    auto fd = open_multicast_receiver(*options_.multicast, *interface_);
    if (!fd) return std::unexpected(fd.error());
    const std::size_t given = grow_receive_buffer(fd->get(), options_.multicast_buffer_bytes);
    if (given < options_.multicast_buffer_bytes)
        log_.warn(
            "NET the kernel gave the multicast socket a buffer of {} bytes of the {} asked for, so the replication "
            "window is smaller; to change that: sysctl -w net.core.rmem_max={}",
            given, options_.multicast_buffer_bytes, options_.multicast_buffer_bytes);
    auto socket = PolledFd::open(
        loop_, std::move(*fd), [this] { receive(env::Channel::kMulticast, *group_, many_, kGroupRounds); }, nullptr);
    if (!socket) return std::unexpected(socket.error());
    group_ = std::move(*socket);
    limits_.receive_buffer_bytes = given;
    return {};
}

protocol::Result<void> Datagrams::open_broadcast() {
    auto fd = open_broadcast_receiver(options_.broadcast_port);
    if (!fd) return std::unexpected(fd.error());
    grow_receive_buffer(fd->get(), kOwnBufferBytes);
    auto socket = PolledFd::open(
        loop_, std::move(*fd), [this] { receive(env::Channel::kBroadcast, *broadcast_, few_, kOwnRounds); }, nullptr);
    if (!socket) return std::unexpected(socket.error());
    broadcast_ = std::move(*socket);
    return {};
}

void Datagrams::receive(env::Channel channel, PolledFd& socket, FrameReceiver& receiver, int rounds) {
    receiver.receive(socket.fd(), rounds,
                     [&](const FrameReceiver::Arrival& arrival) { arrived(channel, receiver, arrival); });
}

void Datagrams::arrived(env::Channel channel, FrameReceiver& receiver, const FrameReceiver::Arrival& arrival) {
    std::uint32_t& lost_seen = lost_seen_[static_cast<std::size_t>(channel)];
    if (arrival.lost_so_far != 0) {
        counters_.datagrams_lost_by_kernel += arrival.lost_so_far - lost_seen;
        lost_seen = arrival.lost_so_far;
    }
    if (channel == env::Channel::kBroadcast && interface_ && arrival.interface_index != interface_->index) {
        ++counters_.datagrams_other_interface;
        return;
    }
    if (arrival.truncated) {
        ++counters_.datagrams_garbage;
        return;
    }
    const auto frame = protocol::decode_frame(arrival.bytes);
    if (!frame) {
        ++(frame.error().code == ErrorCode::kCorrupt ? counters_.datagrams_bad_checksum : counters_.datagrams_garbage);
        return;
    }
    if (frame->header.cluster != cluster_) {
        ++counters_.datagrams_other_cluster;
        return;
    }
    if (self_ != protocol::NodeId{} && frame->header.sender == self_) {
        ++counters_.datagrams_own;
        return;
    }
    ++counters_.datagrams_received;
    counters_.datagram_bytes_received += arrival.bytes.size();
    if (handler_) handler_({channel, arrival.from, frame->header, receiver.take(arrival).from(frame->payload_begin)});
}

// Asked anew at each broadcast, which is rare: interfaces come up late.
std::vector<Destination> Datagrams::broadcast_destinations() const {
    std::vector<Destination> out;
    std::vector<int> with_limited;  // interfaces that 255.255.255.255 is sent on already
    for (const Interface& i : interfaces()) {
        if (!i.up || i.broadcast == 0) continue;
        if (interface_ && (i.index != interface_->index || (i.ip != interface_->ip && !i.loopback))) continue;
        const std::uint32_t source = options_.listen ? options_.listen->ip : i.ip;  // where answers are heard
        out.push_back({{i.broadcast, options_.broadcast_port}, i.index, source});
        if (i.loopback || std::ranges::find(with_limited, i.index) != with_limited.end()) continue;
        with_limited.push_back(i.index);
        out.push_back({{0xffffffff, options_.broadcast_port}, i.index, source});
    }
    return out;
}

void Datagrams::broadcast(const env::OutFrame& frame) {
    for (const Destination& to : broadcast_destinations()) sender_->send(to, {&frame, 1});
}

void Datagrams::multicast(std::span<const env::OutFrame> frames) {
    if (!multicast_ready()) {
        counters_.datagrams_send_failed += frames.size();
        return;
    }
    sender_->send({*options_.multicast}, frames);
}

void Datagrams::send(env::Endpoint to, const env::OutFrame& frame) { sender_->send({to}, {&frame, 1}); }

}  // namespace logstream::net
