#include "tests/sim/options.h"

#include <algorithm>
#include <array>

#include "internal/client/producer.h"

namespace logstream::sim {

using namespace std::chrono_literals;

namespace {

constexpr std::array<std::string_view, kFaults> kNames = {
    "crash",   "power",    "power-all", "pause",       "suspend",     "clock",      "isolate",
    "split",   "one-way",  "bridge",    "client-cut",  "multicast",   "loss",       "duplicate",
    "reorder", "corrupt",  "delay",     "reset",       "hang",        "stall",      "leave",
    "join",    "foreign",  "slow-disk", "write-error", "flush-error", "read-error", "full-disk",
    "rot",     "truncate", "state",     "image",       "client",      "poison"};

ProducerPlan draw_producer(Random& random, std::uint32_t topics) {
    ProducerPlan out;
    out.topic = static_cast<std::uint32_t>(random.below(topics));
    const std::uint64_t acks = random.below(10);
    out.acks = acks < 6 ? proto::QUORUM : acks < 8 ? proto::ALL : acks < 9 ? proto::OWNER : proto::NONE;
    out.codec = random.chance(0.2) ? protocol::Codec::kLz4 : protocol::Codec::kNone;
    const std::uint64_t timeout = random.below(4);
    out.timeout = timeout == 0 ? 0ms : timeout == 1 ? random.between(500ms, 3s) : 120s;
    out.linger = random.chance(0.5) ? 0ms : random.between(1ms, 20ms);
    out.batch_bytes = static_cast<std::size_t>(random.between(500, 64 << 10));
    out.max_in_flight = static_cast<std::size_t>(random.between(1, 5));
    out.pause = random.between(20ms, 400ms);
    out.burst = static_cast<std::uint32_t>(random.between(1, 6));
    out.record_bytes = static_cast<std::size_t>(random.between(24, 1500));
    out.named = random.chance(0.15) && client::keeps_sequences_whole(out.acks);
    out.resumes = out.named && random.chance(0.5);
    return out;
}

MachineOptions draw_machine(Random& random) {
    MachineOptions out;
    out.store.segment_bytes = static_cast<std::uint64_t>(random.between(4 << 10, 256 << 10));
    out.store.snapshot_bytes = static_cast<std::uint64_t>(random.between(2 << 10, 128 << 10));
    out.store.index_interval_bytes = static_cast<std::uint32_t>(random.between(512, 16 << 10));
    out.store.cache_bytes =
        random.chance(0.7) ? 64u << 20 : static_cast<std::uint64_t>(random.between(8 << 10, 256 << 10));
    out.store.reserve_bytes = 64u << 10;
    const std::uint64_t policy = random.below(10);
    out.store.fsync = policy < 8   ? storage::FsyncPolicy::kGroup
                      : policy < 9 ? storage::FsyncPolicy::kInterval
                                   : storage::FsyncPolicy::kNever;
    out.least_disk_time = random.between(20us, 200us);
    out.most_disk_time = out.least_disk_time + random.between(50us, random.chance(0.2) ? 10ms : 1ms);
    node::Settings& settings = out.settings;
    settings.fsync = policy < 8 ? "group" : policy < 9 ? "interval" : "never";
    settings.loses_unflushed = policy >= 8;
    settings.heartbeat = random.between(50ms, 200ms);
    settings.window_bytes = static_cast<std::size_t>(random.between(16 << 10, 4 << 20));
    settings.slow_member_timeout = random.between(1s, 5s);
    settings.transport = random.chance(0.15) ? node::Transport::kTcp : node::Transport::kAuto;
    settings.min_in_sync = random.chance(0.1) ? 2 : 1;
    if (random.chance(0.15)) settings.retention_bytes = random.between(8 << 10, 256 << 10);
    return out;
}

// Few kinds that strike often together reach where many that strike seldom do not.
const std::vector<std::set<Fault>>& themes() {
    using enum Fault;
    static const std::vector<std::set<Fault>> themes = {
        {kSplit, kIsolate, kPowerAll},                   // stale members vote
        {kSplit, kIsolate, kOneWay, kCrash, kPause},     // changes that end half-way
        {kCrash, kPower, kPowerAll, kSlowDisk},          // what was not flushed
        {kStall, kMulticast, kCrash, kPause},            // messages of an older view
        {kOneWay, kBridge, kReset, kPause, kClientCut},  // everybody sees another cluster
    };
    return themes;
}

}  // namespace

std::string_view name_of(Fault fault) { return kNames[static_cast<std::size_t>(fault)]; }

std::optional<Fault> fault_named(std::string_view name) {
    for (std::size_t i = 0; i < kFaults; ++i)
        if (kNames[i] == name) return static_cast<Fault>(i);
    return std::nullopt;
}

std::set<Fault> all_faults() {
    std::set<Fault> out;
    for (std::size_t i = 0; i < kFaults; ++i) out.insert(static_cast<Fault>(i));
    return out;
}

// Everything is drawn whatever the user asks for, so that a run with fewer faults is otherwise like the whole one.
Swarm::Swarm(const Options& options, Random& random) {
    const std::uint64_t size = random.below(10);
    nodes = size < 1 ? 1 : size < 2 ? 2 : size < 6 ? 3 : size < 7 ? 4 : size < 9 ? 5 : 6 + random.below(2);
    topics = static_cast<std::uint32_t>(random.between(1, 3));
    partitions = static_cast<std::uint32_t>(random.between(1, 3));
    const double each = random.chance(0.2) ? 1.0 : 0.15 + 0.1 * static_cast<double>(random.below(6));
    for (Fault fault : all_faults())
        if (random.chance(each)) faults.insert(fault);
    between_faults = random.between(150ms, 2500ms);
    if (random.chance(0.25)) {
        faults = random.pick(themes());
        between_faults = random.between(100ms, 2s);
    }
    long_cuts = random.chance(0.15) ? 0.5 : 0.03;
    if (random.chance(0.3)) ambush = 0.005 * static_cast<double>(1 + random.below(20));
    network.min_delay = random.between(20us, 100us);
    network.max_delay = network.min_delay + random.between(100us, random.chance(0.2) ? 5ms : 500us);
    machine = draw_machine(random);
    machine.settings.topic_defaults.set_partitions(partitions);
    const std::uint64_t writers = static_cast<std::uint64_t>(random.between(1, 4));
    for (std::uint64_t i = 0; i < writers; ++i) producers.push_back(draw_producer(random, topics));
    producers.front().acks = proto::QUORUM;
    // Streams that rest while views come and go.
    if (random.chance(0.15))
        for (ProducerPlan& producer : producers) producer.pause = random.between(500ms, 3s);
    const std::uint64_t readers = static_cast<std::uint64_t>(random.between(1, 3));
    for (std::uint64_t i = 0; i < readers; ++i)
        consumers.push_back({static_cast<std::uint32_t>(random.below(topics)), random.chance(0.4)});
    // Members that share a group hand partitions over.
    if (const auto member = std::ranges::find_if(consumers, &ConsumerPlan::group);
        member != consumers.end() && random.chance(0.7)) {
        const ConsumerPlan plan = *member;
        consumers.insert(consumers.end(), 1 + random.below(2), plan);
    }
    if (options.nodes) nodes = *options.nodes;
    if (options.faults) faults = *options.faults;
    if (random.chance(0.15)) {
        machine.settings.retention_bytes = -1;
        machine.settings.retention_ms = random.between(30'000, 40'000);
        if (!options.faults) faults.insert({Fault::kClock, Fault::kCrash});
    }
    machine.settings.min_in_sync =
        std::min<std::uint32_t>(machine.settings.min_in_sync, static_cast<std::uint32_t>(nodes));
}

std::string Swarm::describe() const {
    std::string list;
    for (Fault fault : faults) list += (list.empty() ? "" : ",") + std::string(name_of(fault));
    return fmt::format("nodes={} topics={} partitions={} fsync={} transport={} producers={} consumers={} faults={}",
                       nodes, topics, partitions, machine.settings.fsync,
                       machine.settings.transport == node::Transport::kTcp ? "tcp" : "auto", producers.size(),
                       consumers.size(), list.empty() ? "none" : list);
}

}  // namespace logstream::sim
