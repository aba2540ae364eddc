// A disk in memory for tests and the simulator. Nothing happens until the test takes a step; a crash keeps what was
// flushed and loses, keeps or tears the rest, as a seed decides; errors, a full disk and rot are made to order.
//
// What it models, on the pessimistic side of real file systems: a write that is not flushed survives a power cut sector
// by sector or not; a name in a directory that is not flushed survives if all earlier changes of that directory do; a
// flush that fails loses what it should have flushed, though reads still show it (as Linux does); a killed process
// loses nothing that was carried out, and the operation under way is torn at any byte.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "internal/storage/disk.h"

namespace logstream::storage {

class FakeDisk final : public Disk {
    struct Node;

public:
    // All that a disk holds at some moment.
    class Image {
        friend class FakeDisk;
        std::shared_ptr<const Node> root_;
    };
    enum class Lane : std::uint8_t { kWrite, kBeside, kRead, kPost };
    static constexpr std::uint64_t kLanes = 4;
    enum class Crash : std::uint8_t { kProcess, kMachine };

    explicit FakeDisk(std::uint64_t seed = 1) : random_(seed) {}

    Result<void> lock(const std::string& dir) override;
    Result<std::vector<DirEntry>> list(const std::string& dir) override;
    Result<Bytes> read_now(const std::string& path, std::uint64_t position, std::size_t length) override;
    GroupResult run_now(std::vector<DiskOp> ops) override;
    std::string boot_id() override { return "boot-" + std::to_string(boot_); }
    void submit(std::vector<DiskOp> ops, GroupCallback callback) override;
    void submit_beside(std::vector<DiskOp> ops, GroupCallback callback) override;
    void read(const std::string& path, std::uint64_t position, std::size_t length, ReadCallback callback) override;
    void post(std::move_only_function<void()> task) override;
    std::uint64_t free_bytes() override;
    std::uint64_t capacity_bytes() override { return capacity_; }

    // Carries out the first thing that waits in a lane, and its callback. False when nothing waits.
    bool step(Lane lane);
    bool pending(Lane lane) const;
    // Everything, and what follows from it.
    void run();
    // A random thing that waits.
    bool step_any();
    // Called at every submit, read and post: a simulator puts a step of that lane on its clock.
    void set_on_work(std::function<void(Lane)> on_work) { on_work_ = std::move(on_work); }

    // The user of the disk is gone: what it queued is dropped but for a beginning of it, callbacks never run, locks are
    // released. kMachine also loses what was not flushed.
    void crash(Crash kind);
    // The user stopped in order; as a process crash when nothing is queued.
    void stop() { crash(Crash::kProcess); }
    // Says whether an operation fails, and how. A failing write has written a part, a failing flush has lost its data.
    void set_fault(std::function<Result<void>(const DiskOp&)> fault) { fault_ = std::move(fault); }
    void set_read_fault(std::function<Result<void>(const std::string& path)> fault) { read_fault_ = std::move(fault); }
    void set_capacity(std::uint64_t bytes) { capacity_ = bytes; }
    // Flips one bit of a file, flushed or not.
    void flip(const std::string& path, std::uint64_t bit);
    // Cuts or (with zeros) lengthens a file, flushed.
    void resize(const std::string& path, std::uint64_t size);
    void remove(const std::string& path);

    // Paths of all files, rising.
    std::vector<std::string> files() const;
    std::vector<std::byte> content(const std::string& path) const;
    // Puts a file there, flushed; its directory exists.
    void put(const std::string& path, std::vector<std::byte> content);
    // What is on the disk now, as a backup would have it.
    Image image() const;
    // Becomes a disk with that content, as after a start of the machine.
    void restore(const Image& image);
    std::uint64_t flushes() const { return flushes_; }
    std::uint64_t groups() const { return groups_; }

private:
    using NodePtr = std::shared_ptr<Node>;
    using Names = std::map<std::string, NodePtr>;
    struct FileWrite {
        std::uint64_t position{};
        std::vector<std::byte> bytes;
    };
    struct FileCut {
        std::uint64_t size{};
    };
    using FileChange = std::variant<FileWrite, FileCut>;
    // Names that one operation set (or took away: nullptr), as one.
    using NameChange = std::vector<std::pair<std::string, NodePtr>>;
    struct Node {
        bool is_dir{false};
        std::vector<std::byte> now;
        std::vector<std::byte> flushed;
        std::vector<FileChange> changes;  // since the last flush
        Names names;
        Names flushed_names;
        std::vector<NameChange> name_changes;
    };
    struct Group {
        std::vector<DiskOp> ops;
        GroupCallback callback;
    };
    struct Read {
        std::string path;
        std::uint64_t position{};
        std::size_t length{};
        ReadCallback callback;
    };

    NodePtr find(const std::string& path) const;
    NodePtr make_file(const std::string& path);
    void set_names(const std::string& dir, NameChange change);
    std::uint64_t used() const;
    std::uint64_t draw(std::uint64_t below) { return below == 0 ? 0 : random_() % below; }
    static NodePtr copy_of(const Node& node);
    void step_group(std::deque<Group>& groups);
    void tear_first(std::deque<Group>& groups);
    GroupResult run_group(std::vector<DiskOp> ops);
    Result<void> run_op(const DiskOp& op);
    Result<void> run(const WriteOp& op);
    Result<void> run(const TruncateOp& op);
    Result<void> run(const CreateOp& op);
    Result<void> run(const MakeDirOp& op);
    Result<void> run(const RemoveOp& op);
    Result<void> run(const RenameOp& op);
    Result<void> run(const ReplaceOp& op);
    Result<void> run(const SyncOp& op);
    void flush_node(Node& node, bool lost);
    void flush_all(Node& node, bool lost);
    void tear_one(const DiskOp& op);
    void lose_unflushed(Node& node);
    static void apply(std::vector<std::byte>& bytes, const FileChange& change);
    Result<Bytes> do_read(const std::string& path, std::uint64_t position, std::size_t length);

    std::mt19937_64 random_;
    std::uint64_t boot_{1};
    static constexpr std::uint64_t kUnlimited = 1ull << 50;
    std::uint64_t capacity_{kUnlimited};
    NodePtr root_ = [] {
        auto root = std::make_shared<Node>();
        root->is_dir = true;
        return root;
    }();
    std::set<std::string> locks_;
    std::deque<Group> writes_;
    std::deque<Group> beside_;
    std::deque<Read> reads_;
    std::deque<std::move_only_function<void()>> posts_;
    std::function<void(Lane)> on_work_;
    std::function<Result<void>(const DiskOp&)> fault_;
    std::function<Result<void>(const std::string&)> read_fault_;
    std::uint64_t flushes_{0};
    std::uint64_t groups_{0};
};

}  // namespace logstream::storage
