// How a UvEnv is set up. `config` fills this for brokers; clients take the defaults.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "internal/env/endpoint.h"
#include "internal/protocol/message.h"
#include "internal/protocol/time.h"

namespace logstream::net {

// Where IPv6 brokers are asked for on each link, in place of broadcast: ff02::ef00:0, beside the default group of
// replication.
inline constexpr protocol::IpAddress kDiscoveryGroup{0xff02'0000'0000'0000, 0xef000000};

struct NetOptions {
    // Cluster name: its tag is in everything sent, and what carries another one is counted and dropped.
    std::string cluster = "logstream";

    // Brokers: TCP listens here, and the node's own UDP socket has the same ip:port. Port 0 takes a free one; see
    // UvEnv::local_address. Clients: nullopt; no listening, an UDP socket on a free port of all addresses.
    // A link-local address has its scope here; everywhere else in this node its scope is 0.
    std::optional<env::Endpoint> listen;
    // The interface for multicast and broadcast; empty: the one that has `listen`'s address (clients: every one that is
    // up).
    std::string interface;

    // UDP port of discovery: where broadcasts go, and, with listen_broadcast, where they are heard. The port is bound
    // so that several brokers of one host share it and each gets every broadcast. With IPv6, a group of the link takes
    // the place of broadcast.
    std::uint16_t broadcast_port = 8888;
    bool listen_broadcast = false;

    // The replication group: joined on the interface, and where multicast() sends. nullopt: no multicast (clients).
    std::optional<env::Endpoint> multicast;
    int multicast_ttl = 1;  // hops; 1 stays within the network segment
    // Datagrams are never larger than this, IP and UDP headers included; 0: the interface's MTU.
    std::size_t mtu_bytes = 0;
    // Asked of the kernel for the multicast socket; what it really gave is in datagram_limits().
    std::size_t multicast_buffer_bytes = 16u << 20;

    protocol::MessageDecoder::Limits message_limits;
    // A connection's send queue: over the mark, send() answers kFull and on_writable follows below half of it. A
    // connection whose queue already holds the limit is closed at the next send: a peer that stopped reading must not
    // pin memory.
    std::size_t send_queue_mark_bytes = 4u << 20;
    std::size_t send_queue_limit_bytes = 64u << 20;
    // Accepted connections at one time. One more takes the place of the oldest that has been silent for
    // silent_connection_patience; when there is none, it is closed at once.
    std::size_t max_connections = 1000;
    protocol::Duration silent_connection_patience = std::chrono::seconds(1);
    // An accepted connection that has not delivered one whole message for so long is closed.
    protocol::Duration first_message_timeout = std::chrono::seconds(10);
    // How long close() tries to get rid of what is queued.
    protocol::Duration close_timeout = std::chrono::seconds(2);
    // Datagrams wait here while the kernel's send buffer is full; more are dropped and counted.
    std::size_t datagram_queue_frames = 4096;
};

}  // namespace logstream::net
