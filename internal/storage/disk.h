// The one door between the log and a real disk. `PosixDisk` implements it with threads; `FakeDisk` in memory, with
// crashes and faults, for tests and the simulator. It knows files and bytes, no records.
//
// Files are named by path; implementations keep what handles they need. One thread (the event loop) makes every call
// and runs every callback; no callback runs inside the call that caused it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "internal/protocol/bytes.h"
#include "internal/protocol/error.h"

namespace logstream::storage {

using protocol::Bytes;
using protocol::Error;
using protocol::ErrorCode;
using protocol::Result;

// Small files (tables, indexes) are read whole; a larger one is not ours.
inline constexpr std::size_t kMaxSmallFileBytes = std::size_t{1} << 30;

// Of a read's error: there is no such file. Any other says nothing about what the file holds.
inline bool is_missing(const Error& error) { return error.code == ErrorCode::kInvalid; }

// Writes `pieces` one after another from `position` on. Creates the file if it is not there.
struct WriteOp {
    std::string path;
    std::uint64_t position{};
    std::vector<Bytes> pieces;
};
// Cuts the file to `size` bytes; a file that is not there is an error.
struct TruncateOp {
    std::string path;
    std::uint64_t size{};
};
// Makes an empty file; one that is there is emptied.
struct CreateOp {
    std::string path;
};
// Makes a directory; one that is there is fine.
struct MakeDirOp {
    std::string path;
};
// Removes a file or an empty directory; nothing there is fine.
struct RemoveOp {
    std::string path;
};
// Renames over whatever `to` names. When `from` is not there and `to` is, it has been done before: fine.
struct RenameOp {
    std::string from;
    std::string to;
};
// Replaces the whole file: writes `path`.tmp, flushes it, renames it over `path` and flushes the directory. After a
// crash the old or the new content is there, never a mixture; after success it is the new one.
struct ReplaceOp {
    std::string path;
    std::vector<Bytes> pieces;
};
// Flushes files (data, and the size and extents needed to read it back) and directories (their entries). What is
// flushed survives a power cut. With more than `kMaxSeparateFlushes` names in all, one flush of the whole file system
// does it, so that a group costs a bounded number of flushes however many streams are active.
struct SyncOp {
    std::vector<std::string> files;
    std::vector<std::string> dirs;
};
inline constexpr std::size_t kMaxSeparateFlushes = 8;

using DiskOp = std::variant<WriteOp, TruncateOp, CreateOp, MakeDirOp, RemoveOp, RenameOp, ReplaceOp, SyncOp>;

// How a group of operations went. The first that fails ends the group: those before it were carried out, it perhaps in
// part, those after it not at all.
struct GroupResult {
    Result<void> status;
    std::vector<DiskOp> rest;  // the one that failed and those after it, so that the caller may try them again
};

struct DirEntry {
    std::string name;
    std::uint64_t size{};
    bool is_dir{};
    friend bool operator==(const DirEntry&, const DirEntry&) = default;
};

// Errors everywhere: kDiskFull when there is no room (nothing is lost but the operation, which may be tried again),
// else kDisk; the message names the path and the system's reason.
class Disk {
public:
    using GroupCallback = std::move_only_function<void(GroupResult)>;
    using ReadCallback = std::move_only_function<void(Result<Bytes>)>;
    virtual ~Disk() = default;

    // Blocking calls, for start-up only.

    // Makes `dir` with its parents if needed and takes it for this process alone until the Disk is destroyed. Fails
    // with kExists and a message for the user when another broker holds it.
    virtual Result<void> lock(const std::string& dir) = 0;
    // Entries of a directory, sorted by name. A directory that is not there is empty.
    virtual Result<std::vector<DirEntry>> list(const std::string& dir) = 0;
    // Up to `length` bytes; fewer at the end of the file. A file that is not there is kInvalid.
    virtual Result<Bytes> read_now(const std::string& path, std::uint64_t position, std::size_t length) = 0;
    // Carries out a group before it returns. Not to be mixed with submitted groups that have not completed.
    virtual GroupResult run_now(std::vector<DiskOp> ops) = 0;
    // Names this start of the machine: a process that was killed finds the value it had before, a machine that went
    // down does not.
    virtual std::string boot_id() = 0;

    // The write lane: groups are carried out in the order submitted, one operation after another.
    virtual void submit(std::vector<DiskOp> ops, GroupCallback callback) = 0;

    // Beside the write lane, in order among themselves: for what must not wait for a long group. ReplaceOp and RemoveOp
    // of files that no other lane touches.
    virtual void submit_beside(std::vector<DiskOp> ops, GroupCallback callback) = 0;

    // The read lane: in order among themselves, at the same time as writes.
    // Up to `length` bytes; fewer at the end of the file.
    virtual void read(const std::string& path, std::uint64_t position, std::size_t length, ReadCallback callback) = 0;

    // Runs `task` from the event loop, after the running call has returned.
    virtual void post(std::move_only_function<void()> task) = 0;

    // Room on the file system of the locked directory, as of a group that completed lately. Cheap.
    virtual std::uint64_t free_bytes() = 0;
    // The size of that file system. Cheap.
    virtual std::uint64_t capacity_bytes() = 0;
};

// The directory part of a path; "." when it has none.
std::string parent_of(const std::string& path);
// Bytes of all pieces together.
std::uint64_t size_of(const std::vector<Bytes>& pieces);

}  // namespace logstream::storage
