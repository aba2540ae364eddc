// The record batch: Kafka's format v2 (magic 2), byte for byte, as producers send it, frames carry it, disks keep it
// and consumers get it. This file knows nothing of who stores or sends a batch.
//
// All integers are big-endian. A batch is a header of 61 bytes and the records behind it:
//
//    0 i64 base offset            the first record's offset; filled in by the owner
//    8 i32 length                 of all that follows this field: size - 12
//   12 i32 leader epoch           the view in which the owner appended it, -1 before; filled in by the owner
//   16 i8  magic                  2
//   17 u32 CRC-32C                of everything from byte 21 to the end
//   21 i16 attributes             bits 0-2 codec; 3 timestamps are append time; 4 transactional; 5 control;
//                                 6 has a delete horizon; LogStream's: 13 the producer has a name (see kNamedBit),
//                                 14 the records are orphans (see kOrphanBit)
//   23 i32 last offset delta      last offset - base offset; count - 1, or more once compaction took records out
//   27 i64 base timestamp         ms since 1970, of the first record
//   35 i64 max timestamp          ms, the greatest of all records
//   43 i64 producer id            -1: none
//   51 i16 producer epoch         -1: none
//   53 i32 base sequence          the first record's sequence number, -1: none; -2: see kResumeSequence
//   57 i32 record count
//   61     records                one after the other; compressed as a whole when the codec says so
//
// A record; "varint" is Protobuf's zigzag encoding, of an int32, and "varlong" of an int64:
//
//   varint length of all that follows; i8 attributes (0); varlong timestamp - base timestamp; varint offset - base
//   offset; varint key length (-1: no key), key; varint value length (-1: no value), value; varint header count; per
//   header: varint key length, key; varint value length (-1: no value), value
//
// The CRC leaves out base offset, length and leader epoch, so that the owner fills them in without a new checksum. It
// does not protect them either: frames and disk entries do that by a checksum of their own.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "internal/protocol/bytes.h"
#include "internal/protocol/compression.h"
#include "internal/protocol/error.h"
#include "internal/protocol/leader_epoch.h"
#include "internal/protocol/record_buffer.h"

namespace logstream::protocol {

inline constexpr std::size_t kBaseOffsetAt = 0;
inline constexpr std::size_t kBatchLengthAt = 8;
inline constexpr std::size_t kLeaderEpochAt = 12;
inline constexpr std::size_t kMagicAt = 16;
inline constexpr std::size_t kBatchCrcAt = 17;
inline constexpr std::size_t kAttributesAt = 21;
inline constexpr std::size_t kLastOffsetDeltaAt = 23;
inline constexpr std::size_t kBaseTimestampAt = 27;
inline constexpr std::size_t kMaxTimestampAt = 35;
inline constexpr std::size_t kProducerIdAt = 43;
inline constexpr std::size_t kProducerEpochAt = 51;
inline constexpr std::size_t kBaseSequenceAt = 53;
inline constexpr std::size_t kRecordCountAt = 57;

// Where the length field's count begins, and how many bytes must be there to tell a batch's size.
inline constexpr std::size_t kBatchLengthEnd = 12;
inline constexpr std::int8_t kBatchMagic = 2;
// What the int32 length field can say. Brokers and clients have far lower limits of their own.
inline constexpr std::size_t kMaxBatchBytes = std::numeric_limits<std::int32_t>::max();

// The largest that a broker stores: limits.batch_bytes is 64 MiB at most, and an orphan has a key more.
inline constexpr std::size_t kMaxStoredBatchBytes = (std::size_t{64} << 20) + (64u << 10);
// What the records of one that a broker stores may decompress to, from before producers' batches had a limit for that.
inline constexpr std::size_t kMaxStoredRecordsBytes = std::size_t{256} << 20;

// Bits of the attributes.
inline constexpr std::uint16_t kCodecMask = 0x7;
inline constexpr std::uint16_t kAppendTimeBit = 1u << 3;
inline constexpr std::uint16_t kTransactionalBit = 1u << 4;
inline constexpr std::uint16_t kControlBit = 1u << 5;
// Set by as_orphan and by nothing else; covered by the CRC. Kafka gives bits 7 to 15 no meaning and its clients do not
// look at them. A producer's batch with this bit must be refused: it could make a later orphan look like a repetition.
inline constexpr std::uint16_t kOrphanBit = 1u << 14;

// Set by a producer with a name: its sequences count what it sent under this name, whichever instance of it, and
// brokers keep the sum of what these records contain (see content_of).
inline constexpr std::uint16_t kNamedBit = 1u << 13;

// The base sequence of a control batch (a producer's fence) whose producer goes on behind the last sequence that the
// log has from its name, and sends again all that earlier instances sent behind it. Kafka knows only -1.
inline constexpr std::int32_t kResumeSequence = -2;

// A name and a value that travel with a record beside its key and value.
struct Header {
    std::string_view key;
    std::optional<std::string_view> value;
    friend bool operator==(const Header&, const Header&) = default;
};

// A decoded record. The views point into the batch or into the decompressed copy of it: valid during the call that
// hands the record over, no longer.
struct Record {
    Offset offset;
    std::int64_t timestamp_ms{};  // since 1970; the producer's clock, or the owner's when the batch says append time
    std::optional<std::string_view> key;
    std::optional<std::string_view> value;
    std::vector<Header> headers;
};

struct BatchOptions {
    Codec codec = Codec::kNone;
    ProducerId producer_id = kNoProducer;
    std::int16_t producer_epoch = -1;
    std::int32_t base_sequence = -1;  // of the first record; record i of the batch has base_sequence + i
    bool control = false;             // a control batch: readers skip it (a producer's fence)
    bool named = false;               // see kNamedBit
};

// Collects records and encodes them as one batch. Reusable: finish leaves it empty, with the same options.
class BatchBuilder {
public:
    explicit BatchBuilder(BatchOptions options) : options_(options) {}

    // Copies the record behind the ones that are there. One that would make the batch larger than kMaxBatchBytes is not
    // taken; finish reports it then.
    void add(std::int64_t timestamp_ms, std::optional<std::string_view> key, std::optional<std::string_view> value,
             std::span<const Header> headers = {});

    // Bytes of the batch as it stands, before compression. An upper bound of what finish returns.
    std::size_t estimated_bytes() const { return kBatchHeaderBytes + records_.size(); }
    int count() const { return count_; }

    // The records as they stand, before compression.
    std::span<const std::byte> records() const { return records_.span(); }
    // Of this batch and those after it.
    void set_codec(Codec codec) { options_.codec = codec; }
    // Who sends it, where this is known only when the batch is closed. Holds for this batch and those after it.
    void set_producer(ProducerId id, std::int16_t epoch, std::int32_t base_sequence);

    // The batch, with base offset 0 and leader epoch -1. Records that the codec cannot make smaller are stored as they
    // are, and the batch says Codec::kNone. The builder is empty afterwards, on error too. kInvalid: no record was
    // added. kTooLarge: see add.
    Result<Bytes> finish();

private:
    BatchOptions options_;
    RecordBuffer records_;
    int count_{};
    bool overflow_{};
    std::int64_t base_timestamp_ms_{};
    std::int64_t max_timestamp_ms_{};
};

// A batch whose structure was checked once. Holds a reference to the bytes: cheap to copy, and it sees what `assign`
// writes.
class BatchView {
public:
    // Checks the header: the length field is the buffer's size, magic 2, a known codec, 1 or more records, offsets that
    // neither start below 0 nor pass the end of int64. Neither checksum nor records are looked at. Error: kInvalid.
    static Result<BatchView> parse(Bytes bytes);

    // Whether bytes 21 to the end are as the producer wrote them. Reads all of them.
    bool crc_ok() const;

    Offset base_offset() const;
    Offset last_offset() const;
    Offset next_offset() const;         // last_offset + 1: where the next batch begins
    std::int32_t record_count() const;  // 1 or more; less than next - base once the batch was compacted
    ViewNumber leader_epoch() const;    // the view of the owner that appended it; 0 as long as no owner did
    std::uint16_t attributes() const;
    Codec codec() const;
    bool has_append_time() const { return (attributes() & kAppendTimeBit) != 0; }
    bool is_transactional() const { return (attributes() & kTransactionalBit) != 0; }
    bool is_control() const { return (attributes() & kControlBit) != 0; }
    bool is_orphan() const { return (attributes() & kOrphanBit) != 0; }  // see as_orphan
    bool is_named() const { return (attributes() & kNamedBit) != 0; }
    ProducerId producer_id() const;
    std::int16_t producer_epoch() const;
    std::int32_t base_sequence() const;
    // The last record's sequence number: base sequence + last offset delta, where 2^31 - 1 is followed by 0. -1 if the
    // batch has none.
    std::int32_t last_sequence() const;
    std::int64_t base_timestamp_ms() const;
    std::int64_t max_timestamp_ms() const;
    std::size_t size_bytes() const { return bytes_.size(); }
    const Bytes& bytes() const { return bytes_; }
    // The records as they are stored, compressed if there is a codec.
    Bytes records() const { return bytes_.from(kBatchHeaderBytes); }

    // Decodes the records in order and hands each over; `visit` returns false to stop. Trusts no length: when it
    // returns without error and was not stopped, the batch held exactly record_count() records, all whole, with offsets
    // that rise within [base, last]. It does not check the CRC.
    //
    // Compressed records are decompressed into at most `max_decompressed_bytes` (uncompressed ones are read in place,
    // and the limit does not matter); a record's list of headers comes on top, 40 bytes for each. kInvalid: no such
    // batch; the records before the bad one have been handed over. kTooLarge: see decompress.
    Result<void> for_each(std::size_t max_decompressed_bytes, const std::function<bool(const Record&)>& visit) const;

private:
    explicit BatchView(Bytes bytes) : bytes_(std::move(bytes)) {}
    Bytes bytes_;
};

// The sequence number `distance` after `sequence`, as Kafka counts: 2^31 - 1 is followed by 0. Both 0 or more.
std::int32_t advance_sequence(std::int32_t sequence, std::int32_t distance);
// What stands in a batch for a sequence number that counts on past 2^31. 0 or more.
inline std::int32_t wire_sequence(std::int64_t sequence) {
    return static_cast<std::int32_t>(sequence & std::numeric_limits<std::int32_t>::max());
}

// What a record of a named producer contains, as a number. A sum of them (modulo 2^64) tells whether two sides have the
// same records under the same sequences, in whatever order they came.
std::uint64_t content_of(std::int32_t sequence, std::optional<std::string_view> key,
                         std::optional<std::string_view> value);
// The sum over a batch's records; nullopt when some are gone (compaction) or cannot be decoded.
std::optional<std::uint64_t> content_of(const BatchView& batch, std::size_t max_decompressed_bytes);

// The owner's part: writes base offset and leader epoch, in place. The CRC stays right. `batch` is one that parse took;
// 0 <= base_offset, view <= kMaxViewNumber.
void assign(Bytes& batch, Offset base_offset, ViewNumber view);

// The producer's part: writes other producer fields, in place, and the new CRC. For a batch that is still its
// producer's alone (not sent, or given up). `batch` is one that parse took or finish made.
void restamp_producer(Bytes& batch, ProducerId id, std::int16_t epoch, std::int32_t base_sequence);

// The size of the batch that begins at `bytes`, as its length field says; it may be more than what is there. nullopt
// when fewer than 12 bytes are there, or when the field says what no batch can have.
std::optional<std::size_t> peek_batch_bytes(std::span<const std::byte> bytes);

// Cuts concatenated batches; the views share the buffer. Each is checked as by BatchView::parse, and the last must be
// whole. Empty bytes are no batch. kInvalid: says at which byte it went wrong; nothing of it is returned.
Result<std::vector<BatchView>> split_batches(const Bytes& bytes);

// The record header that names where an orphan first stood; its value is the text of an OrphanKey.
inline constexpr std::string_view kOrphanHeader = "logstream.orphan";

// Where a record stood before a view change gave its offset to another one. Names the record for good, however often it
// is moved after that.
struct OrphanKey {
    ClusterId lineage;
    ViewNumber view;  // in which it was appended there: the batch's leader epoch
    Offset offset;    // a batch's key is that of its first record
    friend constexpr auto operator<=>(const OrphanKey&, const OrphanKey&) = default;
};

// "lineage/view/offset": 16 hex digits, decimal, decimal.
std::string to_string(const OrphanKey& key);
// Takes exactly what to_string writes.
std::optional<OrphanKey> parse_orphan_key(std::string_view text);

// The batch as its holder appends it again: every record has one header more, the last, with the key (lineage, the
// batch's leader epoch, the record's own offset), and kOrphanBit is set. Codec, producer id, epoch and sequence,
// timestamps, offsets and leader epoch stay (without compression where that does not make it smaller). It grows by up
// to 66 bytes a record before compression, so it may exceed the limit for producers' batches.
//
// A batch with kOrphanBit comes back as it is: a key stays with its record for good. Without the bit, a header of that
// name is the producer's own and means nothing.
//
// `max_bytes` bounds the decompressed records. Errors as for_each; kInvalid too when the batch has no leader epoch;
// kTooLarge too when it outgrows kMaxBatchBytes.
Result<Bytes> as_orphan(const BatchView& batch, ClusterId lineage, std::size_t max_bytes);

// What becomes an orphan each of a batch that grows too large by its keys: the same batch in pieces, with their own
// offsets and sequences, so that the records and keys of each take at most `piece_bytes`, or are one record. Mostly the
// batch itself. The same batch always makes the same pieces. Errors as for_each.
Result<std::vector<Bytes>> orphan_pieces(const BatchView& batch, std::size_t piece_bytes, std::size_t max_bytes);

// The key of the first record; nullopt, at no cost, without kOrphanBit. A batch that has the bit and no such key is
// kInvalid. Other errors as for_each.
Result<std::optional<OrphanKey>> orphan_key(const BatchView& batch, std::size_t max_bytes);

}  // namespace logstream::protocol
