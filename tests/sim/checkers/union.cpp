#include "tests/sim/checkers/union.h"

#include "internal/storage/orphan_file.h"

namespace logstream::sim {

void UnionChecker::collect(StreamId stream, const Bytes& bytes, Tail& out) {
    auto batch = protocol::BatchView::parse(bytes);
    if (!batch || !batch->crc_ok()) return;
    Truth::decode(*batch, [&](Offset, const TrueRecord& record) {
        if (record.id != 0) out.records.emplace(record.id, stream);
    });
}

void UnionChecker::on_promise(Machine& machine, ViewNumber number) {
    node::Node& node = machine.node();
    auto tail = std::make_shared<Tail>(Tail{node.core().self.incarnation, {}, {}});
    for (const auto& [id, stream] : node.core().streams.all()) {
        if (protocol::is_internal(id)) continue;
        Offset next = std::max(stream.high_watermark, stream.log->log_start());
        tail->begins[id] = next;
        while (next < stream.log->log_end()) {
            const auto cached = stream.log->read_cached(next, stream.log->log_end(), 4u << 20);
            if (!cached || cached->empty()) break;
            for (const Bytes& batch : *cached) collect(id, batch, *tail);
            next = protocol::BatchView::parse(cached->back())->next_offset();
        }
    }
    storage::OrphanFiles& orphans = node.core().store.orphans();
    for (StreamId stream : orphans.streams())
        for (const storage::OrphanEntry& entry : orphans.list(stream)) {
            const auto begin = tail->begins.try_emplace(stream, entry.base_offset).first;
            begin->second = std::min(begin->second, entry.base_offset);
            orphans.read(stream, entry, [stream, tail](protocol::Result<Bytes> batch) {
                if (batch) collect(stream, *batch, *tail);
            });
        }
    tails_[{node.id(), number}] = std::move(tail);
}

void UnionChecker::on_first_served(ClusterId cluster, const view::View& view) {
    for (const view::Member& member : view.members) {
        const auto tail = tails_.find({member.id, view.number});
        if (tail == tails_.end() || tail->second->incarnation != member.incarnation) continue;
        vouched_.emplace_back(cluster, view.number, member.id, tail->second);
    }
    std::erase_if(tails_, [&](const auto& entry) { return entry.first.second < view.number; });
}

void UnionChecker::at_end(ClusterId cluster, const std::set<RecordId>& standing,
                          const std::map<StreamId, Offset>& starts,
                          const std::function<bool(RecordId)>& is_taken_over) {
    for (const auto& [lineage, view, member, tail] : vouched_) {
        if (lineage != cluster || unreliable_.contains(member)) continue;
        for (const auto& [id, stream] : tail->records) {
            const Offset begin = tail->begins.at(stream);
            const auto kept = kept_.try_emplace({cluster, id}, Kept{member, view, stream, begin}).first;
            kept->second.begin = std::max(kept->second.begin, begin);
        }
    }
    for (const auto& [key, kept] : kept_) {
        const auto start = starts.find(kept.stream);
        if (start != starts.end() && kept.begin < start->second) continue;
        if (!standing.contains(key.second) && !is_taken_over(key.second))
            violations_.report("P5", "{}, which {} held when it joined view {}, is gone", to_text(key.second),
                               protocol::hex(kept.holder.value), kept.view);
    }
}

}  // namespace logstream::sim
