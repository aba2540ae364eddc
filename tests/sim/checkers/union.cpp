#include "tests/sim/checkers/union.h"

#include "internal/storage/orphan_file.h"

namespace logstream::sim {

void UnionChecker::collect(const Bytes& bytes, std::set<RecordId>& out) {
    auto batch = protocol::BatchView::parse(bytes);
    if (!batch || !batch->crc_ok()) return;
    Truth::decode(*batch, [&](Offset, const TrueRecord& record) {
        if (record.id != 0) out.insert(record.id);
    });
}

void UnionChecker::on_promise(Machine& machine, ViewNumber number) {
    node::Node& node = machine.node();
    auto tail = std::make_shared<Tail>(Tail{node.core().self.incarnation, {}});
    for (const auto& [id, stream] : node.core().streams.all()) {
        if (protocol::is_internal(id)) continue;
        Offset next = std::max(stream.high_watermark, stream.log->log_start());
        while (next < stream.log->log_end()) {
            const auto cached = stream.log->read_cached(next, stream.log->log_end(), 4u << 20);
            if (!cached || cached->empty()) break;
            for (const Bytes& batch : *cached) collect(batch, tail->records);
            next = protocol::BatchView::parse(cached->back())->next_offset();
        }
    }
    storage::OrphanFiles& orphans = node.core().store.orphans();
    for (StreamId stream : orphans.streams())
        for (const storage::OrphanEntry& entry : orphans.list(stream))
            orphans.read(stream, entry, [tail](protocol::Result<Bytes> batch) {
                if (batch) collect(*batch, tail->records);
            });
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

void UnionChecker::at_end(ClusterId cluster, const std::set<RecordId>& standing) {
    for (const auto& [lineage, view, member, tail] : vouched_) {
        if (lineage != cluster || unreliable_.contains(member)) continue;
        for (RecordId id : tail->records) kept_.try_emplace({cluster, id}, Kept{member, view});
    }
    for (const auto& [key, kept] : kept_)
        if (!standing.contains(key.second))
            violations_.report("P5", "{}, which {} held when it joined view {}, is gone", to_text(key.second),
                               protocol::hex(kept.holder.value), kept.view);
}

}  // namespace logstream::sim
