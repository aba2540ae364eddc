// Host names to addresses. Blocks: for start-up and tools, never from a running loop (see resolver.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "internal/env/endpoint.h"
#include "internal/net/interfaces.h"
#include "internal/protocol/error.h"

namespace logstream::net {

// Every address of that family that a name has or an address is, at least one. An IPv6 address may have a zone:
// fe80::1%eth0. kNetwork, with the resolver's words, when there is none.
protocol::Result<std::vector<env::Endpoint>> resolve(const std::string& host, std::uint16_t port,
                                                     Family family = Family::kAny);

// An address, with or without a zone, which nobody has to be asked for.
bool is_address(const std::string& host);

}  // namespace logstream::net
