#include "internal/net/datagrams.h"

#include <algorithm>

#include "internal/net/udp_socket.h"

namespace logstream::net {

using protocol::ErrorCode;
using protocol::fail;

namespace {

constexpr std::size_t kLargestDatagramBytes = 65507;  // IPv4's; IPv6 would take 20 more
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
    const std::size_t headers = ip_and_udp_bytes(interface->ip);
    return std::min(std::max(interface->mtu_bytes, kSmallestMtuBytes) - headers, kLargestDatagramBytes);
}

std::size_t datagram_bytes(const NetOptions& options, const std::optional<Interface>& interface) {
    const std::size_t most = interface_datagram_bytes(interface);
    if (options.mtu_bytes == 0 || !interface) return most;
    return std::min(most, options.mtu_bytes - ip_and_udp_bytes(interface->ip));
}

std::string_view family_name(const protocol::IpAddress& ip) { return ip.is_v4() ? "IPv4" : "IPv6"; }

protocol::Result<void> check_options(const NetOptions& options, std::span<const Interface> all) {
    if (options.mtu_bytes != 0 && options.mtu_bytes < kSmallestMtuBytes)
        return fail(ErrorCode::kConfig, "an MTU of {} bytes is too small; the minimum is {}", options.mtu_bytes,
                    kSmallestMtuBytes);
    if (options.multicast && (!options.multicast->ip.is_multicast() || options.multicast->port == 0))
        return fail(ErrorCode::kConfig,
                    "{} is not a multicast group and port; choose one of 239.0.0.0/8 with --multicast",
                    env::to_string(*options.multicast));
    if (options.listen && options.listen->ip.is_unspecified())
        return fail(ErrorCode::kConfig, "{} is not an address that others can reach; choose one of {} with --address",
                    env::to_string(options.listen->ip), describe_addresses(all));
    if (options.listen && options.multicast && options.listen->ip.is_v4() != options.multicast->ip.is_v4())
        return fail(
            ErrorCode::kConfig,
            "the multicast group {} is {}, and the address {} is {}: choose a group of the address's family with "
            "--multicast, as {}, or another --address",
            env::to_string(*options.multicast), family_name(options.multicast->ip), env::to_string(*options.listen),
            family_name(options.listen->ip), options.listen->ip.is_v4() ? "239.0.0.1:9999" : "[ff02::ef00:1]:9999");
    return {};
}

}  // namespace

protocol::Result<std::optional<Interface>> choose_interface(const NetOptions& options, std::span<const Interface> all) {
    if (auto fine = check_options(options, all); !fine) return std::unexpected(fine.error());
    const auto& listen = options.listen;
    const Interface* own = listen ? find_by_address(all, listen->ip, listen->scope) : nullptr;
    if (listen && own == nullptr)
        return fail(ErrorCode::kNetwork,
                    "{} is not an address of this machine; its addresses are {}; choose one with --address",
                    env::to_string(listen->ip), describe_addresses(all));
    if (options.interface.empty()) return own == nullptr ? std::nullopt : std::optional(*own);
    // An interface may have several addresses: the node's own is the right one.
    if (own != nullptr && own->name == options.interface) return *own;
    const Family family = listen ? family_wanted(listen->ip) : Family::kAny;
    const Interface* named = find_by_name(all, options.interface, family);
    if (named == nullptr)
        return fail(ErrorCode::kConfig,
                    "there is no interface '{}' with an {} address; this machine has {}; choose one with --interface",
                    options.interface, listen ? family_name(listen->ip) : "IP", describe_addresses(all));
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
            log.warn("NET no multicast: {}; replication has to use TCP", opened.error().message);
    }
    if (options.listen_broadcast) {
        if (auto opened = self->open_discovery(); !opened) return std::unexpected(opened.error());
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
    own_takes_v6_ = family_of_socket(own_->fd()) == AF_INET6;
    sender_ = std::make_unique<FrameSender>(loop_, *own_, options_.datagram_queue_frames, counters_, log_);
    return {};
}

protocol::Result<void> Datagrams::open_group() {
    // A group could be joined there, and whatever is sent to it would be refused.
    if (interface_->loopback && !interface_->ip.is_v4()) return fail(ErrorCode::kNetwork, "IPv6's loopback has none");
    if (auto set = send_multicast_by(own_->fd(), *interface_, options_.multicast_ttl); !set) return set;
    auto fd = open_multicast_receiver(*options_.multicast, *interface_, "--multicast");
    if (!fd) return std::unexpected(fd.error());
    const std::size_t given = grow_receive_buffer(fd->get(), options_.multicast_buffer_bytes);
    if (given < options_.multicast_buffer_bytes)
        log_.warn(
            "NET the kernel gave the multicast socket a buffer of only {} of the {} bytes requested, so the "
            "replication "
            "window is smaller; to change that: sysctl -w net.core.rmem_max={}",
            given, options_.multicast_buffer_bytes, options_.multicast_buffer_bytes);
    auto socket = PolledFd::open(
        loop_, std::move(*fd), [this] { receive(env::Channel::kMulticast, *group_, many_, kGroupRounds); }, nullptr);
    if (!socket) return std::unexpected(socket.error());
    group_ = std::move(*socket);
    limits_.receive_buffer_bytes = given;
    return {};
}

protocol::Result<void> Datagrams::open_discovery() {
    const bool by_group = interface_ && !interface_->ip.is_v4() && !interface_->loopback;
    auto fd = by_group
                  ? open_multicast_receiver({kDiscoveryGroup, options_.broadcast_port}, *interface_, "--broadcast-port")
                  : open_broadcast_receiver(options_.broadcast_port);
    if (!fd) return std::unexpected(fd.error());
    grow_receive_buffer(fd->get(), kOwnBufferBytes);
    FrameReceiver& receiver = by_group ? many_ : few_;
    auto socket = PolledFd::open(
        loop_, std::move(*fd),
        [this, &receiver] { receive(env::Channel::kBroadcast, *discovery_, receiver, kOwnRounds); },
        [this] { discovery_sender_->writable(); });
    if (!socket) return std::unexpected(socket.error());
    discovery_ = std::move(*socket);
    discovery_sender_ =
        std::make_unique<FrameSender>(loop_, *discovery_, options_.datagram_queue_frames, counters_, log_);
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
    // The socket of an IPv6 group hears its own interface alone.
    if (channel == env::Channel::kBroadcast && interface_ && arrival.interface_index != 0 &&
        arrival.interface_index != interface_->index) {
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
    if (frame->header.cluster != cluster_ && !protocol::asks_any_cluster(frame->header)) {
        ++counters_.datagrams_other_cluster;
        return;
    }
    if (self_ != protocol::NodeId{} && frame->header.sender == self_) {
        ++counters_.datagrams_own;
        return;
    }
    ++counters_.datagrams_received;
    counters_.datagram_bytes_received += arrival.bytes.size();
    env::Endpoint from = arrival.from;
    if (interface_ && from.scope == static_cast<std::uint32_t>(interface_->index)) from.scope = 0;
    if (handler_) handler_({channel, from, frame->header, receiver.take(arrival).from(frame->payload_begin)});
}

// Asked anew at each broadcast, which is rare: interfaces come up late.
std::vector<Destination> Datagrams::discovery_destinations() const {
    std::vector<Destination> out;
    std::vector<int> with_limited;  // interfaces that 255.255.255.255 is sent on already
    std::vector<int> with_group;
    const bool only_v6 = options_.listen && !options_.listen->ip.is_v4() && interface_ && !interface_->loopback;
    for (const Interface& i : interfaces()) {
        if (!i.up || (interface_ && i.index != interface_->index)) continue;
        // Others hear by it where they hear at all; for a node of its own address, that is the source.
        const protocol::IpAddress source =
            options_.listen && options_.listen->ip.is_v4() == i.ip.is_v4() ? options_.listen->ip : i.ip;
        if (!i.ip.is_v4()) {
            const bool can = !i.loopback && i.multicast && i.carrier && i.check == Interface::Check::kDone;
            if (!can || !own_takes_v6_ || std::ranges::find(with_group, i.index) != with_group.end()) continue;
            with_group.push_back(i.index);
            const env::Endpoint group{kDiscoveryGroup, options_.broadcast_port, static_cast<std::uint32_t>(i.index)};
            out.push_back({group, i.index, options_.listen ? source : protocol::IpAddress()});
            continue;
        }
        if (only_v6 || i.broadcast == 0) continue;
        if (interface_ && interface_->ip.is_v4() && i.ip != interface_->ip && !i.loopback) continue;
        out.push_back({{i.broadcast, options_.broadcast_port}, i.index, source});
        if (i.loopback || std::ranges::find(with_limited, i.index) != with_limited.end()) continue;
        with_limited.push_back(i.index);
        out.push_back({{0xffffffff, options_.broadcast_port}, i.index, source});
    }
    return out;
}

// IPv6 has no broadcast, and its loopback no multicast: there, brokers find each other by IPv4's.
void Datagrams::broadcast(const env::OutFrame& frame) {
    for (const Destination& to : discovery_destinations()) {
        const bool by_other_family = options_.listen && to.to.ip.is_v4() != options_.listen->ip.is_v4();
        if (by_other_family && !discovery_sender_) continue;
        (by_other_family ? *discovery_sender_ : *sender_).send(to, {&frame, 1});
    }
}

void Datagrams::multicast(std::span<const env::OutFrame> frames) {
    if (!multicast_ready()) {
        counters_.datagrams_send_failed += frames.size();
        return;
    }
    sender_->send({*options_.multicast}, frames);
}

void Datagrams::send(env::Endpoint to, const env::OutFrame& frame) {
    // Who asked by IPv4's loopback hears on IPv6's, too.
    if (to.ip.is_v4() && to.is_loopback() && interface_ && interface_->loopback && !interface_->ip.is_v4())
        to.ip = protocol::kLoopbackV6;
    sender_->send({to}, {&frame, 1});
}

}  // namespace logstream::net
