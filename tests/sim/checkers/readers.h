// Readers go on: whoever follows a topic gets what is committed within seconds, once a broker that may tell it is there
// and in reach.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "tests/sim/checkers/violations.h"
#include "tests/sim/clients.h"
#include "tests/sim/machine.h"

namespace logstream::sim {

// Without groups: there it is for others to say who reads what.
class ReaderChecker {
public:
    ReaderChecker(Violations& violations, World& world, const std::vector<std::unique_ptr<Machine>>& machines)
        : violations_(violations), world_(world), machines_(machines) {}

    // About ten times a second.
    void on_tick(const std::vector<std::unique_ptr<ConsumerClient>>& consumers, std::uint32_t partitions);

private:
    struct Standing {
        std::uint64_t instance{};  // of the consumer
        std::int64_t position{-1};
        TimePoint since{};
    };
    // Of the streams' owners in the newest view that works, the one of this stream, if `client` reaches it and nothing
    // keeps it from telling all it has.
    Machine* source(protocol::StreamId stream, Endpoint client) const;

    Violations& violations_;
    World& world_;
    const std::vector<std::unique_ptr<Machine>>& machines_;
    std::map<std::pair<Endpoint, protocol::StreamId>, Standing> standing_;
};

}  // namespace logstream::sim
