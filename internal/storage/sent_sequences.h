// What a named producer has in a stream's log: which of its sequences, and the sum of what these records contain. It
// goes through all instances of the name that went on with one thing (a file, say); one that begins anew begins it
// anew.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "internal/storage/byte_codec.h"

namespace logstream::storage {

// Sequences count on past 2^31 here.
struct SequenceRange {
    std::int64_t first{};
    std::int64_t last{};
    friend bool operator==(const SequenceRange&, const SequenceRange&) = default;
};

class SentSequences {
public:
    // Beyond, it is not known any more which are missing.
    static constexpr std::size_t kMaxMissing = 64;

    // Nothing is there yet; the next sequence is the first one.
    void begin_anew();
    // A batch was appended. `content`: see protocol::content_of; nullopt: not known.
    void take(SequenceRange batch, std::optional<std::uint64_t> content);

    std::int64_t first() const { return first_; }
    std::int64_t next() const { return next_; }
    // Holes below `next`, rising. An orphan fills one, or an instance that resumes.
    const std::vector<SequenceRange>& missing() const { return missing_; }
    // The missing one that begins at or holds `sequence`, or the next one behind it; nullptr: none.
    const SequenceRange* missing_from(std::int64_t sequence) const;
    bool missing_known() const { return missing_known_; }
    bool lacks_any(SequenceRange range) const;
    // The sum over all that is there; nullopt: not known (records of an older version, or taken out by compaction).
    std::optional<std::uint64_t> content() const;

    void encode(ByteWriter& out) const;
    // False when the bytes make no sense.
    bool decode(ByteReader& in);
    // What a snapshot of the older format tells: no more than the last sequence.
    void restore(std::int64_t next);
    friend bool operator==(const SentSequences&, const SentSequences&) = default;

private:
    std::int64_t first_{};
    std::int64_t next_{};
    std::vector<SequenceRange> missing_;
    bool missing_known_{true};
    bool content_known_{true};
    std::uint64_t content_{};
};

// More than any producer sends; bytes that claim more make no sense.
inline constexpr std::int64_t kMaxSequence = std::int64_t{1} << 62;

}  // namespace logstream::storage
