// What netdiag looks at. Each check ends within kCheckLimit and is independent of the others, so that they run at once.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "cmd/netdiag/report.h"
#include "internal/config/config.h"
#include "internal/env/endpoint.h"
#include "internal/net/interfaces.h"
#include "internal/protocol/bytes.h"
#include "internal/protocol/time.h"

namespace logstream::netdiag {

inline constexpr protocol::Duration kCheckLimit = std::chrono::milliseconds(2700);

struct Options {
    config::HostPort address{"", 8001};  // as a broker's --address
    std::string interface;
    std::string cluster = "logstream";
    env::Endpoint multicast;  // port 0: the default of the address's family
    std::uint16_t broadcast_port = 8888;
    std::string peer;  // HOST:PORT; empty: none
    bool json{};
};

// What a broker with these options would take.
struct Place {
    net::Interface interface;
    env::Endpoint address;
    std::string why;  // it was chosen
};

// Lists the interfaces and chooses one, as a broker does. No place: the findings say why.
Findings check_interfaces(const Options& options, std::span<const net::Interface> all, std::optional<Place>& place);
// TCP and UDP can be bound there, or a broker has it already.
Findings check_address(const Place& place);
Findings check_broadcast(const Options& options, const Place& place);
Findings check_multicast(const Options& options, const Place& place);
Findings check_buffers();
Findings check_clock();
// Connects to the peer, asks it for METADATA, and for a JOIN_RESPONSE by UDP.
Findings check_peer(const Options& options, const Place& place);

// What a broker at `at` says of itself, in words; nullopt: nobody there speaks our protocol.
struct BrokerWords {
    std::string text;     // "cluster 'x', view 3 of 3 members, …"
    std::string cluster;  // its name
    bool quorum{};
    nlohmann::json data;
};
std::optional<BrokerWords> ask_broker(env::Endpoint at, protocol::Duration limit);

// A client's JOIN: brokers of `cluster` answer it with the nonce; everybody else drops it.
protocol::Bytes join_datagram(const std::string& cluster, std::uint64_t nonce);
struct JoinAnswer {
    std::string name;
    env::Endpoint address;
};
std::optional<JoinAnswer> read_join_answer(std::string_view datagram, std::uint64_t nonce);
std::uint64_t random_nonce();

}  // namespace logstream::netdiag
