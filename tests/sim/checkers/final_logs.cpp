#include "tests/sim/checkers/final_logs.h"

namespace logstream::sim {

namespace {
constexpr Duration kReadLimit = std::chrono::seconds(5);
constexpr int kRepairs = 60;  // reading finds damage that nobody had read before; then it has to be repaired
constexpr Duration kRepairTime = std::chrono::milliseconds(500);
}  // namespace

std::optional<FinalLogs::Log> FinalLogs::read_stream(Machine& machine, StreamId id) {
    Log out;
    node::Stream* stream = machine.node().core().streams.find(id);
    if (stream == nullptr) return out;
    const Offset end = stream->high_watermark;
    Offset next;
    int repairs = 0;
    while (next < end) {
        // What retention removed is what was committed there.
        for (; next < stream->log->log_start(); ++next)
            if (const TrueRecord* record = truth_.find({machine.node().core().record.cluster, id}, next))
                out[next] = *record;
        if (next >= end) break;
        std::optional<protocol::Result<storage::Batches>> answer;
        stream->log->read(next, end, 4u << 20, [&](protocol::Result<storage::Batches> r) { answer = std::move(r); });
        const bool answered = world_.run_until([&] { return answer.has_value(); }, kReadLimit);
        if (answered && !*answer && next < stream->log->log_start()) continue;
        if (answered && !*answer && repairs++ < kRepairs) {
            world_.run_for(kRepairTime);
            if (!machine.running()) return std::nullopt;
            stream = machine.node().core().streams.find(id);
            if (stream == nullptr) return out;
            continue;
        }
        if (!answered || !*answer || (*answer)->empty()) {
            violations_.report("P8", "{} cannot read {} at offset {} in the end: {}", machine.name(),
                               protocol::to_string(id), next,
                               answer && !*answer ? answer->error().message : "no answer");
            return std::nullopt;
        }
        for (const Bytes& bytes : **answer) {
            auto batch = protocol::BatchView::parse(bytes);
            LS_ASSERT(batch.has_value());
            if (!batch->crc_ok())
                violations_.report("P8", "in the end {} serves a damaged batch of {} at {}", machine.name(),
                                   protocol::to_string(id), batch->base_offset());
            Truth::decode(*batch, [&](Offset offset, const TrueRecord& record) {
                if (offset < end) out[offset] = record;
            });
            next = batch->next_offset();
        }
    }
    return out;
}

void FinalLogs::read(const std::vector<std::unique_ptr<Machine>>& machines) {
    std::set<StreamId> streams;
    for (const auto& machine : machines)
        for (const auto& [id, stream] : machine->node().core().streams.all())
            if (!protocol::is_internal(id)) streams.insert(id);
    for (StreamId id : streams) {
        for (const auto& machine : machines) {
            const ClusterId cluster = machine->node().core().record.cluster;
            auto log = read_stream(*machine, id);
            if (!log) continue;
            const node::Stream* stream = machine->node().core().streams.find(id);
            add(machine->name(), {cluster, id}, *std::move(log),
                stream != nullptr ? stream->log->log_start() : Offset{});
        }
        check_once(id);
    }
}

void ReplicaLogs::add(const std::string& replica, const LogKey& stream, Log log, Offset start) {
    const auto& [cluster, id] = stream;
    for (const auto& [offset, record] : log)
        if (!truth_.agree(stream, offset, record))
            violations_.report("P2", "in the end {} has {} at offset {} of {}, where {} was committed", replica,
                               to_text(record.id), offset, protocol::to_string(id),
                               to_text(truth_.find(stream, offset)->id));
    if (logs_[id].size() < log.size()) logs_[id] = std::move(log);
    starts_[id] = std::max(starts_[id], start);
}

void ReplicaLogs::check_once(StreamId id) {
    std::map<RecordId, Offset> places;
    for (const auto& [offset, record] : logs_[id]) {
        if (record.orphan) ++orphans_;
        if (record.id == 0) continue;
        const auto [place, fresh] = places.try_emplace(record.id, offset);
        if (fresh && standing_.insert(record.id).second) continue;
        const TrueRecord& first = logs_[id].at(place->second);
        violations_.report("P6", "{} stands twice in {}: at {} (view {}{}) and at {} (view {}{})", to_text(record.id),
                           protocol::to_string(id), place->second, first.view, first.orphan ? ", an orphan" : "",
                           offset, record.view, record.orphan ? ", an orphan" : "");
    }
}

// Nothing stands in a log but what was sent, as it was sent.
void ReplicaLogs::check_contents(const History& history, StreamId stream, const Log& log) const {
    for (const auto& [offset, record] : log) {
        if (record.id == 0) continue;
        const Sent* sent = history.find(record.id);
        if (sent == nullptr)
            violations_.report("P1", "{}, which nobody sent, stands at offset {} of {}", to_text(record.id), offset,
                               protocol::to_string(stream));
        else if (sent->crc && *sent->crc != record.crc)
            violations_.report("P1", "{} stands at offset {} of {} with another value than was sent",
                               to_text(record.id), offset, protocol::to_string(stream));
    }
}

// What is not an orphan keeps its producer's order. Under `owner` and `none` a batch behind one that was refused is
// taken, so there the order is not promised.
void ReplicaLogs::check_order(const History& history, StreamId stream, const Log& log) const {
    std::map<std::pair<std::uint32_t, std::uint32_t>, RecordId> last;
    for (const auto& [offset, record] : log) {
        const Sent* sent = history.find(record.id);
        if (sent == nullptr || record.orphan) continue;
        const proto::Acks acks = sent->acks;
        if (acks != proto::QUORUM && acks != proto::ALL) continue;
        RecordId& before = last[{producer_of(record.id), sent->instance}];
        if (record.id < before)
            violations_.report("P7", "{} stands behind {} at offset {} of {}", to_text(record.id), to_text(before),
                               offset, protocol::to_string(stream));
        before = std::max(before, record.id);
    }
}

void ReplicaLogs::check(const History& history, ClusterId cluster) const {
    for (const auto& [id, log] : logs_) {
        check_contents(history, id, log);
        check_order(history, id, log);
    }
    for (const std::vector<Sent>& producer : history.by_producer()) {
        for (const Sent& sent : producer) {
            if (sent.outcome == Outcome::kFailed && standing_.contains(sent.id))
                violations_.report("definite errors", "{} was refused for certain (error {}) and stands in the log",
                                   to_text(sent.id), static_cast<int>(sent.error));
            if (sent.outcome != Outcome::kAcknowledged || sent.cluster != cluster) continue;
            if (sent.acks != proto::QUORUM && sent.acks != proto::ALL) continue;
            // Removed by retention before anybody was seen to read it.
            if (const auto start = starts_.find(sent.stream); start != starts_.end() &&
                                                              (sent.offset.value >= 0 || sent.vouched_for) &&
                                                              start->second > Offset{} && sent.offset < start->second)
                continue;
            if (!standing_.contains(sent.id)) {
                violations_.report("P1", "{}, acknowledged at offset {} of {}, is lost", to_text(sent.id), sent.offset,
                                   protocol::to_string(sent.stream));
                continue;
            }
            const auto log = logs_.find(sent.stream);
            if (sent.offset.value < 0 || log == logs_.end()) continue;
            const auto at = log->second.find(sent.offset);
            if (at == log->second.end() || at->second.id != sent.id)
                violations_.report("P1", "{} was acknowledged at offset {} of {}, where it does not stand",
                                   to_text(sent.id), sent.offset, protocol::to_string(sent.stream));
        }
    }
}

}  // namespace logstream::sim
