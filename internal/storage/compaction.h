// Compaction of one stream: of the records with one key the last stays. Closed segments are read twice, once to learn
// where each key stands last and once to write those anew that hold something superseded.
//
// Offsets stay, and so does the rule that batches follow one another without a gap: neighbouring batches of one view
// become one batch that spans their offsets and lacks some of the records (Kafka's last offset delta allows that).
// Batches with a producer id are thinned one by one, since their sequence numbers hang on their offsets; orphans and
// control batches are left alone. A batch cannot be empty, so one superseded record stays where all are; one that may
// be merged keeps the record at its end in any case (see trim_batch).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "internal/protocol/record_batch.h"
#include "internal/storage/stream_log.h"

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
    // False when there is no room for another key.
    bool add(const protocol::BatchView& batch);
    bool superseded(const protocol::Record& record) const;

private:
    struct Hasher {
        std::size_t operator()(const KeyHash& key) const noexcept { return key.low; }
    };
    std::unordered_map<KeyHash, Offset, Hasher> last_;
};

// A segment's batches without what is superseded, none of them empty; nullopt when nothing is. kCorrupt when a batch
// cannot be decoded.
Result<std::optional<std::vector<Bytes>>> compact_batches(const std::vector<protocol::BatchView>& batches,
                                                          const LastOffsets& last);

// What a reader at `from` gets of a batch that was merged and begins before it: a batch of the records from there on,
// with `from` as its base offset. A replica whose log ends within what its peers have merged since goes on with that.
// Any other batch comes back as it is.
Bytes trim_batch(const Bytes& batch, Offset from);

class Compaction : public std::enable_shared_from_this<Compaction> {
public:
    // See StreamLog::compact.
    static void start(const std::shared_ptr<StreamLog>& log, Offset below, FlushCallback callback);

private:
    enum class Pass : std::uint8_t { kLearn, kRewrite };
    void next();
    void look_at(Result<Bytes> data);
    void finish(Result<void> status);

    std::weak_ptr<StreamLog> log_;
    FlushCallback callback_;
    std::vector<Offset> bases_;  // of the segments concerned
    Offset end_;                 // of the last of them
    std::size_t at_{0};
    Pass pass_{Pass::kLearn};
    LastOffsets last_;
    std::uint64_t version_{};
};

}  // namespace logstream::storage
