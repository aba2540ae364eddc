// One machine of the virtual world: a disk that outlives the processes that run on it, clocks, and at most one process.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "internal/node/node.h"
#include "internal/storage/fake_disk.h"
#include "tests/sim/host.h"
#include "tests/sim/transcript.h"

namespace logstream::sim {

struct MachineOptions {
    node::Settings settings;
    storage::StoreOptions store{.dir = "data"};
    Duration least_disk_time = std::chrono::microseconds(200);  // of one group of operations, or one read
    Duration most_disk_time = std::chrono::microseconds(200);
};

// What the disk does wrong until it is told otherwise.
struct DiskFaults {
    Duration slower{};         // on top of every operation
    Duration slower_groups{};  // on top of the groups that bring records to disk, which nothing else waits for
    bool writes_fail{};        // the next write fails; the store never trusts the disk again before a restart
    bool flushes_fail{};       // the next flush fails and loses what it should have flushed
    bool reads_fail{};         // while set
    std::uint64_t injected{};  // how often it did
};

class Machine {
public:
    Machine(World& world, Transcript& transcript, Endpoint address, std::size_t index, std::uint64_t seed,
            MachineOptions options);
    ~Machine();
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    // False when the store cannot be opened (the disk fails): try again later.
    bool start();
    // kill -9, or the power goes.
    void crash(storage::FakeDisk::Crash kind);
    // SIGTERM; the process is gone some virtual time later.
    void leave();
    // The process stands still; with `clock_stops` it wakes believing that no time has passed.
    enum class Clock : std::uint8_t { kGoesOn, kStops };
    void pause(Duration time, Clock clock);
    // A new, empty disk. Not while it runs.
    void replace_disk();
    // A disk with what was on one before. Not while it runs.
    void restore_disk(const storage::FakeDisk::Image& image);
    // A copy of the other one's disk, as it is now. Not while this one runs.
    void copy_disk_of(const Machine& other);

    bool running() const { return process_ != nullptr; }
    node::Node& node() { return process_->node; }
    storage::Store& store() { return *process_->store; }
    Host& host() { return process_->host; }
    Endpoint address() const { return address_; }
    std::size_t index() const { return index_; }
    const std::string& name() const { return options_.settings.name; }
    // Changes hold from the next start on.
    MachineOptions& options() { return options_; }
    // Why the process ended itself last; empty while it never did. It ends at the end of that moment.
    const std::string& fatal() const { return fatal_; }
    void clear_fatal() { fatal_.clear(); }
    storage::FakeDisk& disk() { return *disk_; }
    DiskFaults faults;
    ClockFault clock;
    // Rises with every end of a process.
    std::uint64_t run() const { return run_; }

    // A process has started; one is about to be gone.
    std::function<void(Machine&)> on_start;
    std::function<void(Machine&)> on_end;

private:
    struct Process {
        Host& host;
        std::unique_ptr<storage::Store> store;
        node::Node node;
        Process(Host& h, std::unique_ptr<storage::Store> s, node::Settings settings, node::FatalHandler fatal)
            : host(h), store(std::move(s)), node(h, *store, std::move(settings), std::move(fatal)) {}
    };
    void attach_disk();
    protocol::Result<void> fault_of(const storage::DiskOp& op);

    World& world_;
    Transcript& transcript_;
    Endpoint address_;
    std::size_t index_;
    std::uint64_t seed_;
    MachineOptions options_;
    std::unique_ptr<storage::FakeDisk> disk_;
    std::unique_ptr<Process> process_;
    std::uint64_t disks_{};
    std::uint64_t run_{};
    std::string fatal_;
};

}  // namespace logstream::sim
