// Makes things go wrong, as the seed decides, and puts everything right in the end. It keeps to what the promises
// presuppose: disks are lost or damaged only while a majority of the members of every view that may count keep theirs.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "tests/sim/checkers/views.h"
#include "tests/sim/machine.h"
#include "tests/sim/options.h"

namespace logstream::sim {

class Nemesis {
public:
    struct Stage {
        World& world;
        Transcript& transcript;
        std::vector<std::unique_ptr<Machine>>& machines;
        const Swarm& swarm;
        const ViewChecker& views;
    };
    explicit Nemesis(Stage stage) : stage_(stage) {}

    // Strikes from now on until `heal`, which comes after `time`. `cluster` is the lineage that must not be lost.
    void begin(ClusterId cluster, std::vector<Endpoint> clients, Duration time);
    // Everything works again and every machine is started.
    void heal();
    // Starts what is down and should not be. Call it about ten times a second, before `begin` too.
    void supervise();

    // A machine's process is about to be gone.
    void on_end(Machine& machine) { last_id(machine); }
    // This machine sends a message of a view change: it may be a moment to strike.
    void on_view_change(Machine& machine);

    const std::array<std::uint64_t, kFaults>& counts() const { return counts_; }
    // Clients that come later.
    void add_client(Endpoint client);
    // A machine's disk lost or may have lost something that it had acknowledged.
    std::function<void(Machine&, NodeId)> on_disk_lost;
    // Its whole disk is what it was at an older moment, its promises too.
    std::function<void(NodeId)> on_image_restored;
    // Kills one client, which starts again.
    std::function<void()> kill_client;
    // Has one client send a batch that no reader could decode.
    std::function<void()> send_poison;

private:
    void schedule();
    void strike(Fault fault, Machine& machine);
    bool strike_process(Fault fault, Machine& machine);
    bool strike_network(Fault fault, Machine& machine);
    bool strike_disk(Fault fault, Machine& machine);
    void down(Machine& machine, Duration time);
    void cut_for(const std::vector<std::pair<Endpoint, Endpoint>>& ways, Duration time);
    void set_for(double& value, double to, Duration time);
    void isolate(Machine& machine, Duration time);
    void keep_strangers_from_clients();
    bool cut_from_others(const Machine& machine) const;
    bool may_lose_disk(Machine& machine);
    NodeId last_id(Machine& machine);
    enum class Loss : std::uint8_t { kUntilItCatchesUp, kForGood };
    void lose_disk(Machine& machine, Loss loss = Loss::kUntilItCatchesUp);
    bool damage_log(Fault fault, Machine& machine);
    bool damage_state(Machine& machine);
    bool restore_image(Machine& machine);
    void cut_power(Machine& machine);
    void comes_back_as_stranger(Machine& machine, Fault why);
    Machine& any() { return *stage_.machines[random().below(stage_.machines.size())]; }
    Machine* another(const Machine& than);
    Random& random() { return stage_.world.chance_of(); }
    Duration some_time();
    void say(const Machine& machine, const std::string& text) { stage_.transcript.say(machine.name(), text); }
    // Undoes something unless everything was healed meanwhile.
    void undo_after(Duration time, std::move_only_function<void()> undo);

    Stage stage_;
    ClusterId cluster_;
    std::vector<Endpoint> clients_;
    bool striking_{};
    TimePoint until_;
    std::uint64_t healings_{};
    std::array<std::uint64_t, kFaults> counts_{};
    std::map<std::size_t, TimePoint> down_until_;
    std::map<std::size_t, Fault> blank_;  // machines with a new disk or no state that have not been started
    std::map<std::size_t, std::vector<std::byte>> older_states_;  // what a machine's state file was once
    struct Image {
        NodeId node;
        view::View last;  // that it knew to be chosen
        storage::FakeDisk::Image disk;
    };
    std::map<std::size_t, Image> images_;  // what a machine's disk was once
    // With a new disk and not yet in the lineage: a client that came across one would begin a second history there, and
    // two histories stay apart until a person decides.
    std::set<std::size_t> strangers_;
    struct LostDisk {
        std::uint64_t run{};  // the run of the process after which it may count again
        bool for_good{};      // damage may stay hidden until it is read
    };
    std::map<NodeId, LostDisk> lost_;
    std::map<std::size_t, NodeId> last_ids_;
};

}  // namespace logstream::sim
