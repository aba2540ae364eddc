#include "tests/sim/checkers/acknowledgements.h"

namespace logstream::sim {

namespace {

// The detector's own patience, with the slowest heartbeat and a pause on top.
constexpr Duration kMustRefuseAfter = std::chrono::seconds(17);

bool same_record(const storage::EpochTable& epochs, Offset offset, ViewNumber epoch) {
    const auto view = epochs.view_at(offset);
    return view && *view == epoch;
}

}  // namespace

void AcknowledgementChecker::on_end(Machine& machine) {
    Remembered& remembered = remembered_[machine.index()];
    remembered = {};
    remembered.node = machine.node().id();
    const ClusterId cluster = machine.node().core().record.cluster;
    for (const auto& [id, stream] : machine.node().core().streams.all())
        if (!protocol::is_internal(id))
            remembered.logs[{cluster, id}] = {stream.log->durable_end(), stream.log->epochs()};
}

void AcknowledgementChecker::on_disk_lost(Machine& machine) {
    const NodeId node = machine.running() ? machine.node().id() : remembered_[machine.index()].node;
    disks_lost_.insert(node);
}

bool AcknowledgementChecker::holds(Machine& machine, NodeId node, const LogKey& log, Offset offset,
                                   ViewNumber epoch) const {
    if (machine.running() && machine.node().id() == node) {
        if (machine.node().core().record.cluster != log.first) return false;
        node::Stream* stream = machine.node().core().streams.find(log.second);
        if (stream == nullptr) return false;
        if (offset < stream->log->log_start()) return true;
        return stream->log->durable_end() > offset && same_record(stream->log->epochs(), offset, epoch);
    }
    const auto remembered = remembered_.find(machine.index());
    if (remembered == remembered_.end() || remembered->second.node != node) return false;
    const auto holding = remembered->second.logs.find(log);
    return holding != remembered->second.logs.end() && holding->second.durable > offset &&
           same_record(holding->second.epochs, offset, epoch);
}

void AcknowledgementChecker::on_report(const Sent& sent) {
    if (sent.outcome != Outcome::kAcknowledged || sent.offset.value < 0) return;
    if (sent.acks != proto::QUORUM && sent.acks != proto::ALL) return;
    if (const TrueRecord* record = truth_.find({sent.cluster, sent.stream}, sent.offset))
        check(sent, *record);
    else
        open_.push_back(sent);
}

void AcknowledgementChecker::check(const Sent& sent, const TrueRecord& record) {
    const LogKey log{sent.cluster, sent.stream};
    std::size_t most = 0;
    for (auto at = views_.served().lower_bound({log.first, record.view});
         at != views_.served().end() && at->first.first == log.first; ++at) {
        const view::View& view = at->second;
        std::size_t holders = 0;
        for (const view::Member& member : view.members) {
            bool held = disks_lost_.contains(member.id);
            for (const auto& machine : machines_)
                held = held || holds(*machine, member.id, log, sent.offset, record.view);
            holders += held ? 1 : 0;
        }
        if (2 * holders > view.members.size()) return;
        most = std::max(most, holders);
    }
    violations_.report("P1", "{} is acknowledged at offset {} of {} and durable at {} members, no view's majority",
                       to_text(sent.id), sent.offset, protocol::to_string(sent.stream), most);
}

void AcknowledgementChecker::on_send(Machine& machine, const protocol::OutMessage& message) {
    node::Node& node = machine.node();
    const ViewNumber promised = node.core().record.promised;
    const auto parse = [&message](auto& out) { return out.ParseFromString(message.header); };
    if (message.type == protocol::MessageType::kReplicateAck) {
        proto::ReplicateAck ack;
        if (!machine.host().greeting() && parse(ack) && ack.cluster_id() == node.core().record.cluster.value &&
            promised.value > ack.view())
            violations_.report("P4", "{} acknowledges in view {} after it promised {}", machine.name(), ack.view(),
                               promised);
    } else if (message.type == protocol::MessageType::kProduce && (message.flags & protocol::kResponse) != 0) {
        proto::ProduceResponse response;
        if (!parse(response) || response.error().code() != 0) return;
        const auto& view = node.current_view();
        if (!view || promised > view->number)
            violations_.report("P4", "{} answers a producer in view {} after it promised {}", machine.name(),
                               view ? view->number : ViewNumber{}, promised);
        else if (const auto& installed = node.participant().installed();
                 !installed || installed->number != view->number)
            violations_.report("restarted owner", "{} answers a producer in view {}, which this run did not install",
                               machine.name(), view->number);
    }
}

// An owner that the network keeps from the majority of its view must not take writes for longer than it takes to
// notice.
void AcknowledgementChecker::on_tick() {
    std::erase_if(open_, [this](const Sent& sent) {
        const TrueRecord* record = truth_.find({sent.cluster, sent.stream}, sent.offset);
        if (record != nullptr) check(sent, *record);
        return record != nullptr;
    });
    for (const auto& machine : machines_) {
        const auto forget = [&] { alone_since_.erase(machine->index()); };
        if (!machine->running() || machine->host().paused() || !machine->node().current_view()) {
            forget();
            continue;
        }
        const view::View& view = *machine->node().current_view();
        std::size_t reached = 0;
        for (const view::Member& member : view.members) {
            const Endpoint address{member.ip, member.port};
            bool lives = address == machine->address();
            for (const auto& other : machines_)
                lives = lives || (other->address() == address && other->running() &&
                                  world_.passes(address, machine->address()) &&
                                  other->node().core().self.incarnation == member.incarnation);
            reached += lives ? 1 : 0;
        }
        if (2 * reached > view.members.size() || machine->node().refusal()) {
            forget();
            continue;
        }
        const TimePoint since = alone_since_.try_emplace(machine->index(), world_.now()).first->second;
        if (world_.now() - since > kMustRefuseAfter) {
            violations_.report("P4", "{} takes writes in view {} and has heard no majority for {} s", machine->name(),
                               view.number, kMustRefuseAfter.count() / 1'000'000'000);
            forget();
        }
    }
}

}  // namespace logstream::sim
