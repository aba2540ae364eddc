// P1 and P4 at the moment of an acknowledgement: what a client was told is durable at a majority of a view that may
// acknowledge it; nobody acknowledges in a view after it promised a greater one; and an owner that has lost its
// majority for long refuses.
#pragma once

#include <map>
#include <set>

#include "tests/sim/checkers/truth.h"
#include "tests/sim/checkers/views.h"
#include "tests/sim/checkers/violations.h"
#include "tests/sim/history.h"

namespace logstream::sim {

class AcknowledgementChecker {
public:
    AcknowledgementChecker(Violations& violations, World& world, std::vector<std::unique_ptr<Machine>>& machines,
                           const Truth& truth, const ViewChecker& views)
        : violations_(violations), world_(world), machines_(machines), truth_(truth), views_(views) {}

    void on_end(Machine& machine);  // its process is about to be gone
    void on_disk_lost(Machine& machine);
    void on_report(const Sent& sent);
    void on_send(Machine& machine, const protocol::OutMessage& message);
    // About ten times a second.
    void on_tick();

private:
    struct Holding {
        Offset durable;
        storage::EpochTable epochs;
    };
    struct Remembered {  // of a process that is gone
        NodeId node;
        std::map<LogKey, Holding> logs;
    };
    void check(const Sent& sent, const TrueRecord& record);
    bool holds(Machine& machine, NodeId node, const LogKey& log, Offset offset, ViewNumber epoch) const;

    Violations& violations_;
    World& world_;
    std::vector<std::unique_ptr<Machine>>& machines_;
    const Truth& truth_;
    const ViewChecker& views_;
    std::map<std::size_t, Remembered> remembered_;
    std::set<NodeId> disks_lost_;
    std::map<std::size_t, TimePoint> alone_since_;
    std::vector<Sent> open_;  // what stands there is not known yet
};

}  // namespace logstream::sim
