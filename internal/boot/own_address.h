// How a broker comes to addresses before and while it runs: its own, which may be a name or not ready yet, and those of
// its seeds. It knows settings and sockets, and nothing of brokers, views and logs.
#pragma once

#include <spdlog/logger.h>

#include <functional>
#include <optional>

#include "internal/config/config.h"
#include "internal/net/interfaces.h"
#include "internal/net/loop.h"

namespace logstream::boot {

struct OwnAddress {
    env::Endpoint at;  // a link-local one with its scope
    net::Interface interface;
};

// The address that `node.address` stands for, and says in the log why it is that one. Runs the loop as long as a name
// stands for nothing here, or the network is being asked whether the address is free; says that once. kNetwork: it
// can't be had. nullopt: `given_up` said so.
protocol::Result<std::optional<OwnAddress>> find_own_address(net::Loop& loop, const config::Config& config,
                                                             spdlog::logger& log,
                                                             const std::function<bool()>& given_up);

// Of the addresses that a name has, the one to take on this machine: what others can reach before what they cannot, and
// IPv4 before IPv6 unless that is what group and seeds are of. nullopt: none is this machine's.
std::optional<OwnAddress> choose_of_name(std::span<const env::Endpoint> found, std::span<const net::Interface> all);

// The family of the group and the seeds that are given, where these are addresses.
net::Family family_given(const config::Config& config);

}  // namespace logstream::boot
