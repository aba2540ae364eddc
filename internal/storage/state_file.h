// The node's small state as one file: replaced as a whole, flushed always, and never taken for absent when it is
// damaged. Its name counts how often it was written and its content says the same, so that the content of an older
// moment put in the place of the newest counts as damaged, too.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "internal/protocol/bytes.h"
#include "internal/protocol/error.h"
#include "internal/protocol/lifetime.h"
#include "internal/storage/group_commit.h"

namespace logstream::storage {

// A checksummed file around `content`: magic, version, length, CRC-32C.
Bytes seal(std::uint32_t magic, const Bytes& content);
// The content; kCorrupt when bytes are damaged, missing or surplus, or the version is not known.
Result<Bytes> unseal(std::uint32_t magic, const Bytes& file, const std::string& path);

class StateFile {
public:
    // The files are `dir`/state.1, state.2, …; only the newest is kept.
    StateFile(Disk& disk, GroupCommit& commit, std::string dir) : disk_(disk), commit_(commit), dir_(std::move(dir)) {}
    // Start-up only. A file that is there and damaged is no error here: see damaged().
    Result<void> load();
    void save(Bytes state, FlushCallback callback);
    const std::optional<Bytes>& content() const { return content_; }
    bool damaged() const { return damaged_; }
    void set_damaged() { damaged_ = true; }

private:
    void start();
    std::string path_of(std::uint64_t generation) const;

    Disk& disk_;
    GroupCommit& commit_;
    std::string dir_;
    std::uint64_t generation_{};          // of the newest file that is there for certain
    std::uint64_t tried_{};               // the same, or of one that may be there
    std::vector<std::string> leftovers_;  // older files, to be removed when the next one is written
    std::optional<Bytes> content_;
    bool damaged_{false};
    bool saving_{false};
    std::optional<Bytes> next_;  // the newest that waits; older ones that wait are superseded by it
    std::vector<FlushCallback> waiting_;
    protocol::Lifetime lifetime_;
};

}  // namespace logstream::storage
