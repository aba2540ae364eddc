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

// The judgement alone: the logs may come from anywhere.
class ReplicaLogs {
public:
    using Log = std::map<Offset, TrueRecord>;

    ReplicaLogs(Violations& violations, Truth& truth) : violations_(violations), truth_(truth) {}

    // What one replica holds of a stream from its log's start on: the same as all others.
    void add(const std::string& replica, const LogKey& stream, Log log, Offset start);
    // All replicas of the stream have been added: no record stands in it twice, or in another one too.
    void check_once(StreamId stream);
    // Every stream has been checked for that: holds all of them against what clients were told.
    void check(const History& history, ClusterId cluster) const;

    // Every record that stands in some stream.
    const std::set<RecordId>& standing() const { return standing_; }
    std::uint64_t orphans() const { return orphans_; }
    // The greatest first offset that a replica of each stream holds.
    const std::map<StreamId, Offset>& starts() const { return starts_; }

protected:
    Violations& violations_;
    Truth& truth_;

private:
    void check_contents(const History& history, StreamId stream, const Log& log) const;
    void check_order(const History& history, StreamId stream, const Log& log) const;

    std::map<StreamId, Log> logs_;  // the longest of each
    std::map<StreamId, Offset> starts_;
    std::set<RecordId> standing_;
    std::uint64_t orphans_{};
};

// The logs of simulated machines.
class FinalLogs : public ReplicaLogs {
public:
    FinalLogs(Violations& violations, World& world, Truth& truth) : ReplicaLogs(violations, truth), world_(world) {}

    // Reads the logs of every user stream at every machine and compares them. Virtual time passes meanwhile.
    void read(const std::vector<std::unique_ptr<Machine>>& machines);

private:
    std::optional<Log> read_stream(Machine& machine, StreamId stream);

    World& world_;
};

}  // namespace logstream::sim
