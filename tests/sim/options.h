// What a run is made of: what the user asks for, and what the seed draws from it (a "swarm": each seed has its own
// sizes, limits, timings, faults and clients, so that rare combinations come up).
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "internal/protocol/compression.h"
#include "internal/protocol/error.h"
#include "internal/protocol/planted.h"
#include "tests/sim/machine.h"
#include "tests/sim/world.h"

namespace logstream::sim {

enum class Fault : std::uint8_t {
    kCrash,       // a process is killed
    kPower,       // a machine goes down: what was not flushed may be gone
    kPowerAll,    // all of them at once
    kPause,       // a process stands still
    kSuspend,     // and wakes believing that no time has passed
    kClock,       // clocks drift, the wall clock jumps
    kIsolate,     // a machine is cut off from all
    kSplit,       // two sides
    kOneWay,      // one direction between two machines
    kBridge,      // two machines lose each other, and others reach both
    kClientCut,   // a machine is cut off from the clients only
    kMulticast,   // multicast reaches only a part of the group
    kLoss,        // datagrams are lost
    kDuplicate,   // datagrams come twice
    kReorder,     // datagrams come late
    kCorrupt,     // a bit of a datagram flips
    kDelay,       // a way becomes slow
    kReset,       // connections are reset
    kHang,        // connections hang while datagrams pass
    kStall,       // one connection hangs while others between the same two pass
    kLeave,       // a broker leaves in order and comes back
    kJoin,        // a machine comes back with an empty disk
    kForeign,     // the same, after it has founded a lineage of its own
    kSlowDisk,    // a disk takes its time
    kWriteError,  // a write fails
    kFlushError,  // a flush fails
    kReadError,   // reads fail for a while
    kFullDisk,    // there is no room for a while
    kRot,         // a bit of a log flips on disk
    kTruncate,    // a segment in the middle of a log loses its end
    kState,       // a state file is damaged, or is the one of an older moment
    kImage,       // a machine comes back with all of its disk as it was at an older moment
    kClient,      // a client dies and starts again
    kPoison,      // a client sends a batch whose records cannot be decoded
    kCount,
};
inline constexpr std::size_t kFaults = static_cast<std::size_t>(Fault::kCount);
std::string_view name_of(Fault fault);
std::optional<Fault> fault_named(std::string_view name);
std::set<Fault> all_faults();

// What the user asks for.
struct Options {
    std::uint64_t seed{1};
    Duration time = std::chrono::seconds(60);
    std::optional<std::size_t> nodes;
    std::optional<std::set<Fault>> faults;  // else the seed draws them
    std::optional<protocol::Bug> planted;
};

struct ProducerPlan {
    std::uint32_t topic{};
    proto::Acks acks{proto::QUORUM};
    protocol::Codec codec{protocol::Codec::kNone};
    Duration timeout{};
    Duration linger{};
    std::size_t batch_bytes{};
    std::size_t max_in_flight{5};
    Duration pause{};  // between two bursts
    std::uint32_t burst{1};
    std::size_t record_bytes{};  // at most; one in fifty is much larger
    bool named{};
    bool resumes{};  // a new instance sends again what the cluster lacks of the older ones
};

struct ConsumerPlan {
    std::uint32_t topic{};
    bool group{};
};

// What the seed drew.
struct Swarm {
    Swarm(const Options& options, Random& random);

    std::size_t nodes;
    std::uint32_t topics;
    std::uint32_t partitions;
    std::set<Fault> faults;
    Duration between_faults;  // on average
    double long_cuts{};       // how many of the cuts outlast every detector
    double ambush{};          // how likely one strikes at a message of a view change, on top
    NetworkFaults network;    // what is always there
    MachineOptions machine;
    std::vector<ProducerPlan> producers;
    std::vector<ConsumerPlan> consumers;

    std::string describe() const;
};

}  // namespace logstream::sim
