// What each idempotent producer has appended to one stream: how a retry is told from a new batch, and whether an
// orphan's records stand in the log already. A function of the log's content alone, so every replica holds the same.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "internal/protocol/bytes.h"
#include "internal/protocol/error.h"
#include "internal/protocol/ids.h"
#include "internal/protocol/record_batch.h"
#include "internal/storage/byte_codec.h"

namespace logstream::storage {

using protocol::Offset;
using protocol::ProducerId;

// The fields of a batch that matter here. Sequence numbers are Kafka's: one a record, from 0, modulo 2^31.
struct ProducerBatch {
    ProducerId producer{protocol::kNoProducer};
    std::int16_t epoch{-1};
    std::int32_t base_sequence{-1};
    std::int32_t last_sequence{-1};
    // It opens its epoch and has no records of its producer; see protocol::kResumeSequence.
    bool is_fence() const { return producer != protocol::kNoProducer && base_sequence < 0; }
    bool resumes() const { return producer != protocol::kNoProducer && base_sequence == protocol::kResumeSequence; }
    friend bool operator==(const ProducerBatch&, const ProducerBatch&) = default;
};

enum class SequenceCheck : std::uint8_t {
    kNew,        // the next one: append it
    kDuplicate,  // stands in the log; its base offset is given if it is one of the producer's last five
    kGap,        // something its producer sent earlier is missing (or it overlaps, or comes too late for FIFO order)
    kFenced,     // a newer epoch of this producer has been seen
};
struct CheckResult {
    SequenceCheck verdict{};
    std::optional<Offset> duplicate_of;  // base offset; kDuplicate only
};

enum class Standing : std::uint8_t {
    kAbsent,
    kPresent,
    kSentAgain,  // by a later instance that resumed: it stands in the log, or will when that one is through
    kForgotten,  // too many producers have come since, or epochs or gaps of this one: only the log itself tells
};

class ProducerTable {
public:
    static constexpr std::size_t kRecentBatches = 5;
    static constexpr std::size_t kMaxGaps = 16;     // beyond, the oldest gap is forgotten: a retry counts as appended
    static constexpr std::size_t kOlderEpochs = 8;  // beyond, the oldest epoch is forgotten

    // Keeps at most `limit` producers; the one whose last append lies furthest back is forgotten first, and as long as
    // those with a name (they have a fence) fill no more than half of the table, one without: nobody asks for what that
    // sent once it is gone.
    explicit ProducerTable(std::size_t limit = 1024) : limit_(limit) {}

    // What the owner should do with a batch. A batch without producer id is always kNew. The first batch of an epoch
    // begins at sequence 0, or goes on after the last sequence of the earlier epochs; so does that of a producer that
    // is not known, from 0 only.
    CheckResult check(const ProducerBatch& batch) const;

    // Whether all of [base_sequence, last_sequence] was appended under this epoch (at or below the last sequence and
    // not in a gap), or is the business of a later instance.
    Standing standing(const ProducerBatch& batch) const;

    // Takes in a batch that was appended at `base_offset`, whatever it is: the log is right by definition. Sequences
    // that are jumped over become a gap; a batch below the last sequence, or of an older epoch, fills its gap and never
    // moves the last sequence back. A fence only opens its epoch.
    void apply(const ProducerBatch& batch, Offset base_offset);

    // The epoch a producer used last; none when it is not known.
    std::optional<std::int16_t> epoch_of(ProducerId producer) const;
    // The greatest sequence over all epochs, forgotten ones too; -1 when there is none.
    std::int32_t last_sequence_of(ProducerId producer) const;

    // A named producer that is not known may have been here all the same.
    bool has_forgotten_a_name() const { return forgot_a_name_; }

    std::size_t size() const { return producers_.size(); }
    void encode(ByteWriter& out) const;
    // False when the bytes make no sense; the table is then empty.
    bool decode(ByteReader& in);
    friend bool operator==(const ProducerTable& a, const ProducerTable& b) {
        return a.producers_ == b.producers_ && a.forgot_one_ == b.forgot_one_ && a.forgot_a_name_ == b.forgot_a_name_;
    }

private:
    // Inside, sequences count on past 2^31 (see unwrap).
    struct Range {
        std::int64_t first{};
        std::int64_t last{};
        friend bool operator==(const Range&, const Range&) = default;
    };
    struct Epoch {
        std::int16_t number{};
        std::int64_t last{-1};
        std::vector<Range> gaps;    // rising, disjoint, all below `last`
        std::int64_t exact_from{};  // below it some gaps are forgotten
        // Set when it resumes: the producer's last sequence when it was opened, -1: none.
        std::optional<std::int64_t> resumes_behind;
        friend bool operator==(const Epoch&, const Epoch&) = default;
        bool lacks_any(Range r) const;
        void advance(Range r);
        void fill(Range r);
        void forget_oldest_gap();
    };
    struct Recent {
        Range sequences;
        Offset base_offset;
        friend bool operator==(const Recent&, const Recent&) = default;
    };
    struct Producer {
        Epoch current;
        std::vector<Recent> recent;  // of the current epoch, oldest first, at most kRecentBatches
        std::vector<Epoch> older;    // rising, at most kOlderEpochs
        Offset last_offset;          // base offset of its newest batch
        std::int64_t last{-1};       // of all epochs
        bool named{};
        friend bool operator==(const Producer&, const Producer&) = default;
    };
    static Range range_in(const Epoch& epoch, const ProducerBatch& batch);
    static Epoch epoch_opened_by(const ProducerBatch& batch, const Producer& producer);
    static const Epoch* find_epoch(const Producer& producer, std::int16_t number);
    static bool is_sent_again(const Producer& producer, const ProducerBatch& batch);
    static void encode_epoch(ByteWriter& out, const Epoch& epoch);
    static bool decode_epoch(ByteReader& in, Epoch& epoch);
    static void apply_to(Producer& producer, const ProducerBatch& batch, Offset base_offset);
    void insert_age(ProducerId id, const Producer& producer);
    void erase_age(const Producer& producer);
    void forget_one();

    using Age = std::pair<bool, Offset>;  // named, last_offset: the order of forgetting
    std::size_t limit_;
    std::unordered_map<ProducerId, Producer> producers_;
    std::map<Age, ProducerId> by_age_;
    std::size_t named_{};
    bool forgot_one_{};
    bool forgot_a_name_{};
};

}  // namespace logstream::storage
