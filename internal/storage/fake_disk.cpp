#include "internal/storage/fake_disk.h"

#include <algorithm>
#include <utility>

namespace logstream::storage {
namespace {

constexpr std::size_t kSectorBytes = 512;

std::vector<std::string> parts_of(const std::string& path) {
    std::vector<std::string> parts;
    std::size_t begin = 0;
    while (begin < path.size()) {
        const std::size_t slash = std::min(path.find('/', begin), path.size());
        if (slash > begin && path.substr(begin, slash - begin) != ".")
            parts.push_back(path.substr(begin, slash - begin));
        begin = slash + 1;
    }
    return parts;
}

std::string name_of(const std::string& path) {
    const auto parts = parts_of(path);
    return parts.empty() ? std::string() : parts.back();
}

std::vector<std::byte> joined(const std::vector<Bytes>& pieces) {
    std::vector<std::byte> all;
    for (const Bytes& piece : pieces) all.insert(all.end(), piece.span().begin(), piece.span().end());
    return all;
}

std::unexpected<Error> no_such(const std::string& path) {
    return protocol::fail(ErrorCode::kDisk, "cannot open {}: no such file or directory", path);
}

}  // namespace

FakeDisk::NodePtr FakeDisk::find(const std::string& path) const {
    NodePtr node = root_;
    for (const std::string& part : parts_of(path)) {
        if (!node->is_dir) return nullptr;
        const auto next = node->names.find(part);
        if (next == node->names.end()) return nullptr;
        node = next->second;
    }
    return node;
}

void FakeDisk::set_names(const std::string& dir, NameChange change) {
    const NodePtr node = find(dir);
    for (const auto& [name, target] : change) {
        if (target) {
            node->names[name] = target;
        } else {
            node->names.erase(name);
        }
    }
    node->name_changes.push_back(std::move(change));
}

FakeDisk::NodePtr FakeDisk::make_file(const std::string& path) {
    if (NodePtr node = find(path)) return node->is_dir ? nullptr : node;
    const NodePtr parent = find(parent_of(path));
    if (!parent || !parent->is_dir) return nullptr;
    auto node = std::make_shared<Node>();
    set_names(parent_of(path), {{name_of(path), node}});
    return node;
}

std::uint64_t FakeDisk::used() const {
    std::uint64_t total = 0;
    std::vector<const Node*> stack{root_.get()};
    while (!stack.empty()) {
        const Node* node = stack.back();
        stack.pop_back();
        total += node->now.size();
        for (const auto& [name, child] : node->names) stack.push_back(child.get());
    }
    return total;
}

std::uint64_t FakeDisk::free_bytes() {
    if (capacity_ == kUnlimited) return kUnlimited;
    const std::uint64_t taken = used();
    return capacity_ > taken ? capacity_ - taken : 0;
}

Result<void> FakeDisk::lock(const std::string& dir) {
    std::string path;
    for (const std::string& part : parts_of(dir)) {
        const std::string parent = path.empty() ? "/" : path;
        path += "/" + part;
        if (!find(path)) {
            if (auto made = run(MakeDirOp{path}); !made) return made;
        }
        flush_node(*find(parent), false);
    }
    if (!locks_.insert(dir).second) {
        return protocol::fail(ErrorCode::kExists, "the data directory {} is in use by another broker", dir);
    }
    return {};
}

Result<std::vector<DirEntry>> FakeDisk::list(const std::string& dir) {
    std::vector<DirEntry> entries;
    const NodePtr node = find(dir);
    if (!node) return entries;
    for (const auto& [name, child] : node->names) entries.push_back({name, child->now.size(), child->is_dir});
    return entries;
}

Result<Bytes> FakeDisk::do_read(const std::string& path, std::uint64_t position, std::size_t length) {
    if (read_fault_) {
        if (auto ok = read_fault_(path); !ok) return std::unexpected(ok.error());
    }
    const NodePtr node = find(path);
    if (!node || node->is_dir) return protocol::fail(ErrorCode::kInvalid, "there is no file {}", path);
    if (position >= node->now.size()) return Bytes();
    const std::size_t n = std::min<std::size_t>(length, node->now.size() - position);
    return Bytes::copy_of(std::span(node->now).subspan(position, n));
}

Result<Bytes> FakeDisk::read_now(const std::string& path, std::uint64_t position, std::size_t length) {
    return do_read(path, position, length);
}

GroupResult FakeDisk::run_now(std::vector<DiskOp> ops) { return run_group(std::move(ops)); }

void FakeDisk::submit(std::vector<DiskOp> ops, GroupCallback callback) {
    writes_.push_back({std::move(ops), std::move(callback)});
    if (on_work_) on_work_(Lane::kWrite);
}

void FakeDisk::submit_beside(std::vector<DiskOp> ops, GroupCallback callback) {
    beside_.push_back({std::move(ops), std::move(callback)});
    if (on_work_) on_work_(Lane::kBeside);
}

void FakeDisk::read(const std::string& path, std::uint64_t position, std::size_t length, ReadCallback callback) {
    reads_.push_back({path, position, length, std::move(callback)});
    if (on_work_) on_work_(Lane::kRead);
}

void FakeDisk::post(std::move_only_function<void()> task) {
    posts_.push_back(std::move(task));
    if (on_work_) on_work_(Lane::kPost);
}

bool FakeDisk::pending(Lane lane) const {
    switch (lane) {
        case Lane::kWrite:
            return !writes_.empty();
        case Lane::kBeside:
            return !beside_.empty();
        case Lane::kRead:
            return !reads_.empty();
        case Lane::kPost:
            return !posts_.empty();
    }
    return false;
}

void FakeDisk::step_group(std::deque<Group>& groups) {
    Group group = std::move(groups.front());
    groups.pop_front();
    ++groups_;
    GroupResult result = run_group(std::move(group.ops));
    group.callback(std::move(result));
}

bool FakeDisk::step(Lane lane) {
    if (!pending(lane)) return false;
    switch (lane) {
        case Lane::kWrite:
            step_group(writes_);
            break;
        case Lane::kBeside:
            step_group(beside_);
            break;
        case Lane::kRead: {
            Read read = std::move(reads_.front());
            reads_.pop_front();
            read.callback(do_read(read.path, read.position, read.length));
            break;
        }
        case Lane::kPost: {
            auto task = std::move(posts_.front());
            posts_.pop_front();
            task();
            break;
        }
    }
    return true;
}

bool FakeDisk::step_any() {
    const std::uint64_t first = draw(kLanes);
    for (std::uint64_t i = 0; i < kLanes; ++i) {
        if (step(static_cast<Lane>((first + i) % kLanes))) return true;
    }
    return false;
}

void FakeDisk::run() {
    while (step(Lane::kPost) || step(Lane::kRead) || step(Lane::kBeside) || step(Lane::kWrite)) {
    }
}

GroupResult FakeDisk::run_group(std::vector<DiskOp> ops) {
    std::size_t done = 0;
    Result<void> status;
    while (done < ops.size()) {
        status = run_op(ops[done]);
        if (!status) break;
        ++done;
    }
    ops.erase(ops.begin(), ops.begin() + static_cast<std::ptrdiff_t>(done));
    return {std::move(status), std::move(ops)};
}

Result<void> FakeDisk::run_op(const DiskOp& op) {
    if (fault_) {
        if (auto ok = fault_(op); !ok) {
            if (const auto* sync = std::get_if<SyncOp>(&op)) {
                for (const std::string& file : sync->files) {
                    if (const NodePtr node = find(file)) flush_node(*node, true);
                }
            } else {
                tear_one(op);
            }
            return ok;
        }
    }
    return std::visit([this](const auto& o) { return run(o); }, op);
}

void FakeDisk::apply(std::vector<std::byte>& bytes, const FileChange& change) {
    if (const auto* cut = std::get_if<FileCut>(&change)) {
        bytes.resize(cut->size);
        return;
    }
    const auto& write = std::get<FileWrite>(change);
    if (write.bytes.empty()) return;
    if (bytes.size() < write.position + write.bytes.size()) bytes.resize(write.position + write.bytes.size());
    std::ranges::copy(write.bytes, bytes.begin() + static_cast<std::ptrdiff_t>(write.position));
}

Result<void> FakeDisk::run(const WriteOp& op) {
    const NodePtr node = make_file(op.path);
    if (!node) return no_such(op.path);
    FileWrite write{op.position, joined(op.pieces)};
    const std::uint64_t end = op.position + write.bytes.size();
    const std::uint64_t growth = end > node->now.size() ? end - node->now.size() : 0;
    if (growth > free_bytes()) {
        // A part fits.
        const std::uint64_t fits =
            std::min<std::uint64_t>(write.bytes.size(), write.bytes.size() - growth + free_bytes());
        write.bytes.resize(draw(fits + 1));
        apply(node->now, write);
        node->changes.emplace_back(std::move(write));
        return protocol::fail(ErrorCode::kDiskFull, "cannot write {}: no space left on device", op.path);
    }
    apply(node->now, write);
    node->changes.emplace_back(std::move(write));
    return {};
}

Result<void> FakeDisk::run(const TruncateOp& op) {
    const NodePtr node = find(op.path);
    if (!node || node->is_dir) return no_such(op.path);
    apply(node->now, FileCut{op.size});
    node->changes.emplace_back(FileCut{op.size});
    return {};
}

Result<void> FakeDisk::run(const CreateOp& op) {
    const NodePtr node = make_file(op.path);
    if (!node) return no_such(op.path);
    if (!node->now.empty()) {
        node->now.clear();
        node->changes.emplace_back(FileCut{0});
    }
    return {};
}

Result<void> FakeDisk::run(const MakeDirOp& op) {
    if (find(op.path)) return {};
    const NodePtr parent = find(parent_of(op.path));
    if (!parent || !parent->is_dir) return no_such(op.path);
    auto node = std::make_shared<Node>();
    node->is_dir = true;
    set_names(parent_of(op.path), {{name_of(op.path), node}});
    return {};
}

Result<void> FakeDisk::run(const RemoveOp& op) {
    const NodePtr node = find(op.path);
    if (!node) return {};
    if (node->is_dir && !node->names.empty()) {
        return protocol::fail(ErrorCode::kDisk, "cannot remove {}: directory not empty", op.path);
    }
    set_names(parent_of(op.path), {{name_of(op.path), nullptr}});
    return {};
}

Result<void> FakeDisk::run(const RenameOp& op) {
    const NodePtr node = find(op.from);
    if (!node) {
        if (find(op.to)) return {};
        return no_such(op.from);
    }
    LS_ASSERT(parent_of(op.from) == parent_of(op.to));
    set_names(parent_of(op.from), {{name_of(op.from), nullptr}, {name_of(op.to), node}});
    return {};
}

Result<void> FakeDisk::run(const ReplaceOp& op) {
    const std::string temporary = op.path + ".tmp";
    if (auto made = run(CreateOp{temporary}); !made) return made;
    if (auto written = run(WriteOp{temporary, 0, op.pieces}); !written) {
        (void)run(RemoveOp{temporary});
        return written;
    }
    flush_node(*find(temporary), false);
    if (auto renamed = run(RenameOp{temporary, op.path}); !renamed) return renamed;
    flush_node(*find(parent_of(op.path)), false);
    flushes_ += 2;
    return {};
}

Result<void> FakeDisk::run(const SyncOp& op) {
    if (op.files.size() + op.dirs.size() > kMaxSeparateFlushes) {
        flush_all(*root_, false);
        ++flushes_;
        return {};
    }
    for (const auto* names : {&op.files, &op.dirs}) {
        for (const std::string& name : *names) {
            const NodePtr node = find(name);
            if (!node) return no_such(name);
            flush_node(*node, false);
            ++flushes_;
        }
    }
    return {};
}

void FakeDisk::flush_node(Node& node, bool lost) {
    if (!lost) {
        for (const FileChange& change : node.changes) apply(node.flushed, change);
        node.flushed_names = node.names;
    }
    node.changes.clear();
    if (!lost) node.name_changes.clear();
}

void FakeDisk::flush_all(Node& node, bool lost) {
    flush_node(node, lost);
    for (const auto& [name, child] : node.names) flush_all(*child, lost);
}

void FakeDisk::tear_one(const DiskOp& op) {
    if (const auto* write = std::get_if<WriteOp>(&op)) {
        const NodePtr node = make_file(write->path);
        if (!node) return;
        FileWrite part{write->position, joined(write->pieces)};
        part.bytes.resize(draw(part.bytes.size() + 1));
        apply(node->now, part);
        node->changes.emplace_back(std::move(part));
    } else if (const auto* replace = std::get_if<ReplaceOp>(&op)) {
        tear_one(WriteOp{replace->path + ".tmp", 0, replace->pieces});
    }
}

// Of what is under way some is done, and one operation in part.
void FakeDisk::tear_first(std::deque<Group>& groups) {
    if (groups.empty()) return;
    const auto ops = std::move(groups.front().ops);
    groups.clear();
    const std::uint64_t whole = draw(ops.size() + 1);
    for (std::uint64_t i = 0; i < whole; ++i) {
        if (!run_op(ops[i])) break;
    }
    if (whole < ops.size()) tear_one(ops[whole]);
}

FakeDisk::NodePtr FakeDisk::copy_of(const Node& node) {
    auto copy = std::make_shared<Node>();
    copy->is_dir = node.is_dir;
    copy->now = copy->flushed = node.now;
    for (const auto& [name, child] : node.names) copy->names[name] = copy_of(*child);
    copy->flushed_names = copy->names;
    return copy;
}

FakeDisk::Image FakeDisk::image() const {
    Image out;
    out.root_ = copy_of(*root_);
    return out;
}

void FakeDisk::restore(const Image& image) {
    root_ = copy_of(*image.root_);
    boot_ = random_();
}

void FakeDisk::crash(Crash kind) {
    tear_first(writes_);
    tear_first(beside_);
    reads_.clear();
    posts_.clear();
    locks_.clear();
    if (kind == Crash::kProcess) return;
    ++boot_;
    lose_unflushed(*root_);
}

void FakeDisk::lose_unflushed(Node& node) {
    if (node.is_dir) {
        const std::uint64_t kept = draw(node.name_changes.size() + 1);
        for (std::uint64_t i = 0; i < kept; ++i) {
            for (const auto& [name, target] : node.name_changes[i]) {
                if (target) {
                    node.flushed_names[name] = target;
                } else {
                    node.flushed_names.erase(name);
                }
            }
        }
        node.names = node.flushed_names;
        node.name_changes.clear();
        for (const auto& [name, child] : node.names) lose_unflushed(*child);
        return;
    }
    // One file: everything, nothing, or each sector by itself.
    const std::uint64_t keep_of_four = draw(5);
    for (const FileChange& change : node.changes) {
        const auto* write = std::get_if<FileWrite>(&change);
        if (write == nullptr) {
            if (draw(4) < keep_of_four) apply(node.flushed, change);
            continue;
        }
        std::size_t from = 0;
        while (from < write->bytes.size()) {
            const std::size_t in_sector = kSectorBytes - (write->position + from) % kSectorBytes;
            const std::size_t n = std::min(in_sector, write->bytes.size() - from);
            if (draw(4) < keep_of_four) {
                const auto begin = write->bytes.begin() + static_cast<std::ptrdiff_t>(from);
                apply(node.flushed, FileWrite{write->position + from, {begin, begin + static_cast<std::ptrdiff_t>(n)}});
            }
            from += n;
        }
    }
    node.now = node.flushed;
    node.changes.clear();
}

void FakeDisk::flip(const std::string& path, std::uint64_t bit) {
    const NodePtr node = find(path);
    LS_ASSERT(node && bit / 8 < node->now.size());
    const auto mask = static_cast<std::byte>(1u << (bit % 8));
    node->now[bit / 8] ^= mask;
    if (bit / 8 < node->flushed.size()) node->flushed[bit / 8] ^= mask;
}

void FakeDisk::resize(const std::string& path, std::uint64_t size) {
    const NodePtr node = find(path);
    LS_ASSERT(node && !node->is_dir);
    node->now.resize(size);
    node->flushed = node->now;
    node->changes.clear();
}

void FakeDisk::remove(const std::string& path) {
    const NodePtr parent = find(parent_of(path));
    LS_ASSERT(parent);
    parent->names.erase(name_of(path));
    parent->flushed_names.erase(name_of(path));
}

std::vector<std::string> FakeDisk::files() const {
    std::vector<std::string> paths;
    std::vector<std::pair<std::string, const Node*>> stack{{"", root_.get()}};
    while (!stack.empty()) {
        const auto [path, node] = stack.back();
        stack.pop_back();
        if (!node->is_dir) paths.push_back(path);
        for (const auto& [name, child] : node->names) stack.emplace_back(path + "/" + name, child.get());
    }
    std::ranges::sort(paths);
    return paths;
}

std::vector<std::byte> FakeDisk::content(const std::string& path) const {
    const NodePtr node = find(path);
    LS_ASSERT(node && !node->is_dir);
    return node->now;
}

void FakeDisk::put(const std::string& path, std::vector<std::byte> content) {
    const NodePtr node = make_file(path);
    LS_ASSERT(node);
    node->now = std::move(content);
    node->flushed = node->now;
    node->changes.clear();
    flush_node(*find(parent_of(path)), false);
}

}  // namespace logstream::storage
