#include "tests/sim/checkers/committed.h"

#include <algorithm>

namespace logstream::sim {

namespace {
constexpr std::size_t kReadBytes = 4u << 20;
}

void CommittedChecker::attach(Machine& machine) {
    for (auto at = high_watermarks_.lower_bound({machine.index(), StreamId{}});
         at != high_watermarks_.end() && at->first.first == machine.index();)
        at = high_watermarks_.erase(at);
    machine.node().core().streams.on_advanced([this, &machine](node::Stream& stream) { advanced(machine, stream); });
}

void CommittedChecker::advanced(Machine& machine, node::Stream& stream) {
    Offset& known = high_watermarks_.try_emplace({machine.index(), stream.id}, stream.log->log_start()).first->second;
    if (stream.high_watermark < known) {
        violations_.report("P2", "the high watermark of {} at {} fell from {} to {}", protocol::to_string(stream.id),
                           machine.name(), known, stream.high_watermark);
        known = stream.high_watermark;
        return;
    }
    const Offset from = std::max(known, stream.log->log_start());
    const Offset to = stream.high_watermark;
    known = to;
    if (to > stream.log->log_end())
        violations_.report("P2", "the high watermark of {} at {} is {}, beyond the log's end {}",
                           protocol::to_string(stream.id), machine.name(), to, stream.log->log_end());
    Offset next = from;
    while (next < to) {
        const auto cached = stream.log->read_cached(next, to, kReadBytes);
        if (!cached || cached->empty()) break;
        compare(machine, stream.id, *cached, next, to);
        next = protocol::BatchView::parse(cached->back())->next_offset();
    }
    const LogKey log{machine.node().core().record.cluster, stream.id};
    if (next < to && !truth_.covers(log, next, to) && !protocol::is_internal(stream.id))
        read_from_disk(machine, stream.id, next, to);
}

// What is not in memory: after a restart the first view change commits the whole base log at once.
void CommittedChecker::read_from_disk(Machine& machine, StreamId id, Offset from, Offset to) {
    node::Stream* stream = machine.node().core().streams.find(id);
    if (stream == nullptr || from >= to) return;
    const LogKey log{machine.node().core().record.cluster, id};
    unread_[log].emplace_back(from, to);
    stream->log->read(
        from, to, kReadBytes,
        [this, &machine, id, log, from, to, run = machine.run()](protocol::Result<storage::Batches> batches) {
            if (run != machine.run() || !batches || batches->empty()) return;
            std::erase(unread_[log], std::pair(from, to));
            compare(machine, id, *batches, from, to);
            read_from_disk(machine, id, protocol::BatchView::parse(batches->back())->next_offset(), to);
        });
}

void CommittedChecker::compare(Machine& machine, StreamId stream, const storage::Batches& batches, Offset from,
                               Offset to) {
    const LogKey log{machine.node().core().record.cluster, stream};
    for (const Bytes& bytes : batches) {
        auto batch = protocol::BatchView::parse(bytes);
        LS_ASSERT(batch.has_value());
        if (!batch->crc_ok())
            violations_.report("P8", "{} serves a damaged batch of {} at {}", machine.name(),
                               protocol::to_string(stream), batch->base_offset());
        Truth::decode(*batch, [&](Offset offset, const TrueRecord& record) {
            if (offset < from || offset >= to) return;
            ++records_read_;
            if (truth_.agree(log, offset, record)) return;
            const TrueRecord* first = truth_.find(log, offset);
            violations_.report("P2",
                               "{} has {} (view {}) committed at offset {} of {}, where {} (view {}) was committed",
                               machine.name(), to_text(record.id), record.view, offset, protocol::to_string(stream),
                               to_text(first->id), first->view);
        });
    }
}

bool CommittedChecker::is_unread(const LogKey& log, Offset offset) const {
    const auto ranges = unread_.find(log);
    return ranges != unread_.end() && std::ranges::any_of(ranges->second, [offset](const auto& range) {
               return range.first <= offset && offset < range.second;
           });
}

void CommittedChecker::compare_delivery(const std::string& reader, const ConsumerClient::Delivery& delivery) {
    const TrueRecord* record = truth_.find({delivery.cluster, delivery.stream}, delivery.offset);
    if (record == nullptr && is_unread({delivery.cluster, delivery.stream}, delivery.offset)) return;
    if (record == nullptr)
        return violations_.report("P2", "{} got {} at offset {} of {}, which nobody has committed", reader,
                                  to_text(delivery.id), delivery.offset, protocol::to_string(delivery.stream));
    if (record->id != delivery.id || record->crc != delivery.crc)
        violations_.report("P2", "{} got {} at offset {} of {}, where {} is committed", reader, to_text(delivery.id),
                           delivery.offset, protocol::to_string(delivery.stream), to_text(record->id));
}

void CommittedChecker::on_delivery(const std::string& reader, const ConsumerClient::Delivery& delivery, bool group) {
    const LogKey log{delivery.cluster, delivery.stream};
    if (truth_.find(log, delivery.offset) == nullptr)
        open_deliveries_.emplace_back(reader, delivery);
    else
        compare_delivery(reader, delivery);
    if (delivery.previous.value < 0) return;
    if (delivery.offset <= delivery.previous)
        violations_.report("P2", "{} got offset {} of {} after {}", reader, delivery.offset,
                           protocol::to_string(delivery.stream), delivery.previous);
    if (group || retention_) return;
    for (Offset between = delivery.previous + 1; between < delivery.offset; ++between)
        if (const TrueRecord* left_out = truth_.find(log, between); left_out != nullptr && left_out->id != 0)
            violations_.report("P2", "{} got offset {} of {} after {} and never {}", reader, delivery.offset,
                               protocol::to_string(delivery.stream), delivery.previous, to_text(left_out->id));
}

void CommittedChecker::on_report(const Sent& sent) {
    if (sent.outcome != Outcome::kAcknowledged || sent.offset.value < 0) return;
    if (sent.acks != proto::QUORUM && sent.acks != proto::ALL) return;
    const TrueRecord* record = truth_.find({sent.cluster, sent.stream}, sent.offset);
    if (record == nullptr) {
        open_reports_.push_back(sent);
    } else if (record->id != sent.id) {
        violations_.report("P1", "{} is acknowledged at offset {} of {}, where {} is committed", to_text(sent.id),
                           sent.offset, protocol::to_string(sent.stream), to_text(record->id));
    }
}

void CommittedChecker::at_end() {
    for (const auto& [reader, delivery] : open_deliveries_) compare_delivery(reader, delivery);
    for (const Sent& sent : std::exchange(open_reports_, {})) {
        on_report(sent);
        if (!open_reports_.empty()) {
            open_reports_.clear();
            if (is_unread({sent.cluster, sent.stream}, sent.offset)) continue;
            violations_.report("P1", "{} is acknowledged at offset {} of {}, which nobody has committed",
                               to_text(sent.id), sent.offset, protocol::to_string(sent.stream));
        }
    }
}

void CommittedChecker::check_complete(const std::string& audience, const LogKey& log, const std::vector<bool>& got) {
    const auto found = truth_.logs().find(log);
    if (found == truth_.logs().end()) return;
    const std::vector<TrueRecord>& records = found->second;
    for (std::size_t at = 0; at < records.size(); ++at)
        if (records[at].id != 0 && (at >= got.size() || !got[at]))
            return violations_.report("P2", "{} never got {} at offset {} of {}", audience, to_text(records[at].id), at,
                                      protocol::to_string(log.second));
}

}  // namespace logstream::sim
