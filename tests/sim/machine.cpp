#include "tests/sim/machine.h"

namespace logstream::sim {

using storage::FakeDisk;

Machine::Machine(World& world, Transcript& transcript, Endpoint address, std::size_t index, std::uint64_t seed,
                 MachineOptions options)
    : world_(world),
      transcript_(transcript),
      address_(address),
      index_(index),
      seed_(seed),
      options_(std::move(options)) {
    attach_disk();
}

Machine::~Machine() = default;

void Machine::attach_disk() {
    disk_ = std::make_unique<FakeDisk>(seed_ + 1'000'003 * disks_++);
    disk_->set_on_work([this](FakeDisk::Lane lane) {
        Duration time{};
        if (lane != FakeDisk::Lane::kPost)
            time = world_.chance_of().between(options_.least_disk_time, options_.most_disk_time) + faults.slower;
        if (lane == FakeDisk::Lane::kWrite) time += faults.slower_groups;
        world_.at(
            world_.now() + time,
            [this, lane, run = run_] {
                if (run == run_) disk_->step(lane);
            },
            process_ ? &process_->host : nullptr);
    });
    disk_->set_fault([this](const storage::DiskOp& op) { return fault_of(op); });
    disk_->set_read_fault([this](const std::string& path) -> protocol::Result<void> {
        if (!faults.reads_fail) return {};
        ++faults.injected;
        return protocol::fail(protocol::ErrorCode::kDisk, "{}: Input/output error", path);
    });
}

protocol::Result<void> Machine::fault_of(const storage::DiskOp& op) {
    const bool write = std::holds_alternative<storage::WriteOp>(op);
    const bool flush = std::holds_alternative<storage::SyncOp>(op) || std::holds_alternative<storage::ReplaceOp>(op);
    bool& armed = write ? faults.writes_fail : faults.flushes_fail;
    if ((!write && !flush) || !armed) return {};
    armed = false;
    ++faults.injected;
    return protocol::fail(protocol::ErrorCode::kDisk, "Input/output error");
}

bool Machine::start() {
    LS_ASSERT(!process_);
    Host& host = world_.host(address_, transcript_.logger(name()));
    host.index = index_;
    host.clock = clock;
    auto store = storage::Store::open(*disk_, options_.store, host.log());
    if (!store) {
        transcript_.say(name(), "cannot start: " + store.error().message);
        world_.kill(host);
        ++run_;
        disk_->crash(FakeDisk::Crash::kProcess);
        return false;
    }
    node::Settings settings = options_.settings;
    process_ = std::make_unique<Process>(host, *std::move(store), settings, [this](const protocol::Error& error) {
        fatal_ = error.message;
        world_.after(Duration{0}, [this, run = run_] {
            if (run == run_ && process_) crash(FakeDisk::Crash::kProcess);
        });
    });
    node::Node* node = &process_->node;
    host.accept = [node](ConnectionId, Endpoint) { return node->on_accept(); };
    host.frame = [node](const env::ReceivedFrame& frame) { node->on_frame(frame); };
    if (on_start) on_start(*this);
    node->start();
    return true;
}

void Machine::crash(FakeDisk::Crash kind) {
    LS_ASSERT(process_);
    if (on_end) on_end(*this);
    ++run_;
    clock = process_->host.clock;
    world_.kill(process_->host);
    disk_->crash(kind);
    process_.reset();
}

void Machine::leave() {
    process_->node.leave([this] {
        world_.after(Duration{0}, [this, run = run_] {
            if (run == run_ && process_) crash(FakeDisk::Crash::kProcess);
        });
    });
}

void Machine::pause(Duration time, Clock clock_behaviour) {
    world_.pause(process_->host, time);
    if (clock_behaviour == Clock::kStops) process_->host.clock.behind += time;
}

void Machine::restore_disk(const FakeDisk::Image& image) {
    replace_disk();
    disk_->restore(image);
}

void Machine::replace_disk() {
    LS_ASSERT(!process_);
    attach_disk();
}

void Machine::copy_disk_of(const Machine& other) { restore_disk(other.disk_->image()); }

}  // namespace logstream::sim
