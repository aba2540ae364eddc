// Host names to addresses. Blocks: for start-up and tools, never from a running loop.
#pragma once

#include <cstdint>
#include <string>

#include "internal/env/endpoint.h"
#include "internal/protocol/error.h"

namespace logstream::net {

// The first IPv4 address of a name or of a dotted address. kNetwork, with the resolver's words, when there is none.
protocol::Result<env::Endpoint> resolve(const std::string& host, std::uint16_t port);

}  // namespace logstream::net
