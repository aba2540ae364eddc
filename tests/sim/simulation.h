// One run: a cluster and its clients, a phase of faults, then healing, and what must hold at each step and in the end.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/checkers/acknowledgements.h"
#include "tests/sim/checkers/bounds.h"
#include "tests/sim/checkers/committed.h"
#include "tests/sim/checkers/final_logs.h"
#include "tests/sim/checkers/groups.h"
#include "tests/sim/checkers/readers.h"
#include "tests/sim/checkers/retention.h"
#include "tests/sim/checkers/union.h"
#include "tests/sim/checkers/views.h"
#include "tests/sim/clients.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/options.h"
#include "tests/sim/report.h"

namespace logstream::sim {

class Simulation {
public:
    Simulation(const Options& options, Transcript::Detail detail, Transcript::Sink sink);
    ~Simulation();
    Simulation(const Simulation&) = delete;
    Simulation& operator=(const Simulation&) = delete;

    Report run();
    const Swarm& swarm() const { return swarm_; }

private:
    void make_machines();
    void make_clients();
    void watch_machine(Machine& machine);
    void on_send(Host& from, Endpoint to, const protocol::OutMessage& message);
    void tick();
    // Runs in slices, until `done`, `limit`, or a broken promise.
    bool run_until(const std::function<bool()>& done, Duration limit);
    bool set_up();
    void fault_phase();
    void heal_phase();
    bool settled();
    std::string what_is_unsettled();
    void collect(Report& report);
    void count_ended(Machine& machine);
    void check_retransmission();
    bool one_view();

    Options options_;
    const AddressFamily family_;  // of a quarter of all seeds IPv6
    World world_;
    Swarm swarm_;
    TimePoint now_;  // as of the last event, for the violations
    Transcript transcript_;
    Violations violations_;
    History history_;
    std::vector<std::unique_ptr<Machine>> machines_;
    CommittedChecker committed_;
    ViewChecker views_;
    UnionChecker union_;
    AcknowledgementChecker acknowledgements_;
    BoundsChecker bounds_;
    GroupChecker groups_;
    ReaderChecker readers_;
    RetentionChecker retention_;
    FinalLogs final_;
    Nemesis nemesis_;
    std::vector<std::unique_ptr<ProducerClient>> producers_;
    std::vector<std::unique_ptr<ConsumerClient>> consumers_;
    std::uint64_t ticks_{};
    Counts counts_;
    std::map<std::size_t, std::pair<std::uint64_t, node::Replicator::Counters>> counted_;  // of each machine's run
    ClusterId cluster_;
};

}  // namespace logstream::sim
