#include "internal/node/aligner.h"

#include <algorithm>
#include <set>

#include "internal/protocol/planted.h"
#include "internal/protocol/record_batch.h"
#include "internal/storage/epoch_table.h"
#include "internal/storage/orphan_file.h"

namespace logstream::node {

using protocol::Bytes;

namespace {
constexpr std::size_t kParallel = 16;        // streams worked on at a time
constexpr std::size_t kCutBytes = 4u << 20;  // of what is moved to orphans, at a time
constexpr std::size_t kMaxFailures = 6;      // of one stream's sources, before it is given up

storage::EpochTable table_of(const view::StreamPlan& plan) {
    std::vector<storage::EpochStart> entries;
    for (const view::EpochStart& epoch : plan.epochs) entries.push_back({epoch.view, epoch.first});
    return storage::EpochTable::valid(entries) ? storage::EpochTable(std::move(entries)) : storage::EpochTable();
}
}  // namespace

Aligner::Aligner(Core& core, ClusterId cluster, std::vector<AlignTarget> targets, AddressOf address_of,
                 DoneHandler done)
    : core_(core), cluster_(cluster), address_of_(std::move(address_of)), done_(std::move(done)) {
    for (AlignTarget& target : targets) waiting_.push_back(std::make_shared<Task>(Task{std::move(target)}));
    core_.env.set_timer(Duration{0},
                        lifetime_.guard([this] { core_.when_still(lifetime_.guard([this] { start_more(); })); }));
}

void Aligner::start_more() {
    while (running_ < kParallel && !waiting_.empty()) {
        const TaskPtr task = waiting_.front();
        waiting_.pop_front();
        ++running_;
        cut(task);
        if (!done_) return;
    }
    if (running_ > 0 || !waiting_.empty()) return;
    core_.store.flush(lifetime_.guard([this](Result<void> flushed) { finish(flushed); }));
}

// From where on this log is not the base log; its end if it is nowhere else.
Offset Aligner::departure(const Task& task, const storage::StreamLog& log) const {
    const view::StreamPlan& plan = task.target.plan;
    Offset departs = storage::divergence(log.epochs(), log.log_end(), table_of(plan), plan.log_end);
    // Two views of one number, of which a person has chosen one.
    for (const view::EpochStart& epoch : plan.epochs) {
        const protocol::ViewId known = core_.record.views.id_of(epoch.view);
        if (known.value == 0 || epoch.id.value == 0 || known == epoch.id) continue;
        for (const storage::EpochStart& own : log.epochs().entries())
            if (own.view == epoch.view) departs = std::min(departs, std::min(own.first, epoch.first));
    }
    const bool only_longer = departs == plan.log_end && log.log_end() > plan.log_end;
    if (only_longer && task.target.current_view && log.epochs().view_at(departs) == *task.target.current_view)
        return log.log_end();
    return departs;
}

// The same at or behind `at`, where damage ends: what was damaged may have hidden where the logs part.
Offset Aligner::departure_behind(const Task& task, const storage::StreamLog& log, Offset at) const {
    const storage::EpochTable base_log = table_of(task.target.plan);
    std::set<Offset> boundaries{at};
    for (const storage::EpochTable* table : {&log.epochs(), &base_log})
        for (const storage::EpochStart& epoch : table->entries()) boundaries.insert(epoch.first);
    for (Offset boundary : boundaries)
        if (boundary >= at && boundary < task.target.plan.log_end &&
            log.epochs().view_at(boundary) != base_log.view_at(boundary))
            return std::min(boundary, log.log_end());
    return std::clamp(task.target.plan.log_end, at, std::max(at, log.log_end()));
}

// Removes what departs from the base log.
void Aligner::cut(const TaskPtr& task) {
    const view::StreamPlan& plan = task->target.plan;
    auto stream = core_.streams.open(plan.stream);
    if (!stream) return finish(std::unexpected(stream.error()));
    storage::StreamLog& log = *(*stream)->log;
    const Offset departs = departure(*task, log);
    const auto damage = log.damage();
    // First of all, since the table may be wrong about the views that wrote what is damaged. Where one damage of
    // several is mended, it lacks the views of that one until all are: what it departs at is no departure then.
    const bool in_doubt = damage && !log.tables_are_whole() &&
                          damage->from < std::min(plan.log_end, task->target.fetch_to) &&
                          departure_behind(*task, log, damage->to) != damage->to;
    if (damage && (damage->from <= departs || in_doubt)) return mend(task, **stream, *damage);
    if (!damage && !log.tables_are_whole())
        return finish(protocol::fail(ErrorCode::kBusy, "the tables of stream {} are being rebuilt",
                                     protocol::to_string(plan.stream)));
    if (departs >= log.log_end()) return fill(task);
    if (protocol::planted(protocol::Bug::kStaleTailKept)) return fill(task);
    if (departs < (*stream)->high_watermark) {
        std::string text = fmt::format(
            "stream {}: its records up to {} are committed, but the cluster's log diverges from them at {}: other "
            "brokers have lost what they acknowledged (their folders were restored from older copies?)",
            protocol::to_string(plan.stream), (*stream)->high_watermark, departs);
        if (task->target.purpose != AlignTarget::Purpose::kRecover)
            return core_.condemn({ErrorCode::kConflict, std::move(text)});
        core_.env.log().error("ORPHAN {}: the recovered log replaces them, and they are appended to it again", text);
        core_.streams.give_up(**stream, departs);
    }
    // Stale state of internal streams is never appended again.
    if (protocol::is_internal(plan.stream)) {
        core_.env.log().warn("ORPHAN dropped stream={} from={} to={} (internal state)",
                             protocol::to_string(plan.stream), departs, log.log_end());
        return truncate(task, **stream, departs);
    }
    if (protocol::planted(protocol::Bug::kOrphanLost)) return truncate(task, **stream, departs);
    keep_and_cut(task, departs, departs);
}

// Makes orphans of what stands from `from` on, then removes what stands from `to` on. What is not flushed yet could not
// be read back after a crash in between: first the log becomes durable.
void Aligner::keep_and_cut(const TaskPtr& task, Offset from, Offset to) {
    core_.store.flush(lifetime_.guard([this, task, from, to](Result<void> flushed) {
        Stream* again = core_.streams.find(task->target.plan.stream);
        if (!flushed) return finish(flushed);
        if (again != nullptr) move_to_orphans(task, *again, from, to);
    }));
}

void Aligner::move_to_orphans(const TaskPtr& task, Stream& stream, Offset from, Offset cut_at) {
    Offset end = stream.log->log_end();
    for (const storage::DamageRange& damage : stream.log->damages()) {
        if (damage.from > from) {
            end = std::min(end, damage.from);
            break;
        }
        if (from >= damage.to) continue;
        core_.env.log().error("ORPHAN lost stream={} from={} to={}: damaged on this disk",
                              protocol::to_string(stream.id), from, damage.to);
        from = damage.to;
    }
    if (from >= end) return truncate(task, stream, cut_at);
    stream.log->read(from, end, kCutBytes, lifetime_.guard([this, task, from, cut_at](auto batches) {
        Stream* again = core_.streams.find(task->target.plan.stream);
        if (!batches) return finish(std::unexpected(batches.error()));
        if (again == nullptr) return;
        Offset next = from;
        ClusterId lineage = core_.record.cluster;
        std::vector<protocol::Bytes> kept;  // those that are of one history
        for (protocol::Bytes& bytes : *batches) {
            const auto batch = protocol::BatchView::parse(bytes);
            if (!batch) return finish(std::unexpected(batch.error()));
            const ClusterId own = history_of(*task, batch->leader_epoch());
            if (!kept.empty() && own != lineage) break;
            lineage = own;
            next = batch->next_offset();
            kept.push_back(std::move(bytes));
        }
        core_.env.log().warn("ORPHAN kept stream={} from={} to={}", protocol::to_string(again->id), from, next);
        core_.store.orphans().add(again->id, lineage, std::move(kept),
                                  lifetime_.guard([this, task, next, from, cut_at](Result<void> added) {
                                      Stream* stream = core_.streams.find(task->target.plan.stream);
                                      if (!added) return finish(added);
                                      if (stream == nullptr) return;
                                      if (next > from) return move_to_orphans(task, *stream, next, cut_at);
                                      truncate(task, *stream, cut_at);
                                  }));
    }));
}

// A record is told from others by lineage, view and offset. Where a person has chosen one of two views of one number,
// the other one's id stands for the history that it was of: or its records would be taken for those of the chosen one.
ClusterId Aligner::history_of(const Task& task, ViewNumber view) const {
    const protocol::ViewId own = core_.record.views.id_of(view);
    for (const view::EpochStart& epoch : task.target.plan.epochs)
        if (epoch.view == view && epoch.id.value != 0 && own.value != 0 && epoch.id != own) return ClusterId{own.value};
    return core_.record.cluster;
}

void Aligner::truncate(const TaskPtr& task, Stream& stream, Offset to) {
    stream.log->truncate(to, lifetime_.guard([this, task](Result<void> truncated) {
        if (truncated) return fill(task);
        if (truncated.error().code == ErrorCode::kCorrupt && task->target.purpose != AlignTarget::Purpose::kMend)
            return start_over(task);
        finish(truncated);
    }));
}

// Puts the base log's bytes in the place of the first damage, then looks again.
void Aligner::mend(const TaskPtr& task, Stream& stream, storage::DamageRange damage) {
    // Where the log has departed by the damage's end, the base log's bytes would stand before others of an older view.
    const bool departed =
        damage.to < stream.log->log_end() && departure_behind(*task, *stream.log, damage.to) == damage.to;
    if (!departed && damage.from < task->target.fetch_to && damage.from >= task->target.plan.log_start)
        return fetch(task, stream, What::kRepair);
    // What is damaged is no part of the base log.
    give_up_from(task, damage.from);
}

void Aligner::mended(const TaskPtr& task, const Bytes& answer, std::int64_t appended_ms) {
    Stream* stream = core_.streams.find(task->target.plan.stream);
    if (stream == nullptr) return task_done();
    const auto damage = stream->log->damage();
    auto batches = protocol::split_batches(answer);
    if (!damage || !batches) return cut(task);
    const storage::EpochTable base_log = table_of(task->target.plan);
    const bool at_end = damage->from == stream->log->log_end();
    std::size_t bytes = 0;
    Offset next = damage->from;
    for (const protocol::BatchView& batch : *batches) {
        const Offset limit = at_end ? task->target.fetch_to : std::min(damage->to, task->target.fetch_to);
        if (!batch.crc_ok() || batch.base_offset() != next || batch.next_offset() > limit ||
            base_log.view_at(batch.base_offset()) != batch.leader_epoch())
            break;
        next = batch.next_offset();
        bytes += batch.size_bytes();
    }
    if (bytes == 0) {
        if (task->failures < kMaxFailures)
            return source_failed(task, Error{ErrorCode::kCorrupt, "a source has no batches that fit the damage"});
        return give_up_from(task, damage->from);
    }
    core_.env.log().warn("REPAIR stream={} from={} to={}", protocol::to_string(stream->id), damage->from, next);
    fetched_bytes_ += bytes;
    stream->log->repair(answer.slice(0, bytes), appended_ms,
                        lifetime_.guard([this, task, from = damage->from](Result<void> repaired) {
                            if (!repaired && repaired.error().code == ErrorCode::kInvalid)
                                return give_up_from(task, from);
                            if (!repaired) return finish(repaired);
                            // What took its place does not fit what stands before it: it would be fetched for ever.
                            const Stream* again = core_.streams.find(task->target.plan.stream);
                            const auto left = again != nullptr ? again->log->damage() : std::nullopt;
                            if (left && left->from == from) return give_up_from(task, left->from);
                            cut(task);
                        }));
}

// Damage that no peer's batches fit (they were compacted otherwise, or nobody has them): what the base log has from
// there on is fetched anew. What stands behind the damage and is not of the base log is kept.
void Aligner::give_up_from(const TaskPtr& task, Offset from) {
    if (task->target.purpose == AlignTarget::Purpose::kMend)
        return finish(protocol::fail(ErrorCode::kCorrupt, "stream {} cannot be repaired in place at offset {}",
                                     protocol::to_string(task->target.plan.stream), from));
    core_.env.log().warn(
        "REPAIR stream={} is damaged at {}: everything from there on is fetched again from other brokers",
        protocol::to_string(task->target.plan.stream), from);
    without_vote(task, [this, task, from](Stream& stream) {
        Offset behind = from;
        for (const storage::DamageRange& damage : stream.log->damages())
            if (damage.from == from) behind = damage.to;
        if (from >= task->target.plan.log_end && behind > from)
            core_.env.log().error("ORPHAN lost stream={} from={} to={}: damaged on this disk",
                                  protocol::to_string(stream.id), from, behind);
        const Offset departs = departure_behind(*task, *stream.log, behind);
        if (protocol::is_internal(stream.id) || departs >= stream.log->log_end()) return truncate(task, stream, from);
        keep_and_cut(task, departs, from);
    });
}

// The log cannot be cut where it should be, since what tells of its beginning is damaged as well.
void Aligner::start_over(const TaskPtr& task) {
    core_.env.log().warn("REPAIR stream={} cannot be truncated: all of it is fetched again",
                         protocol::to_string(task->target.plan.stream));
    without_vote(task, [this, task](Stream& stream) { fetch(task, stream, What::kStartTables); });
}

// What this broker acknowledged may be missing from here on, until it has caught up: so it has no vote, and that is on
// disk first.
void Aligner::without_vote(const TaskPtr& task, std::function<void(Stream&)> then) {
    core_.record.must_relearn = true;
    core_.persist(lifetime_.guard([this, task, then = std::move(then)] {
        Stream* stream = core_.streams.find(task->target.plan.stream);
        if (stream == nullptr) return task_done();
        then(*stream);
    }));
}

// Fetches what lacks.
void Aligner::fill(const TaskPtr& task) {
    Stream* stream = core_.streams.find(task->target.plan.stream);
    if (stream == nullptr) return task_done();
    if (stream->log->log_end() >= task->target.fetch_to) return task_done();
    // The others' retention has passed what this log would continue with. (That of the source may be behind the
    // plan's.)
    const bool passed = stream->log->log_end() < task->target.plan.log_start && !task->begun;
    fetch(task, *stream, passed ? What::kStartTables : What::kBatches);
}

std::vector<NodeId> Aligner::sources_of(const Task& task, What what) const {
    std::vector<NodeId> out = task.target.plan.sources;
    // Any log may have the bytes: that they belong to the base log is seen by their view.
    if (what == What::kRepair) out.insert(out.end(), task.target.others.begin(), task.target.others.end());
    std::erase(out, core_.self.id);
    return out;
}

void Aligner::fetch(const TaskPtr& task, Stream& stream, What what) {
    const view::StreamPlan& plan = task->target.plan;
    const std::vector<NodeId> sources = sources_of(*task, what);
    std::optional<Endpoint> source;
    NodeId id;
    for (std::size_t tried = 0; tried < sources.size() && !source; ++tried) {
        id = sources[(task->source + tried) % sources.size()];
        source = address_of_(id);
        if (source) task->source = (task->source + tried) % sources.size();
    }
    if (!source)
        return finish(protocol::fail(ErrorCode::kNetwork, "stream {}: nobody in reach holds offsets {} to {}",
                                     protocol::to_string(plan.stream), stream.log->log_end(), plan.log_end));
    proto::Fetch request;
    request.set_cluster_id(cluster_.value);
    request.set_topic(plan.stream.topic.value);
    request.set_partition(plan.stream.partition);
    const auto damage = what == What::kRepair ? stream.log->damage() : std::nullopt;
    request.set_offset((damage ? damage->from : stream.log->log_end()).value);
    const FetchPace::Ask ask = pace_.ask(core_.env.now());
    request.set_max_bytes(static_cast<std::uint32_t>(ask.bytes));
    request.set_catch_up_limit(task->target.fetch_to.value);
    request.set_start_tables(what == What::kStartTables);
    core_.links.request(*source, MessageType::kFetch, request, pace_.patience(),
                        lifetime_.guard([this, task, what, id, ask](Result<Message> reply) {
                            if (reply) pace_.answered(ask, core_.env.now(), reply->body.size());
                            if (!reply && reply.error().code == ErrorCode::kTimeout)
                                pace_.timed_out(ask, core_.env.now());
                            fetched(task, what, id, std::move(reply));
                        }));
}

void Aligner::fetched(const TaskPtr& task, What what, NodeId source, Result<Message> reply) {
    Stream* stream = core_.streams.find(task->target.plan.stream);
    if (stream == nullptr) return task_done();
    proto::FetchResponse response;
    if (!reply) return source_failed(task, reply.error());
    if (!reply->parse(response)) return source_failed(task, Error{ErrorCode::kInvalid, "an unreadable answer"});
    if (response.error().code() != 0) {
        const Error error{static_cast<ErrorCode>(response.error().code()), response.error().message()};
        const bool removed = error.code == ErrorCode::kOffsetOutOfRange;
        // Two that are damaged at one offset would else wait for each other.
        const bool lacks = removed || error.code == ErrorCode::kCorrupt;
        if (what != What::kRepair || !lacks || task->target.purpose != AlignTarget::Purpose::kMend)
            return source_failed(task, error);
        task->without.insert(source);
        task->removed |= removed;
        const bool nobody =
            std::ranges::all_of(sources_of(*task, what), [&](NodeId id) { return task->without.contains(id); });
        const auto damage = stream->log->damage();
        return nobody && task->removed && damage ? give_up_from(task, damage->from) : source_failed(task, error);
    }
    if (what == What::kStartTables) {
        stream->log->reset(Offset{response.log_start()}, reply->body, lifetime_.guard([this, task](Result<void> reset) {
            if (!reset) return finish(reset);
            task->begun = true;
            fill(task);
        }));
        return;
    }
    if (what == What::kRepair) return mended(task, reply->body, response.appended_ms());
    auto batches = protocol::split_batches(reply->body);
    if (!batches || batches->empty())
        return source_failed(task, Error{ErrorCode::kCorrupt, "an answer without records"});
    const storage::EpochTable base_log = table_of(task->target.plan);
    for (const protocol::BatchView& batch : *batches) {
        if (!batch.crc_ok()) return source_failed(task, Error{ErrorCode::kCorrupt, "a batch with a wrong checksum"});
        if (batch.base_offset() != stream->log->log_end() || batch.next_offset() > task->target.fetch_to) continue;
        // A source whose own log changed since it was named would hand out something else than the base log.
        if (base_log.view_at(batch.base_offset()) != batch.leader_epoch())
            return source_failed(task,
                                 Error{ErrorCode::kCorrupt, "a batch of another view than the base log has there"});
        if (auto appended = stream->log->append(batch.bytes(), response.appended_ms()); !appended) {
            if (appended.error().code != ErrorCode::kBusy) return finish(appended);
            break;  // what is not written yet is over its bound: flush, then fetch again from where the log ends
        }
        fetched_bytes_ += batch.bytes().size();
    }
    // One flush for each fetch bounds what waits to be written.
    core_.store.flush(lifetime_.guard([this, task](Result<void> flushed) {
        if (!flushed) return finish(flushed);
        fill(task);
    }));
}

void Aligner::source_failed(const TaskPtr& task, const Error& error) {
    ++task->source;
    task->begun = false;
    if (++task->failures > kMaxFailures) return finish(std::unexpected(error));
    core_.env.set_timer(std::chrono::milliseconds(10), lifetime_.guard([this, task] { cut(task); }));
}

void Aligner::task_done() {
    --running_;
    start_more();
}

void Aligner::finish(Result<void> result) {
    if (!done_) return;
    waiting_.clear();
    const DoneHandler done = std::exchange(done_, nullptr);
    done(std::move(result));
}

}  // namespace logstream::node
