// What the network room counted since the start. Monotonic; read by status and metrics.
#pragma once

#include <cstdint>

namespace logstream::net {

struct Counters {
    // Datagrams. What is dropped on reception is never reported one by one: garbage may come in any amount.
    std::uint64_t datagrams_received{};       // valid, of our cluster, from another sender
    std::uint64_t datagram_bytes_received{};  // of these, headers included
    std::uint64_t datagrams_sent{};           // taken by the kernel
    std::uint64_t datagram_bytes_sent{};
    std::uint64_t datagrams_own{};            // our own, heard back
    std::uint64_t datagrams_other_cluster{};  // valid frames of another cluster name
    std::uint64_t datagrams_bad_checksum{};
    std::uint64_t datagrams_garbage{};          // not a frame of this protocol version, or larger than our MTU
    std::uint64_t datagrams_other_interface{};  // broadcasts that came in by an interface that is not ours
    // Arrived here but found the socket buffer full (SO_RXQ_OVFL); those that came as one packet (UDP_GRO) count as
    // one.
    std::uint64_t datagrams_lost_by_kernel{};
    std::uint64_t datagrams_queue_full{};   // not sent: the kernel's buffer and our queue were full
    std::uint64_t datagrams_send_failed{};  // not sent: refused by the kernel (too large, no route, firewall)

    // Connections.
    std::uint64_t connections_accepted{};
    std::uint64_t connections_refused{};  // over max_connections, or refused by the accept handler
    std::uint64_t connections_failed{};   // ended by anything but our own close()
    std::uint64_t messages_received{};
    std::uint64_t messages_sent{};
    std::uint64_t message_bytes_received{};
    std::uint64_t message_bytes_sent{};      // taken by the kernel
    std::uint64_t messages_other_cluster{};  // each of these four closed its connection
    std::uint64_t messages_bad_checksum{};
    std::uint64_t messages_garbage{};
    std::uint64_t messages_too_large{};
    std::uint64_t send_queue_overflows{};  // connections closed because the peer did not read
};

}  // namespace logstream::net
