// One file of a stream's log: what the store knows about it in memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "internal/protocol/ids.h"
#include "internal/protocol/time.h"
#include "internal/storage/sparse_index.h"

namespace logstream::storage {

// Bytes [from_position, to_position) of a segment cannot be read; they held offsets [from, to).
struct SegmentDamage {
    Offset from;
    Offset to;
    std::uint64_t from_position{};
    std::uint64_t to_position{};
    friend bool operator==(const SegmentDamage&, const SegmentDamage&) = default;
};

// One moment, by the clock on the wall, which may be set, and by the one that only goes on.
struct WallClock {
    std::int64_t ms{};  // since 1970
    protocol::TimePoint steady;
};

struct Segment {
    Offset base;                 // of its first record, if it has one
    std::uint32_t generation{};  // how often it was rewritten (compaction, repair)
    std::string stem;            // path without ".log"
    std::uint64_t size{};        // where the next entry goes
    std::uint64_t written{};     // the part of it that the operating system has
    std::uint64_t file_end{};    // of the newest segment: the file's size; beyond `size` there is room (see room.h)
    AppendSpan appended;
    bool appended_known{true};          // false: a closed segment whose index has not been read
    std::optional<WallClock> grown_at;  // when it was last seen to have grown, in this run of the process
    bool tables_written{true};          // false: the file with the tables as of `base` is not there yet
    SparseIndex index;                  // of the newest segment only; the others' are in the IndexCache
    // Rising. One without offsets is junk between two entries, to be jumped over.
    std::vector<SegmentDamage> damage;

    // The first one that holds offsets; nullptr when there is none.
    const SegmentDamage* first_damage() const {
        const auto found = std::ranges::find_if(damage, [](const SegmentDamage& d) { return d.from < d.to; });
        return found == damage.end() ? nullptr : &*found;
    }

    std::string log_path() const { return stem + ".log"; }
    std::string index_path() const { return stem + ".index"; }
};

// "<dir>/<20 digits of base>[.<generation>]"
std::string segment_stem(const std::string& dir, Offset base, std::uint32_t generation);
// The tables as of a segment's base, beside it. It does not depend on the generation.
std::string segment_tables_path(const std::string& dir, Offset base);

enum class FileKind : std::uint8_t { kLog, kIndex, kTables, kOther };
struct FileName {
    FileKind kind{FileKind::kOther};
    Offset base;
    std::uint32_t generation{};
};
FileName parse_file_name(std::string_view name);

}  // namespace logstream::storage
