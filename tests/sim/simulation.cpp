#include "tests/sim/simulation.h"

#include <algorithm>

#include "internal/storage/orphan_file.h"

namespace logstream::sim {

using namespace std::chrono_literals;
using protocol::MessageType;

namespace {
constexpr Duration kSetUpLimit = 20s;
constexpr Duration kHealLimit = 10s;    // one view of all, and writes succeed
constexpr Duration kSettleLimit = 20s;  // all replicas have everything, orphans are back
constexpr Duration kReadLimit = 20s;    // the groups have got everything
constexpr Duration kTick = 100ms;
constexpr Duration kSlice = 50ms;
}  // namespace

Simulation::Simulation(const Options& options, Transcript::Detail detail, Transcript::Sink sink)
    : options_(options),
      family_(options.seed % 4 == 0 ? AddressFamily::kIpv6 : AddressFamily::kIpv4),
      world_(options.seed),
      swarm_(options, world_.chance_of()),
      transcript_(world_, detail, std::move(sink)),
      violations_(now_),
      committed_(violations_),
      views_(violations_),
      union_(violations_),
      acknowledgements_(violations_, world_, machines_, committed_.truth(), views_),
      bounds_(violations_),
      groups_(violations_, now_),
      readers_(violations_, world_, machines_),
      retention_(violations_, world_, machines_),
      final_(violations_, world_, committed_.truth()),
      nemesis_({world_, transcript_, machines_, swarm_, views_}) {
    protocol::planted_bug = options_.planted;
    world_.faults = swarm_.network;
    world_.on_event = [this](Host& host) {
        now_ = world_.now();
        if (host.index < machines_.size() && machines_[host.index]->running()) views_.look(*machines_[host.index]);
    };
    world_.on_send = [this](Host& from, Endpoint to, const protocol::OutMessage& message) {
        on_send(from, to, message);
    };
    views_.on_promise = [this](Machine& machine, ViewNumber number) { union_.on_promise(machine, number); };
    views_.on_first_served = [this](const ViewChecker::ViewKey& key, const view::View& view) {
        union_.on_first_served(key.first, view);
        ++counts_["view changes"];
    };
    nemesis_.on_disk_lost = [this](Machine& machine, NodeId node) {
        acknowledgements_.on_disk_lost(machine);
        union_.on_disk_lost(node);
    };
    nemesis_.on_image_restored = [this](NodeId node) { views_.on_image_restored(node); };
    nemesis_.kill_client = [this] {
        const std::size_t chosen = world_.chance_of().below(producers_.size() + consumers_.size());
        if (chosen < producers_.size())
            producers_[chosen]->die();
        else
            consumers_[chosen - producers_.size()]->die();
    };
    nemesis_.send_poison = [this] {
        world_.chance_of().pick(producers_)->send_poison([this] {
            violations_.report("poison", "a batch whose records cannot be decoded was acknowledged");
        });
    };
    const node::Settings& settings = swarm_.machine.settings;
    const bool retention = settings.retention_bytes > 0 || settings.retention_ms > 0;
    committed_.expect_retention(retention);
    groups_.expect_retention(retention);
    if (settings.retention_ms > 0) retention_.expect(std::chrono::milliseconds(settings.retention_ms));
    make_machines();
}

Simulation::~Simulation() = default;

void Simulation::make_machines() {
    for (std::size_t i = 0; i < swarm_.nodes; ++i) {
        const Endpoint address = address_of(family_, 0x0a000001 + static_cast<std::uint32_t>(i), 8001);
        MachineOptions options = swarm_.machine;
        options.settings.name = "n" + std::to_string(i);
        options.settings.address = address;
        options.settings.machine = "machine-" + std::to_string(i);
        machines_.push_back(
            std::make_unique<Machine>(world_, transcript_, address, i, options_.seed * 31 + i, options));
        machines_.back()->on_start = [this](Machine& machine) { watch_machine(machine); };
        machines_.back()->on_end = [this](Machine& machine) {
            nemesis_.on_end(machine);
            acknowledgements_.on_end(machine);
            count_ended(machine);
        };
    }
}

void Simulation::watch_machine(Machine& machine) {
    views_.on_start(machine);
    committed_.attach(machine);
}

void Simulation::make_clients() {
    const auto report = [this](const Sent& sent) {
        committed_.on_report(sent);
        acknowledgements_.on_report(sent);
    };
    std::uint32_t place = 0;
    for (const ProducerPlan& plan : swarm_.producers) {
        const Endpoint address = address_of(family_, 0x0a010001 + place++, 40000);
        producers_.push_back(std::make_unique<ProducerClient>(
            world_, transcript_, address, static_cast<std::uint32_t>(producers_.size()), plan, history_, report));
    }
    for (const ConsumerPlan& plan : swarm_.consumers) {
        const Endpoint address = address_of(family_, 0x0a010001 + place++, 40000);
        const std::string name = "c" + std::to_string(consumers_.size());
        consumers_.push_back(std::make_unique<ConsumerClient>(
            world_, transcript_, address, name, plan,
            [this, address] {
                now_ = world_.now();
                groups_.on_begin(address);
            },
            [this, name, address, plan](const ConsumerClient::Delivery& delivery) {
                ++counts_["records consumed"];
                committed_.on_delivery(name, delivery, plan.group);
                now_ = world_.now();
                if (plan.group) groups_.on_delivery(group_name(plan.topic), address, delivery);
            }));
    }
}

void Simulation::on_send(Host& from, Endpoint to, const protocol::OutMessage& message) {
    if (from.index >= machines_.size() || !machines_[from.index]->running()) return;
    Machine& machine = *machines_[from.index];
    const bool response = (message.flags & protocol::kResponse) != 0;
    switch (message.type) {
        case MessageType::kStateExchange:
            nemesis_.on_view_change(machine);
            if (proto::StateExchangeResponse answer;
                response && answer.ParseFromString(message.header) && answer.error().code() == 0)
                views_.on_granted(machine, ViewNumber{answer.number()}, to);
            break;
        case MessageType::kElection:
            ++counts_["elections"];
            break;
        case MessageType::kLearn:
            if (!response) ++counts_["catch-ups"];
            break;
        case MessageType::kViewChosen:
            nemesis_.on_view_change(machine);
            break;
        case MessageType::kViewInstall:
            nemesis_.on_view_change(machine);
            // Not all of those who give their logs hold all of the base log.
            if (proto::ViewInstall install; !response && install.ParseFromString(message.header))
                if (std::ranges::any_of(install.streams(), [&](const proto::StreamBase& base) {
                        return base.sources_size() < install.holders_size();
                    }))
                    ++counts_["merges"];
            break;
        case MessageType::kSubscribe:
            if (proto::SubscribeResponse answer;
                response && answer.ParseFromString(message.header) && answer.error().code() == 0)
                groups_.on_heard(to);
            break;
        case MessageType::kReplicateAck:
        case MessageType::kProduce:
            acknowledgements_.on_send(machine, message);
            break;
        default:
            break;
    }
}

void Simulation::tick() {
    ++ticks_;
    nemesis_.supervise();
    acknowledgements_.on_tick();
    readers_.on_tick(consumers_, swarm_.partitions);
    retention_.on_tick();
    if (ticks_ % 10 == 0)
        for (const auto& machine : machines_)
            if (machine->running()) bounds_.on_second(*machine);
    world_.after(kTick, [this] { tick(); });
}

bool Simulation::run_until(const std::function<bool()>& done, Duration limit) {
    const TimePoint end = world_.now() + limit;
    while (!done()) {
        if (world_.now() >= end || !violations_.none()) return false;
        world_.run_for(std::min<Duration>(kSlice, end - world_.now()));
        now_ = world_.now();
    }
    return violations_.none();
}

bool Simulation::one_view() {
    std::optional<ViewNumber> number;
    for (const auto& machine : machines_) {
        if (!machine->running() || !machine->node().settled()) return false;
        const view::View& view = *machine->node().current_view();
        if (number.value_or(view.number) != view.number || view.members.size() != machines_.size()) return false;
        number = view.number;
    }
    return true;
}

bool Simulation::set_up() {
    for (const auto& machine : machines_)
        world_.after(world_.chance_of().between(Duration{0}, 800ms), [&m = *machine] {
            if (!m.running()) LS_ASSERT(m.start());
        });
    if (!run_until([this] { return one_view(); }, kSetUpLimit)) {
        if (violations_.none())
            violations_.report("progress", "no view of all {} members at the start", machines_.size());
        return false;
    }
    cluster_ = machines_.front()->node().core().record.cluster;
    make_clients();
    const auto all_write = [this] {
        return std::ranges::all_of(producers_, [](const auto& producer) { return producer->ready(); }) &&
               producers_.front()->acknowledged() > 0;
    };
    world_.after(kTick, [this] { tick(); });
    if (!run_until(all_write, kSetUpLimit)) {
        if (violations_.none()) violations_.report("progress", "the producers cannot write at the start");
        return false;
    }
    return true;
}

void Simulation::fault_phase() {
    std::vector<Endpoint> clients;
    for (const auto& producer : producers_) clients.push_back(producer->address());
    for (const auto& consumer : consumers_) clients.push_back(consumer->address());
    const Duration time = std::max<Duration>(options_.time - kHealLimit, options_.time / 2);
    nemesis_.begin(cluster_, std::move(clients), time);
    run_until([] { return false; }, time);
}

void Simulation::heal_phase() {
    transcript_.say("simulator", "everything heals");
    nemesis_.heal();
    // A new producer, so that nothing of what the others have been through matters.
    const Endpoint address = address_of(family_, 0x0a020001, 40000);
    nemesis_.add_client(address);
    ProducerPlan plan;
    plan.timeout = 120s;
    plan.batch_bytes = 16 << 10;
    plan.pause = 50ms;
    plan.record_bytes = 100;
    producers_.push_back(std::make_unique<ProducerClient>(world_, transcript_, address,
                                                          static_cast<std::uint32_t>(producers_.size()), plan, history_,
                                                          [this](const Sent& sent) { committed_.on_report(sent); }));
    const bool healed = run_until([this] { return one_view() && producers_.back()->acknowledged() > 0; }, kHealLimit);
    if (!violations_.none()) return;
    if (!healed) {
        std::string states;
        for (const auto& machine : machines_) {
            const auto refusal = machine->running() ? machine->node().refusal() : std::nullopt;
            states += fmt::format(
                " {}{}: {};", machine->name(), machine->running() && machine->host().paused() ? " (paused)" : "",
                !machine->running() ? "down (" + machine->fatal() + ")"
                : refusal           ? refusal->message
                                    : fmt::format("serves view {} of {}", machine->node().current_view()->number,
                                                  machine->node().current_view()->members.size()));
        }
        return violations_.report("progress", "10 s after everything healed there is not one view that takes writes:{}",
                                  states);
    }
    for (const auto& producer : producers_) producer->stop();
    if (!run_until([this] { return settled(); }, kSettleLimit) && violations_.none())
        return violations_.report("progress", "20 s after one view was there: {}", what_is_unsettled());
    const auto all_read = [this] { return groups_.what_is_missing(committed_.truth()).empty(); };
    if (!run_until(all_read, kReadLimit) && violations_.none())
        return violations_.report("group whole", "20 s after all was committed: {}",
                                  groups_.what_is_missing(committed_.truth()));
    // What they committed is everywhere, too.
    if (!run_until([this] { return settled(); }, kSettleLimit) && violations_.none())
        return violations_.report("progress", "20 s after all was read: {}", what_is_unsettled());
    if (!violations_.none()) return;
    final_.read(machines_);
    check_retransmission();
    final_.check(history_, cluster_);
    committed_.at_end();
    const auto is_taken_over = [this](RecordId id) {
        const Sent* sent = history_.find(id);
        return sent != nullptr && sent->taken_over && sent->outcome != Outcome::kAcknowledged;
    };
    union_.at_end(cluster_, final_.standing(), final_.starts(), is_taken_over);
}

// What is asked for again is sent again. One run in which many ask and nobody answers cannot be chance.
void Simulation::check_retransmission() {
    constexpr std::uint64_t kMany = 20;
    for (const auto& machine : machines_) count_ended(*machine);
    if (counts_["nacks received"] >= kMany && counts_["retransmits"] == 0)
        violations_.report("retransmission", "{} NACKs arrived and no frame was sent again", counts_["nacks received"]);
}

bool Simulation::settled() { return what_is_unsettled().empty(); }

std::string Simulation::what_is_unsettled() {
    if (!one_view()) return "not one view";
    for (const auto& producer : producers_)
        if (!producer->idle()) return "a producer waits";
    std::map<StreamId, Offset> ends;
    for (const auto& machine : machines_) {
        node::Core& core = machine->node().core();
        if (!core.store.orphans().streams().empty()) return machine->name() + " has orphans";
        if (core.store.damaged()) return machine->name() + " has damage that is not repaired";
        for (const auto& [id, stream] : core.streams.all()) {
            if (stream.high_watermark != stream.log->log_end())
                return fmt::format("{} of {} is committed to {} of {}", protocol::to_string(id), machine->name(),
                                   stream.high_watermark, stream.log->log_end());
            const Offset end = ends.try_emplace(id, stream.log->log_end()).first->second;
            if (end != stream.log->log_end())
                return fmt::format("{} ends at {} at {}, elsewhere at {}", protocol::to_string(id),
                                   stream.log->log_end(), machine->name(), end);
        }
    }
    return {};
}

void Simulation::count_ended(Machine& machine) {
    const node::Replicator::Counters& now = machine.node().replicator().counters();
    auto& [run, before] = counted_[machine.index()];
    if (run != machine.run()) before = {};
    run = machine.run();
    counts_["retransmits"] += now.frames_resent - before.frames_resent;
    counts_["nacks"] += now.nacks_sent - before.nacks_sent;
    counts_["nacks received"] += now.nacks_received - before.nacks_received;
    before = now;
    counts_["disk faults met"] += std::exchange(machine.faults.injected, 0);
}

void Simulation::collect(Report& report) {
    for (const auto& machine : machines_)
        if (machine->running()) count_ended(*machine);
    report.counts = counts_;
    report.counts["records acknowledged"] = history_.acknowledged();
    report.counts["holes filled"] = history_.refills();
    report.counts["orphans"] = final_.orphans();
    report.counts["partitions handed over"] = groups_.handed_over();
    report.counts["records removed by age"] = retention_.removed();
    report.counts["records committed"] = committed_.truth().records();
    report.counts["events"] = world_.counts.events;
    for (std::size_t i = 0; i < kFaults; ++i)
        report.counts["fault " + std::string(name_of(static_cast<Fault>(i)))] = nemesis_.counts()[i];
    report.violations = violations_.list();
    report.fingerprint = world_.fingerprint();
    report.virtual_seconds = std::chrono::duration<double>(world_.now().time_since_epoch()).count();
}

Report Simulation::run() {
    Report report;
    report.seed = options_.seed;
    transcript_.say("simulator", swarm_.describe());
    if (set_up()) fault_phase();
    if (violations_.none()) heal_phase();
    for (const Violation& violation : violations_.list())
        transcript_.say("simulator", "BROKEN " + violation.promise + ": " + violation.text);
    collect(report);
    return report;
}

}  // namespace logstream::sim
