// Broadcast and multicast: whether this machine sends and hears them, and whom else it hears.
#include <algorithm>
#include <random>
#include <set>

#include "cmd/netdiag/checks.h"
#include "cmd/netdiag/socket.h"
#include "internal/net/net_options.h"
#include "logstream.pb.h"

namespace logstream::netdiag {

namespace {

// Long enough for three heartbeats of a broker (100 ms each) and for answers across a slow network.
constexpr protocol::Duration kListen = std::chrono::milliseconds(600);
constexpr std::size_t kMaxListed = 8;

std::string listed(const std::set<std::string>& names) {
    std::string out;
    std::size_t count = 0;
    for (const std::string& name : names) {
        if (++count > kMaxListed) return fmt::format("{} and {} more", out, names.size() - kMaxListed);
        out += (out.empty() ? "" : ", ") + name;
    }
    return out;
}

}  // namespace

std::uint64_t random_nonce() {
    std::random_device device;
    return (std::uint64_t{device()} << 32) | device();
}

protocol::Bytes join_datagram(const std::string& cluster, std::uint64_t nonce) {
    proto::Join join;
    join.set_cluster(cluster);
    join.set_client(true);
    join.set_nonce(nonce);
    protocol::FrameHeader header;
    header.type = protocol::MessageType::kJoin;
    header.cluster = protocol::cluster_tag(cluster);
    return protocol::encode_frame(header, join);
}

std::optional<JoinAnswer> read_join_answer(std::string_view datagram, std::uint64_t nonce) {
    const auto bytes = std::as_bytes(std::span(datagram));
    const auto frame = protocol::decode_frame(bytes);
    if (!frame || frame->header.type != protocol::MessageType::kJoinResponse) return std::nullopt;
    const auto payload = bytes.subspan(frame->payload_begin);
    proto::JoinResponse response;
    if (!response.ParseFromArray(payload.data(), static_cast<int>(payload.size())) || response.nonce() != nonce)
        return std::nullopt;
    return JoinAnswer{response.responder().name(),
                      {protocol::ip_of(response.responder()), static_cast<std::uint16_t>(response.responder().port())}};
}

Findings check_broadcast(const Options& options, const Place& place) {
    constexpr std::string_view kInstead =
        "brokers then find each other only through --seeds HOST:PORT,…, and clients need --brokers";
    const net::Interface& interface = place.interface;
    const bool by_group = !interface.ip.is_v4() && !interface.loopback;
    if (!by_group && !interface.ip.is_v4())
        return {ok("broadcast", "on IPv6's loopback, brokers find each other by broadcast on 127.0.0.1")};
    if (!by_group && interface.broadcast == 0)
        return {warn("broadcast",
                     fmt::format("{} has no broadcast address (point to point); {}", interface.name, kInstead))};
    const env::Endpoint to = by_group ? env::Endpoint{net::kDiscoveryGroup, options.broadcast_port}
                                      : env::Endpoint{interface.broadcast, options.broadcast_port};
    const auto receiver =
        by_group ? open_group_receiver(to, interface) : open_broadcast_receiver(options.broadcast_port);
    if (!receiver)
        return {warn("broadcast",
                     fmt::format("{}; {}; or choose another --broadcast-port", receiver.error().message, kInstead))};
    const auto sender = open_sender(interface);
    if (!sender) return {warn("broadcast", fmt::format("{}; {}", sender.error().message, kInstead))};

    const std::uint64_t nonce = random_nonce();
    const protocol::Bytes join = join_datagram(options.cluster, nonce);
    if (const int error = send_to(*sender, to, join); error != 0)
        return {warn("broadcast",
                     fmt::format("can't send to {}: {}; {}", env::to_string(to), os_message(error), kInstead))};
    bool heard = false;
    std::set<std::string> brokers;
    receive({&*receiver, &*sender}, kListen, [&](std::size_t socket, env::Endpoint, std::string_view datagram) {
        if (socket == 0) {
            heard |= datagram == join.view();
        } else if (const auto answer = read_join_answer(datagram, nonce)) {
            brokers.insert(fmt::format("{} at {}", answer->name, env::to_string(answer->address)));
        }
        return true;
    });
    const nlohmann::json data{{"to", env::to_string(to)}, {"heard_own", heard}, {"brokers", brokers}};
    const std::string answers =
        brokers.empty()
            ? fmt::format("no broker of cluster '{}' answered (expected when none is running)", options.cluster)
            : fmt::format("brokers of cluster '{}' that answered: {}", options.cluster, listed(brokers));
    if (heard)
        return {ok("broadcast", fmt::format("sent to {} and received here; {}", env::to_string(to), answers), data)};
    return {
        warn("broadcast",
             fmt::format("sent to {}, but not received here; {}: allow UDP port {} in the firewall (nft list ruleset); "
                         "{}",
                         env::to_string(to), answers, options.broadcast_port, kInstead),
             data)};
}

Findings check_multicast(const Options& options, const Place& place) {
    constexpr std::string_view kInstead = "LogStream then replicates by TCP, once to each replica";
    const net::Interface& interface = place.interface;
    const std::string group = env::to_string(options.multicast);
    const auto receiver = open_group_receiver(options.multicast, interface);
    if (!receiver) return {warn("multicast", fmt::format("{}; {}", receiver.error().message, kInstead))};
    const auto sender = open_sender(interface);
    if (!sender) return {warn("multicast", fmt::format("{}; {}", sender.error().message, kInstead))};

    // The largest datagram that fits, as replication sends them. It names a cluster that nobody has: brokers drop it.
    const std::uint64_t nonce = random_nonce();
    protocol::Bytes datagram = join_datagram(fmt::format("netdiag-{:016x}", nonce), nonce);
    std::string padded(datagram.view());
    padded.resize(
        std::max(padded.size(), std::min<std::size_t>(interface.mtu_bytes, 9000) - net::ip_and_udp_bytes(interface.ip)),
        '\0');
    if (const int error = send_to(*sender, options.multicast, padded); error != 0)
        return {warn("multicast",
                     fmt::format("can't send {} bytes to {} by {}: {}; {}. Add a route (ip route add "
                                 "{} dev {}) if it says unreachable",
                                 padded.size(), group, interface.name, os_message(error), kInstead,
                                 interface.ip.is_v4() ? "224.0.0.0/4" : "multicast ff00::/8", interface.name))};
    bool heard = false;
    std::set<std::string> others;
    receive({&*receiver}, kListen, [&](std::size_t, env::Endpoint from, std::string_view bytes) {
        heard |= bytes == padded;
        if (from.ip != interface.ip) others.insert(env::to_string(from.ip));
        return true;
    });
    const nlohmann::json data{
        {"group", group}, {"datagram_bytes", padded.size()}, {"heard_own", heard}, {"heard_from", others}};
    const std::string whom =
        others.empty() ? (interface.loopback
                              ? std::string("within this machine")
                              : std::string("within this machine; no other machine was heard (to test the network, run "
                                            "netdiag or a broker there at the same time)"))
                       : fmt::format("and heard from other machines: {}", listed(others));
    if (heard)
        return {
            ok("multicast",
               fmt::format("{} bytes sent to {} by {} and received, {}", padded.size(), group, interface.name, whom),
               data)};
    return {warn("multicast",
                 fmt::format("sent to {} by {}, but not received: allow UDP port {} and IGMP in the firewall (nft list "
                             "ruleset), or choose another --multicast; {}",
                             group, interface.name, options.multicast.port, kInstead),
                 data)};
}

}  // namespace logstream::netdiag
