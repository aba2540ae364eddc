// When everything has healed: all replicas hold the same (P2, P3), all that was acknowledged (P1), nothing that was
// refused for certain, nothing twice (P6), and each producer's records in its order (P7).
#pragma once

#include <map>
#include <set>

#include "tests/sim/checkers/truth.h"
#include "tests/sim/checkers/violations.h"
#include "tests/sim/history.h"
#include "tests/sim/machine.h"

namespace logstream::sim {

class FinalLogs {
public:
    FinalLogs(Violations& violations, World& world, Truth& truth)
        : violations_(violations), world_(world), truth_(truth) {}

    // Reads the logs of every user stream at every machine and compares them. Virtual time passes meanwhile.
    void read(const std::vector<std::unique_ptr<Machine>>& machines);
    // Holds them against what clients were told.
    void check(const History& history, ClusterId cluster) const;

    // Every record that stands in some stream.
    const std::set<RecordId>& standing() const { return standing_; }
    std::uint64_t orphans() const { return orphans_; }

private:
    using Log = std::map<Offset, TrueRecord>;
    std::optional<Log> read_stream(Machine& machine, StreamId stream);
    void check_order(const History& history, StreamId stream, const Log& log) const;

    Violations& violations_;
    World& world_;
    Truth& truth_;
    std::map<StreamId, Log> logs_;
    std::map<StreamId, Offset> starts_;  // the greatest first offset that a machine holds
    std::set<RecordId> standing_;
    std::uint64_t orphans_{};
};

}  // namespace logstream::sim
