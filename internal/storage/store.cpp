#include "internal/storage/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <utility>

#include "internal/protocol/lifetime.h"
#include "internal/storage/byte_codec.h"
#include "internal/storage/format_file.h"
#include "internal/storage/orphan_file.h"
#include "internal/storage/recovery.h"
#include "internal/storage/state_file.h"
#include "internal/storage/store_context.h"
#include "internal/storage/watermark_file.h"

namespace logstream::storage {

struct LastRun {
    LastStop stop;
    bool unflushed{};
};

namespace {

constexpr std::uint32_t kRunMagic = 0x5253534c;  // "LSSR"
constexpr std::size_t kMaxRunBytes = 4096;
constexpr std::string_view kDeleted = ".deleted";
constexpr std::chrono::seconds kQuietCheck{1};

std::string run_path(const std::string& dir) { return dir + "/run"; }
std::string streams_dir(const std::string& dir) { return dir + "/streams"; }
std::string stream_dir(const std::string& dir, StreamId stream) {
    return fmt::format("{}/{:016x}-{}", streams_dir(dir), stream.topic.value, stream.partition);
}

std::optional<StreamId> parse_stream_dir(std::string_view name) {
    const std::size_t dash = name.find('-');
    if (dash == std::string_view::npos) return std::nullopt;
    StreamId stream;
    const char* end = name.data() + name.size();
    const auto topic = std::from_chars(name.data(), name.data() + dash, stream.topic.value, 16);
    const auto partition = std::from_chars(name.data() + dash + 1, end, stream.partition);
    if (topic.ptr != name.data() + dash || partition.ptr != end) return std::nullopt;
    return stream;
}

// The "run" file says who used the directory last: whether it is closed, or else whether it held back flushes, and on
// which start of the machine.
constexpr unsigned kRunClean = 1, kRunUnflushed = 2;

Bytes encode_run(unsigned flags, const std::string& boot_id) {
    ByteWriter out;
    out.put(static_cast<std::uint8_t>(flags));
    out.put_bytes(std::as_bytes(std::span(boot_id)));
    return seal(kRunMagic, out.take());
}

Result<LastRun> read_last_run(Disk& disk, const std::string& dir, bool has_streams) {
    const auto file = disk.read_now(run_path(dir), 0, kMaxRunBytes);
    if (!file) {
        if (!is_missing(file.error())) return std::unexpected(file.error());
        return LastRun{has_streams ? LastStop::kMachine : LastStop::kNone};
    }
    const auto content = unseal(kRunMagic, *file, run_path(dir));
    // Damaged: nothing is known, so the worst is assumed.
    if (!content || content->empty()) return LastRun{LastStop::kMachine};
    const auto flags = std::to_integer<unsigned>(content->data()[0]);
    if (flags == kRunClean) return LastRun{LastStop::kClean};
    const std::string_view boot_id = content->view().substr(1);
    const bool same_boot = !boot_id.empty() && boot_id == disk.boot_id();
    return LastRun{same_boot ? LastStop::kProcess : LastStop::kMachine, (flags & kRunUnflushed) != 0};
}

}  // namespace

struct StoreParts {
    StoreParts(Disk& disk, StoreOptions options, spdlog::logger& log)
        : context(disk, std::move(options), log),
          format(disk, context.commit, context.options.dir),
          state(disk, context.commit, context.options.dir),
          watermarks(disk, context.commit, context.options.dir),
          orphans(context) {}

    StoreContext context;
    FormatFile format;
    StateFile state;
    WatermarkFile watermarks;
    OrphanFiles orphans;
    std::map<StreamId, std::shared_ptr<StreamLog>> logs;
    std::set<StreamId> removing;
    std::uint64_t next_removal{1};
    LastRun last_run{};
    bool run_owed{false};  // the machine went down, and no state that heeds it is saved yet
    bool closed{false};
    TimePoint next_quiet_check{};
    protocol::Lifetime lifetime;

    Result<void> open();
    // From then on the directory counts as in use, until close.
    DiskOp begin_run() const;
    Result<void> recover_streams(const std::vector<DirEntry>& entries);
    Result<void> remove_leftovers(const std::vector<DirEntry>& entries);
};

Result<void> StoreParts::open() {
    Disk& disk = context.disk;
    const std::string& dir = context.options.dir;
    if (auto ok = disk.lock(dir); !ok) return ok;
    if (auto ok = format.load(context.options.known_format); !ok) return ok;
    const GroupResult made =
        disk.run_now({MakeDirOp{streams_dir(dir)}, MakeDirOp{dir + "/orphans"}, SyncOp{{}, {dir}}});
    if (!made.status) return made.status;
    const auto entries = disk.list(streams_dir(dir));
    if (!entries) return std::unexpected(entries.error());
    const auto run = read_last_run(disk, dir, !entries->empty());
    if (!run) return std::unexpected(run.error());
    last_run = *run;
    if (auto ok = state.load(); !ok) return ok;
    if (auto ok = watermarks.load(); !ok) return ok;
    if (auto ok = remove_leftovers(*entries); !ok) return ok;
    if (auto ok = recover_streams(*entries); !ok) return ok;
    if (auto ok = orphans.recover(last_run.stop); !ok) return ok;
    if (!state.content() && !logs.empty()) state.set_damaged();
    bool lowered = false;
    for (const auto& [stream, log] : logs) lowered |= watermarks.lower(stream, log->log_end());
    if (lowered)
        if (auto ok = watermarks.rewrite(); !ok) return ok;
    // What the machine's going down means for the node's vote must be in its state before this is forgotten.
    run_owed = last_run.stop == LastStop::kMachine;
    return run_owed ? Result<void>{} : disk.run_now({begin_run()}).status;
}

DiskOp StoreParts::begin_run() const {
    const unsigned flags = context.options.fsync == FsyncPolicy::kGroup ? 0 : kRunUnflushed;
    return ReplaceOp{run_path(context.options.dir), {encode_run(flags, context.disk.boot_id())}};
}

Result<void> StoreParts::remove_leftovers(const std::vector<DirEntry>& entries) {
    for (const DirEntry& entry : entries) {
        if (entry.name.find(kDeleted) == std::string::npos) continue;
        const std::string path = streams_dir(context.options.dir) + "/" + entry.name;
        const auto files = context.disk.list(path);
        if (!files) return std::unexpected(files.error());
        std::vector<DiskOp> ops;
        for (const DirEntry& file : *files) ops.emplace_back(RemoveOp{path + "/" + file.name});
        ops.emplace_back(RemoveOp{path});
        if (auto result = context.disk.run_now(std::move(ops)); !result.status) return result.status;
    }
    return {};
}

Result<void> StoreParts::recover_streams(const std::vector<DirEntry>& entries) {
    std::uint64_t recovered_streams = 0;
    for (const DirEntry& entry : entries) {
        const auto stream = parse_stream_dir(entry.name);
        if (!entry.is_dir || !stream) continue;
        const std::string dir = stream_dir(context.options.dir, *stream);
        auto recovered = recover_stream(context, *stream, dir, last_run.stop);
        if (!recovered) return std::unexpected(std::move(recovered.error()));
        auto stream_log = std::make_shared<StreamLog>(context, *stream, dir);
        stream_log->start_recovered(std::move(*recovered));
        logs[*stream] = std::move(stream_log);
        ++recovered_streams;
    }
    if (recovered_streams == 0) return {};
    return context.disk.run_now({SyncOp{{}, {streams_dir(context.options.dir)}}}).status;
}

Store::Store() = default;
Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(Disk& disk, StoreOptions options, spdlog::logger& log) {
    std::unique_ptr<Store> store(new Store);
    store->parts_ = std::make_unique<StoreParts>(disk, std::move(options), log);
    if (auto ok = store->parts_->open(); !ok) return std::unexpected(std::move(ok.error()));
    return store;
}

void Store::close(FlushCallback callback) {
    StoreParts& parts = *parts_;
    parts.closed = true;
    // Data first; then the snapshots, which may only speak of what is flushed; then the word that all is well.
    parts.context.commit.add_barrier(
        {}, parts.lifetime.guard([&parts, callback = std::move(callback)](Result<void> status) mutable {
            if (!status) return callback(status);
            for (auto& [stream, log] : parts.logs) log->save_snapshot_if_behind();
            parts.context.commit.add_barrier(
                {}, parts.lifetime.guard([&parts, callback = std::move(callback)](Result<void> saved) mutable {
                    if (!saved) return callback(saved);
                    const std::string path = run_path(parts.context.options.dir);
                    parts.context.commit.urgent(
                        {ReplaceOp{path, {encode_run(kRunClean, parts.context.disk.boot_id())}}}, std::move(callback));
                }));
        }));
}

StreamLog* Store::find(StreamId stream) {
    const auto found = parts_->logs.find(stream);
    return found == parts_->logs.end() ? nullptr : found->second.get();
}

Result<StreamLog*> Store::create(StreamId stream) {
    if (StreamLog* log = find(stream)) return log;
    StoreContext& context = parts_->context;
    if (context.commit.failed()) return std::unexpected(context.commit.failure());
    if (parts_->closed) return protocol::fail(ErrorCode::kRefused, "the store is closed");
    if (parts_->removing.contains(stream)) {
        return protocol::fail(ErrorCode::kBusy, "stream {} is being removed", to_string(stream));
    }
    // An empty stream takes little, and whoever reads it is told that it is empty.
    if (!context.commit.has_room(std::max(claim_of(stream), Claim::kGroups), 0))
        return protocol::fail(ErrorCode::kDiskFull, "the disk of {} is full", context.options.dir);
    auto log = std::make_shared<StreamLog>(context, stream, stream_dir(context.options.dir, stream));
    log->start_new();
    return (parts_->logs[stream] = std::move(log)).get();
}

void Store::remove(StreamId stream, FlushCallback callback) {
    StoreParts& parts = *parts_;
    const auto found = parts.logs.find(stream);
    if (found == parts.logs.end()) {
        parts.context.disk.post([callback = std::move(callback)]() mutable { callback({}); });
        return;
    }
    const std::string dir = found->second->dir();
    std::vector<std::string> files = found->second->all_files();
    parts.logs.erase(found);
    parts.removing.insert(stream);
    parts.context.commit.forget(dir);
    parts.orphans.remove(stream, [](const Result<void>&) {});
    // One rename takes the stream away; what lies in it may then go file by file, now or at the next start.
    const std::string gone = fmt::format("{}{}.{}", dir, kDeleted, parts.next_removal++);
    std::vector<DiskOp> ops;
    ops.emplace_back(MakeDirOp{dir});  // in case it was never made
    ops.emplace_back(RenameOp{dir, gone});
    ops.emplace_back(SyncOp{{}, {streams_dir(parts.context.options.dir)}});
    for (const std::string& file : files) ops.emplace_back(RemoveOp{gone + file.substr(dir.size())});
    parts.context.commit.background(
        std::move(ops),
        parts.lifetime.guard([&parts, stream, gone, callback = std::move(callback)](Result<void> status) mutable {
            parts.removing.erase(stream);
            if (status) parts.context.commit.background({RemoveOp{gone}}, [](const Result<void>&) {});
            callback(std::move(status));
        }));
}

std::vector<StreamId> Store::streams() const {
    std::vector<StreamId> streams;
    for (const auto& [stream, log] : parts_->logs) streams.push_back(stream);
    return streams;
}

std::int64_t Store::log_end_total() const { return parts_->context.log_end_total; }

void Store::flush(FlushCallback callback) { parts_->context.commit.flush(std::move(callback)); }
bool Store::failed() const { return parts_->context.commit.failed(); }
bool Store::disk_full() const { return parts_->context.commit.disk_full(); }
std::uint64_t Store::unwritten_bytes() const { return parts_->context.commit.unwritten_bytes(); }
void Store::set_pending_bytes(std::uint64_t bytes) { parts_->context.cache.set_yielded(bytes); }
void Store::tick(TimePoint now) {
    parts_->context.commit.tick(now);
    if (now < parts_->next_quiet_check) return;
    parts_->next_quiet_check = now + kQuietCheck;
    for (const auto& [stream, log] : parts_->logs) log->tick(now);
}

const std::optional<Bytes>& Store::state() const { return parts_->state.content(); }
bool Store::state_damaged() const { return parts_->state.damaged(); }
void Store::save_state(Bytes state, FlushCallback callback) {
    StoreParts& parts = *parts_;
    parts.state.save(std::move(state),
                     parts.lifetime.guard([&parts, callback = std::move(callback)](Result<void> saved) mutable {
                         if (saved && std::exchange(parts.run_owed, false))
                             parts.context.commit.urgent({parts.begin_run()},
                                                         parts.lifetime.guard([&parts](const Result<void>& begun) {
                                                             if (!begun) parts.run_owed = true;
                                                         }));
                         callback(std::move(saved));
                     }));
}

void Store::raise_format(std::uint32_t version) { parts_->format.raise(version); }

Offset Store::watermark(protocol::ClusterId lineage, StreamId stream) const {
    return options().fsync == FsyncPolicy::kGroup ? parts_->watermarks.of(lineage, stream) : Offset{};
}
void Store::save_watermarks(protocol::ClusterId lineage, std::map<StreamId, Offset> watermarks) {
    parts_->watermarks.save({lineage, std::move(watermarks)});
}

LastStop Store::last_stop() const { return parts_->last_run.stop; }
bool Store::may_lack_acknowledged() const {
    const bool unflushed = parts_->last_run.unflushed || parts_->context.options.fsync != FsyncPolicy::kGroup;
    return last_stop() == LastStop::kMachine && unflushed;
}
bool Store::damaged() const {
    return std::ranges::any_of(parts_->logs, [](const auto& entry) { return entry.second->damage().has_value(); });
}
OrphanFiles& Store::orphans() { return parts_->orphans; }
const StoreOptions& Store::options() const { return parts_->context.options; }
std::uint64_t Store::size_bytes() const {
    std::uint64_t total = 0;
    for (const auto& [stream, log] : parts_->logs) total += log->size_bytes();
    return total;
}

}  // namespace logstream::storage
