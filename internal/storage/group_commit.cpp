#include "internal/storage/group_commit.h"

#include <algorithm>
#include <type_traits>
#include <utility>

namespace logstream::storage {
namespace {

// A queued write grows up to this; beyond, the next one is a new operation, so that groups can be cut between them.
constexpr std::uint64_t kMaxWriteBytes = 4u << 20;
// So much goes out though nobody waits for it.
constexpr std::uint64_t kEagerBytes = 1u << 20;
// Background work gets a turn after so many data groups.
constexpr unsigned kDataGroupsPerBackground = 4;
constexpr protocol::Duration kSlowGroup = std::chrono::milliseconds(200);
constexpr protocol::Duration kSaySlowEvery = std::chrono::seconds(10);
constexpr std::uint64_t kReserveShareOfDisk = 20;  // 1/20 = 5 %
// What an operation that writes no bytes may take: a file's or a directory's entry, a block that is begun.
constexpr std::uint64_t kBlockBytes = 4096;

bool is_below(const std::string& path, const std::string& dir) {
    return path == dir || (path.size() > dir.size() && path.starts_with(dir) && path[dir.size()] == '/');
}

const std::string* path_of(const DiskOp& op) {
    return std::visit(
        [](const auto& o) -> const std::string* {
            using Op = std::decay_t<decltype(o)>;
            if constexpr (std::is_same_v<Op, SyncOp>) {
                return nullptr;
            } else if constexpr (std::is_same_v<Op, RenameOp>) {
                return &o.from;
            } else {
                return &o.path;
            }
        },
        op);
}

bool is_nothing(const DiskOp& op) {
    const auto* sync = std::get_if<SyncOp>(&op);
    return sync != nullptr && sync->files.empty() && sync->dirs.empty();
}

}  // namespace

GroupCommit::GroupCommit(Disk& disk, const StoreOptions& options, spdlog::logger& log)
    : disk_(disk), options_(options), log_(log) {}

GroupCommit::Item& GroupCommit::queue(DiskOp op) {
    Item& item = queue_.emplace_back();
    item.op = std::move(op);
    item.number = next_number_++;
    const auto* write = std::get_if<WriteOp>(&item.op);
    claim(item, write == nullptr ? kBlockBytes : size_of(write->pieces));
    return item;
}

void GroupCommit::claim(Item& item, std::uint64_t bytes) {
    item.claimed += bytes;
    claimed_bytes_ += bytes;
}

void GroupCommit::unclaim(Item& item) { claimed_bytes_ -= std::exchange(item.claimed, 0); }

void GroupCommit::write(const std::shared_ptr<LogSink>& sink, std::uint64_t version, Offset end,
                        const std::string& path, std::uint64_t position, std::vector<Bytes> pieces) {
    if (failed()) return;  // flush says so
    const std::uint64_t bytes = size_of(pieces);
    unwritten_bytes_ += bytes;
    if (const auto last = last_write_.find(path); last != last_write_.end()) {
        Item& item = queue_[last->second - queue_.front().number];
        auto& op = std::get<WriteOp>(item.op);
        if (op.position + item.bytes == position && item.version == version &&
            item.bytes + bytes <= std::min(kMaxWriteBytes, options_.group_bytes)) {
            op.pieces.insert(op.pieces.end(), std::make_move_iterator(pieces.begin()),
                             std::make_move_iterator(pieces.end()));
            item.bytes += bytes;
            item.end = end;
            claim(item, bytes);
            pump();
            return;
        }
    }
    Item& item = queue(WriteOp{path, position, std::move(pieces)});
    item.bytes = bytes;
    item.sink = sink;
    item.version = version;
    item.end = end;
    last_write_[path] = item.number;
    pump();
}

void GroupCommit::add(DiskOp op, FlushCallback done) {
    if (failed()) return;
    last_write_.clear();
    queue(std::move(op)).done = std::move(done);
}

// After a failure: whoever waits is told of it, later.
bool GroupCommit::refused(FlushCallback& callback) {
    if (!failed()) return false;
    disk_.post([callback = std::move(callback), error = *failure_]() mutable {
        if (callback) callback(std::unexpected(std::move(error)));
    });
    return true;
}

void GroupCommit::add_barrier(std::vector<DiskOp> ops, FlushCallback done) {
    if (refused(done)) return;
    last_write_.clear();
    for (DiskOp& op : ops) queue(std::move(op));
    Item& last = queue(SyncOp{});
    last.done = std::move(done);
    last.barrier = true;
    kicked_ = true;
    pump();
}

void GroupCommit::flush(FlushCallback callback) {
    if (refused(callback)) return;
    if (done_number_ + 1 == next_number_) {
        disk_.post([callback = std::move(callback)]() mutable { callback({}); });
        return;
    }
    waiters_.push_back({next_number_ - 1, std::move(callback)});
    pump();
}

void GroupCommit::urgent(std::vector<DiskOp> ops, FlushCallback callback) {
    if (refused(callback)) return;
    urgent_.push_back({std::move(ops), std::move(callback)});
    pump();
}

void GroupCommit::beside(std::vector<DiskOp> ops, FlushCallback callback) {
    if (refused(callback)) return;
    ++beside_in_flight_;
    disk_.submit_beside(std::move(ops),
                        lifetime_.guard([this, callback = std::move(callback)](const GroupResult& result) mutable {
                            --beside_in_flight_;
                            const bool broken = !result.status && result.status.error().code != ErrorCode::kDiskFull;
                            if (broken && !failed()) fail_all(result.status.error());
                            callback(result.status);
                        }));
}

void GroupCommit::background(std::vector<DiskOp> ops, FlushCallback callback) {
    if (refused(callback)) return;
    background_.push_back({std::move(ops), std::move(callback)});
    pump();
}

void GroupCommit::forget(const std::string& dir) {
    const auto concerns = [&dir](const DiskOp& op) {
        const std::string* path = path_of(op);
        return path != nullptr && is_below(*path, dir);
    };
    for (Item& item : queue_) {
        if (!concerns(item.op)) continue;
        unwritten_bytes_ -= item.bytes;
        item.bytes = 0;
        unclaim(item);
        item.op = SyncOp{};
        item.sink.reset();
    }
    last_write_.clear();
    if (stalled_) std::erase_if(group_ops_, concerns);
    scrub([&dir](const std::string& path) { return is_below(path, dir); });
}

void GroupCommit::request_sync() { sync_due_ = true; }

void GroupCommit::scrub(const std::function<bool(const std::string&)>& gone) {
    std::erase_if(dirty_files_, gone);
    std::erase_if(dirty_dirs_, gone);
    if (!stalled_) return;
    for (DiskOp& op : group_ops_) {
        if (auto* sync = std::get_if<SyncOp>(&op)) {
            std::erase_if(sync->files, gone);
            std::erase_if(sync->dirs, gone);
        }
    }
}

void GroupCommit::note_dirty(const DiskOp& op) {
    std::visit(
        [this](const auto& o) {
            using Op = std::decay_t<decltype(o)>;
            if constexpr (std::is_same_v<Op, WriteOp> || std::is_same_v<Op, TruncateOp>) {
                dirty_files_.insert(o.path);
            } else if constexpr (std::is_same_v<Op, CreateOp>) {
                dirty_files_.insert(o.path);
                dirty_dirs_.insert(parent_of(o.path));
            } else if constexpr (std::is_same_v<Op, MakeDirOp>) {
                dirty_dirs_.insert(parent_of(o.path));
            } else if constexpr (std::is_same_v<Op, RemoveOp>) {
                dirty_files_.erase(o.path);
                dirty_dirs_.erase(o.path);
                dirty_dirs_.insert(parent_of(o.path));
            } else if constexpr (std::is_same_v<Op, RenameOp>) {
                dirty_files_.erase(o.from);
                dirty_dirs_.insert(parent_of(o.from));
                dirty_dirs_.insert(parent_of(o.to));
            }
        },
        op);
}

bool GroupCommit::data_due() const {
    if (sync_due_ && !(queue_.empty() && dirty_files_.empty() && dirty_dirs_.empty())) return true;
    return !queue_.empty() && (kicked_ || !waiters_.empty() || unwritten_bytes_ >= kEagerBytes);
}

void GroupCommit::pump() {
    if (in_flight_ != InFlight::kNone || failed()) return;
    const bool data = !stalled_ && data_due();
    if (!urgent_.empty()) {
        submit_other(urgent_, InFlight::kUrgent);
    } else if (data && (background_.empty() || data_groups_in_a_row_ < kDataGroupsPerBackground)) {
        form_group();
        submit_data();
    } else if (!background_.empty()) {
        data_groups_in_a_row_ = 0;
        submit_other(background_, InFlight::kBackground);
    }
}

void GroupCommit::form_group() {
    ++data_groups_in_a_row_;
    std::uint64_t bytes = 0;
    group_syncs_ = options_.fsync == FsyncPolicy::kGroup || sync_due_;
    while (!queue_.empty() && bytes < options_.group_bytes && group_.size() < options_.group_writes) {
        Item item = std::move(queue_.front());
        queue_.pop_front();
        bytes += item.bytes;
        note_dirty(item.op);
        if (!is_nothing(item.op)) group_ops_.push_back(std::move(item.op));
        const bool barrier = item.barrier;
        group_.push_back(std::move(item));
        if (barrier) {
            group_syncs_ = true;
            break;
        }
    }
    // Numbers taken out may not grow any more.
    if (queue_.empty()) {
        last_write_.clear();
        kicked_ = false;
    } else {
        std::erase_if(last_write_, [&](const auto& w) { return w.second < queue_.front().number; });
    }
    if (group_syncs_) {
        sync_due_ = false;
        if (!dirty_files_.empty() || !dirty_dirs_.empty()) {
            group_ops_.push_back(
                SyncOp{{dirty_files_.begin(), dirty_files_.end()}, {dirty_dirs_.begin(), dirty_dirs_.end()}});
        }
    }
}

void GroupCommit::submit_data() {
    stalled_ = false;
    in_flight_ = InFlight::kData;
    ++submitted_;
    disk_.submit(std::exchange(group_ops_, {}),
                 lifetime_.guard([this](GroupResult result) { data_done(std::move(result)); }));
}

void GroupCommit::submit_other(std::deque<Other>& queue, InFlight kind) {
    Other other = std::move(queue.front());
    queue.pop_front();
    in_flight_ = kind;
    ++submitted_;
    for (const DiskOp& op : other.ops) {
        if (const auto* remove = std::get_if<RemoveOp>(&op)) {
            scrub([remove](const std::string& path) { return path == remove->path; });
        } else if (const auto* rename = std::get_if<RenameOp>(&op)) {
            scrub([rename](const std::string& path) { return is_below(path, rename->from); });
        }
    }
    disk_.submit(std::move(other.ops),
                 lifetime_.guard([this, kind, callback = std::move(other.callback)](GroupResult result) mutable {
                     other_done(kind, std::move(callback), result.status);
                 }));
}

void GroupCommit::data_done(GroupResult result) {
    in_flight_ = InFlight::kNone;
    if (result.status) {
        data_succeeded();
        return;
    }
    // A flush that finds no room has lost something; a write that finds none can be done again.
    const bool in_flush = result.rest.empty() || std::holds_alternative<SyncOp>(result.rest.front());
    if (result.status.error().code == ErrorCode::kDiskFull && !in_flush) {
        if (!full_) log_.error("DISK full: {}", result.status.error().message);
        said_full_ = true;
        group_ops_ = std::move(result.rest);
        stalled_ = true;
        full_ = true;
        pump();
        return;
    }
    fail_all(result.status.error());
}

void GroupCommit::data_succeeded() {
    std::vector<Item> group = std::exchange(group_, {});
    if (!group.empty()) done_number_ = group.back().number;
    std::vector<SyncedMark> synced;
    for (Item& item : group) {
        unwritten_bytes_ -= item.bytes;
        unclaim(item);
        const std::shared_ptr<LogSink> sink = item.sink.lock();
        if (!sink) continue;
        sink->on_written(item.version, item.end);
        unsynced_[sink.get()] = {item.sink, item.version, item.end};
    }
    if (group_syncs_) {
        dirty_files_.clear();
        dirty_dirs_.clear();
        for (auto& [key, mark] : std::exchange(unsynced_, {})) synced.push_back(std::move(mark));
        for (const SyncedMark& mark : synced) {
            if (const auto sink = mark.sink.lock()) sink->on_synced(mark.version, mark.end);
        }
    }
    std::vector<FlushCallback> done;
    for (Item& item : group) {
        if (item.done) done.push_back(std::move(item.done));
    }
    while (!waiters_.empty() && waiters_.front().number <= done_number_) {
        done.push_back(std::move(waiters_.front().callback));
        waiters_.pop_front();
    }
    pump();  // the disk works while the callbacks run
    for (FlushCallback& callback : done) callback({});
}

void GroupCommit::other_done(InFlight kind, FlushCallback callback, const Result<void>& status) {
    in_flight_ = InFlight::kNone;
    if (kind == InFlight::kUrgent && !status && status.error().code != ErrorCode::kDiskFull) {
        fail_all(status.error());
    } else {
        // Background work may have made room.
        if (kind == InFlight::kBackground && stalled_ && urgent_.empty()) submit_data();
        pump();
    }
    if (callback) callback(status);
}

void GroupCommit::fail_all(const Error& error) {
    failure_ = error;
    log_.critical("DISK failed: {}; nothing is reported durable from now on", error.message);
    std::vector<FlushCallback> callbacks;
    const auto take = [&](FlushCallback& callback) {
        if (callback) callbacks.push_back(std::move(callback));
    };
    for (Item& item : group_) take(item.done);
    for (Item& item : queue_) take(item.done);
    for (Waiter& waiter : waiters_) take(waiter.callback);
    for (Other& other : urgent_) take(other.callback);
    for (Other& other : background_) take(other.callback);
    group_.clear();
    group_ops_.clear();
    queue_.clear();
    last_write_.clear();
    waiters_.clear();
    urgent_.clear();
    background_.clear();
    stalled_ = false;
    for (FlushCallback& callback : callbacks) callback(std::unexpected(error));
}

// A user who asks why an acknowledgement took long finds the answer here.
void GroupCommit::watch_speed(TimePoint now) {
    if (in_flight_ == InFlight::kNone || watched_ != submitted_) {
        watched_ = submitted_;
        watched_since_ = now;
        return;
    }
    const protocol::Duration busy = now - *watched_since_;
    if (busy < kSlowGroup || (said_slow_ && now - *said_slow_ < kSaySlowEvery)) return;
    said_slow_ = now;
    log_.warn("DISK slow: one group of writes has been under way for {:.0f} ms; acknowledgements wait for it",
              protocol::milliseconds(busy));
}

void GroupCommit::watch_room() {
    if (disk_full() == said_full_) return;
    said_full_ = full_;
    if (full_)
        log_.error("DISK full: only {} MiB are left on the disk of {}; writes are refused until there is room",
                   disk_.free_bytes() >> 20, options_.dir);
    else
        log_.warn("DISK has room again; writes are accepted");
}

void GroupCommit::tick(TimePoint now) {
    if (failed()) return;
    watch_speed(now);
    watch_room();
    if (options_.fsync == FsyncPolicy::kInterval && !(dirty_files_.empty() && dirty_dirs_.empty()) &&
        (!last_sync_ || now - *last_sync_ >= options_.fsync_interval)) {
        last_sync_ = now;
        sync_due_ = true;
    }
    kicked_ = true;
    if (in_flight_ != InFlight::kNone) return;
    if (stalled_) {
        submit_data();
    } else if (disk_full() && urgent_.empty()) {
        urgent_.push_back({});  // nothing to do, but it brings news of the free space
    }
    pump();
}

std::uint64_t GroupCommit::reserve_bytes() const {
    return std::min(options_.reserve_bytes, disk_.capacity_bytes() / kReserveShareOfDisk);
}

bool GroupCommit::disk_full() const {
    if (stalled_) return true;
    // Once full, a little more must be free before it counts as room: no flapping.
    const std::uint64_t least = reserve_bytes() + claimed_bytes_ + (full_ ? reserve_bytes() / 4 : 0);
    full_ = disk_.free_bytes() < least;
    return full_;
}

bool GroupCommit::has_room(Claim claim, std::uint64_t bytes) const {
    if (stalled_ || (claim == Claim::kRecords && disk_full())) return false;
    const std::uint64_t kept = claim == Claim::kRecords  ? reserve_bytes() / 2
                               : claim == Claim::kGroups ? reserve_bytes() / 4
                                                         : reserve_bytes() / 8;
    return disk_.free_bytes() >= kept + claimed_bytes_ + kBlockBytes + bytes;
}

}  // namespace logstream::storage
