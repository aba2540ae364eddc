// Host names to addresses. Blocks: for start-up and tools, never from a running loop (see resolver.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "internal/env/endpoint.h"
#include "internal/protocol/error.h"

namespace logstream::net {

// Every IPv4 address of a name or of a dotted address, at least one. kNetwork, with the resolver's words, when there is
// none.
protocol::Result<std::vector<env::Endpoint>> resolve(const std::string& host, std::uint16_t port);

// A dotted address, which nobody has to be asked for.
bool is_address(const std::string& host);

}  // namespace logstream::net
