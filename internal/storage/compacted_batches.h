// What compaction makes of batches: of the records with one key the last stays. Pure; who reads and writes segments is
// compaction.h.
//
// Offsets stay, and so does the rule that batches follow one another without a gap: neighbouring batches of one view
// become one batch that spans their offsets and lacks some of the records (Kafka's last offset delta allows that). So
// do those of one producer, as long as its sequence numbers go on from one to the next: they hang on the offsets, so
// the tables that are made of the log stay the same. Where all of it is superseded a *stub* remains: a control batch,
// which readers skip, with the offsets and sequences of what it stands for. Orphans (their keys name each one), the
// brokers' own control batches, and what cannot be decoded are left alone.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "internal/protocol/record_batch.h"
#include "internal/storage/entry.h"

namespace logstream::storage {

// A key's name in the map: 128 bits of its XXH3, so that memory does not depend on the keys' sizes.
struct KeyHash {
    std::uint64_t low{};
    std::uint64_t high{};
    friend bool operator==(const KeyHash&, const KeyHash&) = default;
};
KeyHash hash_key(std::string_view key);

// Where each key stands last.
class LastOffsets {
public:
    static constexpr std::size_t kMaxKeys = 8u << 20;
    // Takes in a batch's keys; none of one that cannot be decoded, since no reader gets past it. False when there is no
    // room for another key.
    bool add(const protocol::BatchView& batch);
    bool superseded(const protocol::Record& record) const;

private:
    struct Hasher {
        std::size_t operator()(const KeyHash& key) const noexcept { return key.low; }
    };
    std::unordered_map<KeyHash, Offset, Hasher> last_;
    std::vector<std::pair<KeyHash, Offset>> of_batch_;  // scratch
};

struct StoredBatch {
    protocol::BatchView batch;
    std::int64_t appended_ms{};  // see EntryHeader; of several that became one, the greatest
};

// A segment's batches without what is superseded; nullopt when nothing is.
Result<std::optional<std::vector<StoredBatch>>> compact_batches(const std::vector<StoredBatch>& batches,
                                                                const LastOffsets& last);

// Stands for records that are all superseded. A broker's control batch, a producer's fence, has no sequence.
bool is_stub(const protocol::BatchView& batch);

// What a reader at `from` gets of a batch that was merged and begins before it: a batch of the records from there on,
// with `from` as its base offset. A replica whose log ends within what its peers have merged since goes on with that.
// Any other batch comes back as it is.
Bytes trim_batch(const Bytes& batch, Offset from);

}  // namespace logstream::storage
