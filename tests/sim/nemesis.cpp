#include "tests/sim/nemesis.h"

#include <algorithm>

namespace logstream::sim {

using namespace std::chrono_literals;
using storage::FakeDisk;

void Nemesis::begin(ClusterId cluster, std::vector<Endpoint> clients, Duration time) {
    cluster_ = cluster;
    until_ = stage_.world.now() + time;
    clients_ = std::move(clients);
    striking_ = true;
    schedule();
}

void Nemesis::schedule() {
    if (stage_.swarm.faults.empty()) return;
    stage_.world.after(random().between(Duration{1}, stage_.swarm.between_faults * 2), [this] {
        if (!striking_) return;
        const std::vector<Fault> faults(stage_.swarm.faults.begin(), stage_.swarm.faults.end());
        strike(random().pick(faults), any());
        schedule();
    });
}

void Nemesis::on_view_change(Machine& machine) {
    if (!striking_ || stage_.swarm.faults.empty() || !random().chance(stage_.swarm.ambush)) return;
    stage_.world.after(random().between(Duration{0}, 2ms), [this, &machine] {
        const std::vector<Fault> faults(stage_.swarm.faults.begin(), stage_.swarm.faults.end());
        if (striking_) strike(random().pick(faults), machine);
    });
}

void Nemesis::heal() {
    striking_ = false;
    ++healings_;
    World& world = stage_.world;
    world.heal();
    world.faults = stage_.swarm.network;
    for (const auto& machine : stage_.machines) {
        machine->faults.slower = {};
        machine->faults.writes_fail = machine->faults.flushes_fail = machine->faults.reads_fail = false;
        machine->disk().set_capacity(1ull << 50);
    }
    down_until_.clear();
    supervise();
}

void Nemesis::add_client(Endpoint client) {
    clients_.push_back(client);
    keep_strangers_from_clients();
}

void Nemesis::keep_strangers_from_clients() {
    for (const auto& machine : stage_.machines) {
        const auto stranger = strangers_.find(machine->index());
        if (stranger == strangers_.end()) continue;
        const bool joined =
            machine->running() && machine->node().core().record.cluster == cluster_ && machine->node().serving();
        for (Endpoint client : clients_) {
            if (joined)
                stage_.world.unbar(machine->address(), client);
            else
                stage_.world.bar(machine->address(), client);
        }
        if (joined) strangers_.erase(stranger);
    }
}

void Nemesis::supervise() {
    keep_strangers_from_clients();
    for (const auto& machine : stage_.machines) {
        if (machine->running()) {
            const auto lost = lost_.find(last_id(*machine));
            if (lost != lost_.end() && !lost->second.for_good && machine->run() > lost->second.run &&
                machine->node().serving() && !machine->store().damaged() &&
                machine->node().core().record.cluster == cluster_)
                lost_.erase(lost);
            continue;
        }
        const auto until = down_until_.find(machine->index());
        if (until != down_until_.end() && stage_.world.now() < until->second) continue;
        const auto blank = blank_.find(machine->index());
        // Alone with its new disk it would found a cluster of its own; that is another fault.
        if (blank != blank_.end() && cut_from_others(*machine)) continue;
        if (blank != blank_.end() && blank->second == Fault::kForeign && striking_)
            isolate(*machine, random().between(2s, 4s));
        if (!machine->start()) {
            down(*machine, 500ms);
            continue;
        }
        say(*machine, "starts");
        blank_.erase(machine->index());
    }
}

bool Nemesis::cut_from_others(const Machine& machine) const {
    for (const auto& other : stage_.machines)
        if (!stage_.world.passes(machine.address(), other->address()) ||
            !stage_.world.passes(other->address(), machine.address()))
            return true;
    return false;
}

void Nemesis::down(Machine& machine, Duration time) { down_until_[machine.index()] = stage_.world.now() + time; }

Duration Nemesis::some_time() { return random().chance(0.7) ? random().between(50ms, 2s) : random().between(2s, 8s); }

Machine* Nemesis::another(const Machine& than) {
    if (stage_.machines.size() < 2) return nullptr;
    Machine* out = &any();
    while (out == &than) out = &any();
    return out;
}

void Nemesis::undo_after(Duration time, std::move_only_function<void()> undo) {
    stage_.world.after(time, [this, healings = healings_, undo = std::move(undo)]() mutable {
        if (healings == healings_) undo();
    });
}

void Nemesis::set_for(double& value, double to, Duration time) {
    value = to;
    undo_after(time, [&value] { value = 0; });
}

void Nemesis::cut_for(const std::vector<std::pair<Endpoint, Endpoint>>& ways, Duration time) {
    for (const auto& [from, to] : ways) stage_.world.cut(from, to);
    undo_after(time, [this, ways] {
        for (const auto& [from, to] : ways) stage_.world.mend(from, to);
    });
}

void Nemesis::isolate(Machine& machine, Duration time) {
    std::vector<std::pair<Endpoint, Endpoint>> ways;
    // Half of them clients still reach: they have to find out who goes on.
    std::vector<Endpoint> others;
    if (random().chance(0.5)) others = clients_;
    for (const auto& other : stage_.machines)
        if (other.get() != &machine) others.push_back(other->address());
    for (Endpoint other : others) {
        ways.emplace_back(machine.address(), other);
        ways.emplace_back(other, machine.address());
    }
    cut_for(ways, time);
}

void Nemesis::strike(Fault fault, Machine& machine) {
    if (!strike_process(fault, machine) && !strike_network(fault, machine) && !strike_disk(fault, machine)) return;
    ++counts_[static_cast<std::size_t>(fault)];
    say(machine, "fault: " + std::string(name_of(fault)));
}

bool Nemesis::strike_process(Fault fault, Machine& machine) {
    const bool unsafe_power = stage_.swarm.machine.store.fsync != storage::FsyncPolicy::kGroup;
    switch (fault) {
        case Fault::kCrash:
            if (!machine.running()) return false;
            machine.crash(FakeDisk::Crash::kProcess);
            down(machine, random().chance(0.5) ? random().between(0s, 300ms) : some_time());
            return true;
        case Fault::kPower:
            if (!machine.running() || (unsafe_power && !may_lose_disk(machine))) return false;
            if (unsafe_power) lose_disk(machine);
            cut_power(machine);
            down(machine, some_time());
            return true;
        case Fault::kPowerAll:
            if (unsafe_power) return false;
            for (const auto& each : stage_.machines) {
                if (each->running()) cut_power(*each);
                down(*each, random().between(0s, 2s));
            }
            return true;
        case Fault::kPause:
        case Fault::kSuspend:
            if (!machine.running() || machine.host().paused()) return false;
            machine.pause(std::min(random().between(20ms, 5s), until_ - stage_.world.now()),
                          fault == Fault::kSuspend ? Machine::Clock::kStops : Machine::Clock::kGoesOn);
            return true;
        case Fault::kClock:
            if (!machine.running()) return false;
            machine.host().set_clock_rate(1 + (static_cast<double>(random().below(20'001)) - 10'000) / 1e6);
            machine.host().clock.wall_off_ms += random().between(-3'600'000, 3'600'000);
            return true;
        case Fault::kLeave:
            if (!machine.running()) return false;
            machine.leave();
            down(machine, 2s + some_time());
            return true;
        case Fault::kJoin:
        case Fault::kForeign:
            if (!may_lose_disk(machine)) return false;
            lose_disk(machine);
            if (machine.running()) machine.crash(FakeDisk::Crash::kMachine);
            machine.replace_disk();
            older_states_.erase(machine.index());
            comes_back_as_stranger(machine, fault);
            return true;
        case Fault::kState:
            return may_lose_disk(machine) && damage_state(machine);
        case Fault::kImage:
            return restore_image(machine);
        case Fault::kClient:
            kill_client();
            return true;
        case Fault::kPoison:
            send_poison();
            return true;
        default:
            return false;
    }
}

// A backup of a member is put back, sooner or later after it was made.
bool Nemesis::restore_image(Machine& machine) {
    const NodeId node = last_id(machine);
    const auto kept = images_.find(machine.index());
    if (kept == images_.end() || kept->second.node != node) {
        if (!machine.running() || machine.store().damaged()) return false;
        const view::Record& record = machine.node().core().record;
        if (record.cluster == cluster_ && record.chosen)
            images_[machine.index()] = {node, *record.chosen, machine.disk().image()};
        return false;
    }
    // With a quorum of the view that it knows, and nobody among these who knows better, it would go on by itself.
    const auto knows_better = [&](NodeId id) {
        return id != node && !lost_.contains(id) &&
               std::ranges::any_of(last_ids_, [id](const auto& entry) { return entry.second == id; });
    };
    const std::vector<NodeId> members = kept->second.last.ids();
    if (2 * static_cast<std::size_t>(std::ranges::count_if(members, knows_better)) <= members.size()) {
        images_.erase(kept);
        return false;
    }
    if (blank_.contains(machine.index()) || !may_lose_disk(machine)) return false;
    lose_disk(machine);
    if (machine.running()) machine.crash(FakeDisk::Crash::kMachine);
    machine.restore_disk(kept->second.disk);
    images_.erase(kept);
    on_image_restored(node);
    down(machine, some_time());
    return true;
}

// On a disk that rots the last records before a power cut look like ones that were never flushed: nothing could tell.
// So there only the process dies.
void Nemesis::cut_power(Machine& machine) {
    const auto lost = lost_.find(machine.node().id());
    const bool rots = lost != lost_.end() && lost->second.for_good;
    machine.crash(rots ? FakeDisk::Crash::kProcess : FakeDisk::Crash::kMachine);
}

bool Nemesis::strike_network(Fault fault, Machine& machine) {
    World& world = stage_.world;
    Machine* other = another(machine);
    const Duration time = random().chance(stage_.swarm.long_cuts) ? random().between(18s, 25s) : some_time();
    const auto both = [](Endpoint a, Endpoint b) { return std::vector<std::pair<Endpoint, Endpoint>>{{a, b}, {b, a}}; };
    switch (fault) {
        case Fault::kIsolate:
            isolate(machine, time);
            return true;
        case Fault::kSplit: {
            std::vector<std::pair<Endpoint, Endpoint>> ways;
            std::vector<bool> side;
            for (std::size_t i = 0; i < stage_.machines.size(); ++i) side.push_back(random().chance(0.5));
            for (const auto& a : stage_.machines)
                for (const auto& b : stage_.machines)
                    if (side[a->index()] != side[b->index()]) ways.emplace_back(a->address(), b->address());
            cut_for(ways, time);
            return !ways.empty();
        }
        case Fault::kOneWay:
            if (other == nullptr) return false;
            cut_for({{machine.address(), other->address()}}, time);
            return true;
        case Fault::kBridge:
            if (other == nullptr || stage_.machines.size() < 3) return false;
            cut_for(both(machine.address(), other->address()), time);
            return true;
        case Fault::kClientCut: {
            std::vector<std::pair<Endpoint, Endpoint>> ways;
            for (Endpoint client : clients_)
                for (const auto& way : both(machine.address(), client)) ways.push_back(way);
            cut_for(ways, time);
            return true;
        }
        case Fault::kMulticast:
            if (other == nullptr) return false;
            for (const auto& to : stage_.machines)
                if (to.get() != &machine && (to.get() == other || random().chance(0.3)))
                    world.deafen(machine.address(), to->address());
            undo_after(time, [this, from = machine.address()] {
                for (const auto& to : stage_.machines) stage_.world.undeafen(from, to->address());
            });
            return true;
        case Fault::kLoss:
            set_for(world.faults.datagram_loss, 0.02 + 0.04 * static_cast<double>(random().below(8)), time);
            return true;
        case Fault::kDuplicate:
            set_for(world.faults.datagram_duplication, 0.2, time);
            return true;
        case Fault::kReorder:
            set_for(world.faults.datagram_reorder, 0.3, time);
            return true;
        case Fault::kCorrupt:
            set_for(world.faults.datagram_corrupt, 0.05, time);
            return true;
        case Fault::kDelay:
            if (other == nullptr) return false;
            world.slow(machine.address(), other->address(), random().between(1ms, 300ms));
            undo_after(time, [this, from = machine.address(), to = other->address()] {
                stage_.world.slow(from, to, Duration{0});
            });
            return true;
        case Fault::kReset:
            for (const auto& each : stage_.machines)
                if (each.get() != &machine) world.reset_connections(machine.address(), each->address());
            for (Endpoint client : clients_) world.reset_connections(machine.address(), client);
            return true;
        case Fault::kHang:
            if (other == nullptr) return false;
            world.hang(machine.address(), other->address());
            undo_after(time,
                       [this, from = machine.address(), to = other->address()] { stage_.world.unhang(from, to); });
            return true;
        case Fault::kStall:
            if (other == nullptr) return false;
            world.stall(machine.address(), other->address(), random().between(5ms, 3s));
            return true;
        default:
            return false;
    }
}

bool Nemesis::strike_disk(Fault fault, Machine& machine) {
    const bool lossy = stage_.swarm.machine.store.fsync != storage::FsyncPolicy::kGroup;
    switch (fault) {
        case Fault::kSlowDisk:
            machine.faults.slower = random().between(1ms, 200ms);
            undo_after(some_time(), [&machine] { machine.faults.slower = {}; });
            return true;
        case Fault::kWriteError:
        case Fault::kFlushError:
            if (lossy && !may_lose_disk(machine)) return false;
            if (lossy) lose_disk(machine);
            (fault == Fault::kWriteError ? machine.faults.writes_fail : machine.faults.flushes_fail) = true;
            return true;
        case Fault::kReadError:
            machine.faults.reads_fail = true;
            undo_after(random().between(50ms, 2s), [&machine] { machine.faults.reads_fail = false; });
            return true;
        case Fault::kFullDisk: {
            FakeDisk& disk = machine.disk();
            const std::uint64_t used = disk.capacity_bytes() - disk.free_bytes();
            disk.set_capacity(used + random().below(96 << 10));
            undo_after(some_time(), [&machine] { machine.disk().set_capacity(1ull << 50); });
            return true;
        }
        case Fault::kRot:
        case Fault::kTruncate:
            return !blank_.contains(machine.index()) && may_lose_disk(machine) && damage_log(fault, machine);
        default:
            return false;
    }
}

bool Nemesis::damage_log(Fault fault, Machine& machine) {
    FakeDisk& disk = machine.disk();
    std::vector<std::string> logs;
    std::string before;
    const auto directory = [](const std::string& path) { return path.substr(0, path.rfind('/')); };
    for (const std::string& path : disk.files()) {
        if (!path.starts_with("/data/streams/") || disk.content(path).empty()) continue;
        if (fault == Fault::kRot) {
            logs.push_back(path);
            continue;
        }
        // The last segment of a log that is cut looks like one that was never written so far: nothing could tell.
        if (!path.ends_with(".log")) continue;
        if (!before.empty() && directory(before) == directory(path)) logs.push_back(before);
        before = path;
    }
    if (logs.empty()) return false;
    const std::string& path = random().pick(logs);
    const std::uint64_t size = disk.content(path).size();
    lose_disk(machine, Loss::kForGood);
    if (fault == Fault::kRot)
        disk.flip(path, random().below(size * 8));
    else
        disk.resize(path, random().below(size));
    say(machine, fmt::format("damaged: {}", path));
    return true;
}

bool Nemesis::damage_state(Machine& machine) {
    // Its logs stay and may be damaged, which nobody would expect of the new member that it becomes.
    if (const auto lost = lost_.find(last_id(machine)); lost != lost_.end() && lost->second.for_good) return false;
    if (machine.running()) machine.crash(FakeDisk::Crash::kProcess);
    FakeDisk& disk = machine.disk();
    std::string newest;
    for (const std::string& path : disk.files())
        if (path.starts_with("/data/state.") && !path.ends_with(".tmp") &&
            std::pair(path.size(), path) > std::pair(newest.size(), newest))
            newest = path;
    if (newest.empty()) return false;
    std::vector<std::byte> content = disk.content(newest);
    const auto older = older_states_.find(machine.index());
    lose_disk(machine);
    if (older != older_states_.end() && older->second != content && random().chance(0.7))
        disk.put(newest, older->second);
    else
        disk.flip(newest, random().below(content.size() * 8));
    older_states_[machine.index()] = std::move(content);
    comes_back_as_stranger(machine, Fault::kState);
    return true;
}

// Under a new id, and without knowing its lineage.
void Nemesis::comes_back_as_stranger(Machine& machine, Fault why) {
    blank_[machine.index()] = why;
    strangers_.insert(machine.index());
    keep_strangers_from_clients();
    down(machine, some_time());
}

// While it has lost its disk a member does not count; every view that may still be asked for must have a majority of
// members that do.
bool Nemesis::may_lose_disk(Machine& machine) {
    const NodeId node = last_id(machine);
    if (node.value == 0) return false;
    if (blank_.contains(machine.index())) return true;
    // A view that is being made may be accepted any moment.
    for (const auto& other : stage_.machines)
        if (other.get() != &machine && other->running() &&
            other->node().core().record.promised > other->node().core().record.accepted_number())
            return false;
    // Members whose disks are whole, and that have served `known` or a later view.
    const auto majority_without = [&](const view::View& view, ViewNumber known) {
        std::size_t intact = 0;
        for (const view::Member& member : view.members)
            intact += !lost_.contains(member.id) && member.id != node && stage_.views.served_by(member.id) >= known;
        return 2 * intact > view.members.size();
    };
    const ViewChecker::ViewKey first{cluster_, ViewNumber{}};
    const ViewChecker::ViewKey last{cluster_, protocol::kMaxViewNumber};
    // The newest view that enough will still know to be chosen; what was accepted since may be asked for as well.
    const auto& served = stage_.views.served();
    auto known = served.upper_bound(last);
    do {
        if (known == served.begin() || (--known)->first < first) return false;
    } while (!majority_without(known->second, known->first.second));
    // Who has served none may have records without a state: no vote, until it has accepted one.
    const auto& accepted = stage_.views.accepted();
    return std::all_of(accepted.lower_bound(known->first), accepted.upper_bound(last),
                       [&](const auto& entry) { return majority_without(entry.second, ViewNumber{1}); });
}

void Nemesis::lose_disk(Machine& machine, Loss loss) {
    const NodeId node = last_id(machine);
    if (node.value != 0) {
        LostDisk& lost = lost_[node];
        lost = {machine.run(), lost.for_good || loss == Loss::kForGood};
    }
    if (on_disk_lost) on_disk_lost(machine, node);
}

// Of the broker that runs on it, or ran there last; 0 when none did.
NodeId Nemesis::last_id(Machine& machine) {
    NodeId& last = last_ids_[machine.index()];
    if (machine.running() && machine.node().id().value != 0) last = machine.node().id();
    return last;
}

}  // namespace logstream::sim
