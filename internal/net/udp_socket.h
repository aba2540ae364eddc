// The three kinds of UDP socket and what the kernel is asked for each. Internal to net.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "internal/env/endpoint.h"
#include "internal/net/interfaces.h"
#include "internal/net/polled_fd.h"
#include "internal/net/socket_address.h"
#include "internal/protocol/error.h"

namespace logstream::net {

// What failed to bind `at`, and what to do: names the flag that chooses another.
protocol::Error bind_error(const env::Endpoint& at, int os_error, std::string_view protocol_name,
                           std::string_view flag);

// This node's own socket: everything is sent from it, unicast arrives at it. Bound exclusively, so that a second broker
// on one address is noticed.
protocol::Result<Fd> open_own_socket(const env::Endpoint& at);
// A client's: on a free port of all addresses, for IPv6 and IPv4 in one where the system has both.
protocol::Result<Fd> open_client_socket();
env::Endpoint bound_address(int fd);
// Multicast of the interface's family from `fd` leaves by `interface`, is heard on this host too (several brokers of
// one host), and lives `ttl` hops.
protocol::Result<void> send_multicast_by(int fd, const Interface& interface, int ttl);

// Receives the group, on this interface only: bound to the group's address, so that nothing else that is sent to the
// port arrives here, and several brokers of one host share it.
protocol::Result<Fd> open_multicast_receiver(const env::Endpoint& group, const Interface& interface,
                                             std::string_view flag);

// AF_INET or AF_INET6, which takes IPv4 addresses too unless it is bound to an IPv6 one.
int family_of_socket(int fd);

// Receives IPv4 broadcasts to the port. SO_REUSEADDR is what makes the kernel deliver a broadcast to every socket that
// is bound to the port, whichever user's.
protocol::Result<Fd> open_broadcast_receiver(std::uint16_t port);

// Asks for a buffer of `bytes` and returns what the kernel really gave. (The kernel doubles what it is asked, for its
// own bookkeeping, and reports the double; this is the half that holds datagrams.)
std::size_t grow_receive_buffer(int fd, std::size_t bytes);
void grow_send_buffer(int fd, std::size_t bytes);

}  // namespace logstream::net
