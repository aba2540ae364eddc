// What an operator chooses and several rooms act on.
#pragma once

#include <cstdint>

namespace logstream::protocol {

// How records travel from the owner to the replicas. kAuto: multicast where the join handshake finds that it arrives,
// else TCP.
enum class Transport : std::uint8_t { kAuto, kMulticast, kTcp };

// What "durable" means in an acknowledgement, and so what a flush callback of the store means.
enum class FsyncPolicy : std::uint8_t {
    kGroup,     // on the disk, one flush for all that waits
    kInterval,  // written; flushed to the disk every `fsync_interval`
    kNever,     // written; flushed when a segment is closed, at a snapshot and at a clean stop
};

// What becomes of a batch with a record whose timestamp is further from the broker's clock than the range allows.
enum class TimestampPolicy : std::uint8_t {
    kAccept,
    kFlag,  // taken, and said in the log
    kRefuse,
};

// What tells a broker from a copy of its data.
enum class IdentityPolicy : std::uint8_t {
    kMachine,  // the machine that it runs on
    kVolume,   // nothing: whoever attaches the volume sees to it that only one broker has it
};

}  // namespace logstream::protocol
