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
#include "internal/storage/sent_sequences.h"

namespace logstream::storage {

using protocol::Offset;
using protocol::ProducerId;

// The fields of a batch that matter here. Sequence numbers are Kafka's: one a record, from 0, modulo 2^31.
struct ProducerBatch {
    ProducerId producer{protocol::kNoProducer};
    std::int16_t epoch{-1};
    std::int32_t base_sequence{-1};
    std::int32_t last_sequence{-1};
    bool named{};                                         // see protocol::kNamedBit
    std::optional<std::uint64_t> content = std::nullopt;  // of its records, if it is named; see protocol::content_of
    // It opens its epoch and has no records of its producer; see protocol::kResumeSequence.
    bool is_fence() const { return producer != protocol::kNoProducer && base_sequence < 0; }
    bool resumes() const { return producer != protocol::kNoProducer && base_sequence == protocol::kResumeSequence; }
};

// Epochs are 15 bits of a batch, and a name has one more with each run: behind 32,767 comes 0 again. So many ahead of
// the newest that is known count as newer, all others as older.
inline constexpr int kEpochModulus = 1 << 15;
inline constexpr int kEpochsAhead = 1024;

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
    // is not known, from 0 only. An instance that resumes first fills the holes that it found, in their order.
    CheckResult check(const ProducerBatch& batch) const;

    // Whether all of [base_sequence, last_sequence] was appended under this epoch (at or below the last sequence and
    // not in a gap), or is the business of a later instance.
    Standing standing(const ProducerBatch& batch) const;

    // Takes in a batch that was appended at `base_offset`, whatever it is: the log is right by definition. Sequences
    // that are jumped over become a gap; a batch below the last sequence, or of an older epoch, fills its gap and never
    // moves the last sequence back. A fence only opens its epoch: one that resumes goes on with what the instances
    // before it sent, any other begins something else.
    void apply(const ProducerBatch& batch, Offset base_offset);

    // The epoch a producer used last; none when it is not known.
    std::optional<std::int16_t> epoch_of(ProducerId producer) const;
    // What a producer has sent since it began anew; nullptr when it is not known.
    const SentSequences* sent_by(ProducerId producer) const;
    // What an instance that resumes now would send again of what older ones sent.
    struct Takeover {
        std::int32_t epochs{};  // so many back, from its own on
        std::int64_t next{};
        std::vector<SequenceRange> missing;
    };
    Takeover takeover_by(ProducerId producer) const;
    // Whether the instance that `fence` opens, as it told, sends again what `orphan` is.
    static bool is_taken_over(const ProducerBatch& orphan, const ProducerBatch& fence, const Takeover& takeover);

    // A named producer that is not known may have been here all the same.
    bool has_forgotten_a_name() const { return forgot_a_name_; }

    std::size_t size() const { return producers_.size(); }
    void encode(ByteWriter& out) const;
    // False when the bytes make no sense; the table is then empty.
    enum class Format : std::uint8_t { kWithoutHoles, kPresent };
    bool decode(ByteReader& in, Format format = Format::kPresent);
    friend bool operator==(const ProducerTable& a, const ProducerTable& b) {
        return a.producers_ == b.producers_ && a.forgot_one_ == b.forgot_one_ && a.forgot_a_name_ == b.forgot_a_name_;
    }

private:
    // Inside, sequences and epochs count on past their modulus (see unwrap and number_of).
    struct Epoch {
        std::int64_t number{};
        std::int64_t last{-1};
        std::vector<SequenceRange> gaps;  // rising, disjoint, all below `last`
        std::int64_t exact_from{};        // below it some gaps are forgotten
        std::int64_t opened_at{};         // the sequence that its first batch has, or is near to
        // Set when it resumes: it sends again what the epochs from this one on sent at `opened_at` or behind, and the
        // holes that there were then.
        std::optional<std::int64_t> resumes_from;
        std::vector<SequenceRange> refills;
        friend bool operator==(const Epoch&, const Epoch&) = default;
        bool lacks_any(SequenceRange r) const;
        void advance(SequenceRange r);
        void fill(SequenceRange r);
        void forget_oldest_gap();
    };
    struct Recent {
        SequenceRange sequences;
        Offset base_offset;
        friend bool operator==(const Recent&, const Recent&) = default;
    };
    struct Producer {
        Epoch current;
        std::vector<Recent> recent;  // of the current epoch, oldest first, at most kRecentBatches
        std::vector<Epoch> older;    // rising, at most kOlderEpochs
        Offset last_offset;          // base offset of its newest batch
        SentSequences sent;          // of the epochs from `begun` on
        std::int64_t begun{};        // before this epoch it sent something else
        bool named{};
        bool forgotten_before{};  // there may have been older epochs that the table has forgotten
        friend bool operator==(const Producer&, const Producer&) = default;
    };
    static SequenceRange range_in(const Epoch& epoch, const ProducerBatch& batch);
    static std::int64_t number_of(const Producer& producer, const ProducerBatch& batch);
    static Epoch epoch_opened_by(const ProducerBatch& batch, std::int64_t number, const Producer& producer);
    static const Epoch* find_epoch(const Producer& producer, std::int64_t number);
    static const SequenceRange* next_refill(const Producer& producer);
    static bool is_sent_again(const Producer& producer, const ProducerBatch& batch);
    static void encode_epoch(ByteWriter& out, const Epoch& epoch);
    static bool decode_epoch(ByteReader& in, Epoch& epoch, Format format);
    static bool decode_producer(ByteReader& in, Producer& producer, Format format);
    static void open_epoch(Producer& producer, const ProducerBatch& batch, std::int64_t number);
    static Epoch* older_epoch(Producer& producer, const ProducerBatch& batch, std::int64_t number);
    static void apply_to(Producer& producer, const ProducerBatch& batch, Offset base_offset);
    void begin(Producer& producer, const ProducerBatch& batch) const;
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
