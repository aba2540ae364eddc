#include "tests/sim/cluster.h"

#include <algorithm>

namespace logstream::sim {

using protocol::MessageType;
using protocol::Offset;
using protocol::StreamId;

Cluster::Cluster(std::uint64_t seed, std::size_t machines, Transcript::Detail detail, Transcript::Sink sink)
    : world_(seed), transcript_(world_, detail, std::move(sink)) {
    for (std::size_t i = 0; i < machines; ++i) {
        const Endpoint address{0x0a000001 + static_cast<std::uint32_t>(i), 8001};
        MachineOptions options;
        options.settings.name = "n" + std::to_string(i);
        options.settings.address = address;
        options.settings.machine = "machine-" + std::to_string(i);
        options.settings.topic_defaults.set_partitions(1);
        machines_.push_back(std::make_unique<Machine>(world_, transcript_, address, i, seed * 31 + i, options));
        looked_at_.insert(i);
    }
    if (transcript_.on())
        world_.on_send = [this](Host& from, Endpoint to, const protocol::OutMessage& message) {
            say_message(from, to, message);
        };
}

namespace {

template <class Answer>
bool is_refusal(const protocol::OutMessage& message) {
    Answer answer;
    return answer.ParseFromString(message.header) && answer.error().code() != 0;
}

}  // namespace

void Cluster::say_message(Host& from, Endpoint to, const protocol::OutMessage& message) {
    const auto receiver = std::ranges::find(machines_, to, &Machine::address);
    if (from.index >= machines_.size() || receiver == machines_.end()) return;
    bool refusal = false;
    switch (message.type) {
        case MessageType::kStateExchange:
            refusal = is_refusal<proto::StateExchangeResponse>(message);
            break;
        case MessageType::kViewInstall:
            refusal = is_refusal<proto::ViewInstallAck>(message);
            break;
        case MessageType::kViewChosen:
        case MessageType::kOrphan:
            break;
        default:
            return;
    }
    const bool answer = (message.flags & protocol::kResponse) != 0;
    transcript_.say(machines_[from.index]->name(), fmt::format("{} {} to={}", protocol::to_string(message.type),
                                                               !answer   ? "request"
                                                               : refusal ? "refusal"
                                                                         : "answer",
                                                               (*receiver)->name()));
}

void Cluster::start_all() {
    for (auto& machine : machines_)
        if (!machine->running()) LS_ASSERT(machine->start());
}

std::vector<Machine*> Cluster::running() {
    std::vector<Machine*> out;
    for (std::size_t i : looked_at_)
        if (machines_[i]->running()) out.push_back(machines_[i].get());
    return out;
}

bool Cluster::one_view() {
    const std::vector<Machine*> all = running();
    return !all.empty() && std::ranges::all_of(all, [&](Machine* machine) {
        if (!machine->node().serving() || !all.front()->node().serving()) return false;
        const view::View& view = *machine->node().current_view();
        return view.number == all.front()->node().current_view()->number && view.members.size() == all.size();
    });
}

Machine* Cluster::leader() {
    for (Machine* machine : running())
        if (machine->node().is_leader()) return machine;
    return nullptr;
}

void Cluster::cut(std::size_t a, std::size_t b) {
    world_.cut(machines_[a]->address(), machines_[b]->address());
    world_.cut(machines_[b]->address(), machines_[a]->address());
}

void Cluster::isolate(std::size_t i) {
    for (std::size_t other = 0; other < machines_.size(); ++other)
        if (other != i) cut(i, other);
}

// A view change may come in between: asked again until it is so.
void Cluster::ask_leader_until(const std::function<bool()>& done, const std::function<void(node::Node&)>& ask) {
    for (int attempt = 0; attempt < 50 && !done(); ++attempt) {
        if (Machine* at = leader()) ask(at->node());
        world_.run_until(done, std::chrono::milliseconds(200));
    }
}

StreamId Cluster::make_topic(const std::string& name) {
    const auto known_everywhere = [&] {
        return std::ranges::all_of(running(),
                                   [&](Machine* machine) { return machine->node().topics().find(name) != nullptr; });
    };
    ask_leader_until(known_everywhere, [&](node::Node& leader) {
        leader.create_topic(name, leader.core().settings.topic_defaults, [](const protocol::Result<void>&) {});
    });
    LS_ASSERT(wait_for_one_view() && known_everywhere());
    return {protocol::TopicId{leader()->node().topics().find(name)->topic()}, 0};
}

void Cluster::delete_topic(const std::string& name) {
    const auto forgotten = [&] {
        return std::ranges::all_of(running(),
                                   [&](Machine* machine) { return machine->node().topics().find(name) == nullptr; });
    };
    ask_leader_until(forgotten,
                     [&](node::Node& leader) { leader.delete_topic(name, {}, [](const protocol::Result<void>&) {}); });
    LS_ASSERT(forgotten());
}

Machine* Cluster::owner(StreamId stream) {
    // One that was cut off may still take itself for the owner in an older view.
    Machine* newest = nullptr;
    for (Machine* machine : running()) {
        if (!machine->node().serving()) continue;
        const view::Member* owner = machine->node().owner_of(stream);
        if (owner == nullptr || owner->id != machine->node().id()) continue;
        if (newest == nullptr || machine->node().current_view()->number > newest->node().current_view()->number)
            newest = machine;
    }
    return newest;
}

protocol::Result<Offset> Cluster::append(StreamId stream, const std::string& value, Duration limit) {
    auto done = std::make_shared<std::optional<protocol::Result<Offset>>>();
    Machine* at = owner(stream);
    if (at == nullptr) return protocol::fail(protocol::ErrorCode::kNoQuorum, "nobody owns the stream");
    if (const auto refused = at->node().refusal()) return std::unexpected(*refused);
    protocol::BatchBuilder builder({});
    builder.add(0, std::nullopt, std::string_view(value));
    auto log = at->node().core().streams.open(stream);
    LS_ASSERT(log.has_value());
    at->node().replicator().produce(**log, *builder.finish(), proto::QUORUM,
                                    [done](protocol::Result<Offset> r) { *done = r; });
    if (!world_.run_until([&] { return done->has_value(); }, limit))
        return protocol::fail(protocol::ErrorCode::kTimeout, "not acknowledged in time");
    if (**done) acknowledged_[(**done)->value] = value;
    return **done;
}

protocol::Result<Offset> Cluster::append_soon(StreamId stream, const std::string& value) {
    auto result = append(stream, value);
    for (int attempt = 1; attempt < 50 && !result; ++attempt) {
        world_.run_for(std::chrono::milliseconds(100));
        result = append(stream, value);
    }
    return result;
}

std::map<std::int64_t, std::string> Cluster::read(std::size_t machine, StreamId stream) {
    std::map<std::int64_t, std::string> out;
    node::Stream* log = machines_[machine]->node().core().streams.find(stream);
    if (log == nullptr) return out;
    Offset next = log->log->log_start();
    while (next < log->high_watermark) {
        std::optional<protocol::Result<storage::Batches>> read;
        log->log->read(next, log->high_watermark, 1u << 20,
                       [&](protocol::Result<storage::Batches> r) { read = std::move(r); });
        LS_ASSERT(world_.run_until([&] { return read.has_value(); }, std::chrono::seconds(5)) && read->has_value());
        for (const Bytes& bytes : **read) {
            auto batch = protocol::BatchView::parse(bytes);
            auto each = batch->for_each(1u << 20, [&](const protocol::Record& record) {
                out[record.offset.value] = std::string(record.value.value_or(""));
                return true;
            });
            LS_ASSERT(each.has_value());
            next = batch->next_offset();
        }
    }
    return out;
}

}  // namespace logstream::sim
