// The version of the protocol between brokers, and of the files on disk, that this source code is of. What a later
// version adds is used in views all of whose members know it, so that brokers can be upgraded one by one, and back,
// until the last one has been.
#pragma once

#include <cstdint>

namespace logstream::protocol {

inline constexpr std::uint32_t kProtocolVersion = 1;

}  // namespace logstream::protocol
