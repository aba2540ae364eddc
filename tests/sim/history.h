// What the clients did and were told: every record sent and its outcome. Records name themselves: the value begins with
// the producer's number and a count.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "internal/client/producer.h"
#include "internal/protocol/error.h"
#include "internal/protocol/ids.h"
#include "internal/protocol/record_batch.h"
#include "internal/protocol/time.h"
#include "logstream.pb.h"

namespace logstream::sim {

// producer << 32 | count; 0: not a record of ours.
using RecordId = std::uint64_t;

std::string make_value(std::uint32_t producer, std::uint32_t count, std::size_t bytes);
RecordId record_id_of(std::optional<std::string_view> value);
inline std::uint32_t producer_of(RecordId id) { return static_cast<std::uint32_t>(id >> 32); }
inline std::uint32_t count_of(RecordId id) { return static_cast<std::uint32_t>(id); }
std::string to_text(RecordId id);

enum class Outcome : std::uint8_t { kPending, kAcknowledged, kFailed, kUnknown };

struct Sent {
    RecordId id{};
    std::uint32_t instance{};  // of its producer; order is promised within one
    bool vouched_for{};        // it was said to a later instance to be there
    bool taken_over{};         // by a later instance that resumed: it sends it again
    std::uint32_t topic{};
    std::uint32_t partition{};  // known once it is reported
    proto::Acks acks{proto::QUORUM};
    protocol::TimePoint sent_at{};
    std::optional<std::uint32_t> crc;  // of its value; nullopt: its value is not compared with what stands
    Outcome outcome{Outcome::kPending};
    protocol::ClusterId cluster;  // of the acknowledgement
    protocol::StreamId stream;    // the same
    protocol::Offset offset{-1};  // the same; -1: not told
    protocol::ErrorCode error{};
};

class History {
public:
    // Makes the next record of a producer.
    struct Producer {
        std::uint32_t number{};
        std::uint32_t instance{};
    };
    Sent& add(Producer producer, std::uint32_t topic, proto::Acks acks, protocol::TimePoint now);
    // A later instance will send it, too.
    void take_over(RecordId id);
    // The lineage says to a later instance that it is there.
    void vouch_for(RecordId id, protocol::ClusterId cluster, protocol::StreamId stream);
    void count_refill() { ++refills_; }
    std::uint64_t refills() const { return refills_; }
    const Sent* find(RecordId id) const;
    Sent* find(RecordId id) { return const_cast<Sent*>(std::as_const(*this).find(id)); }
    const std::vector<std::vector<Sent>>& by_producer() const { return sent_; }
    // Writes down what the client library says of a batch that it sent to `stream` of the lineage `cluster`;
    // `on_report` sees each of the batch's records afterwards. A stream without a topic: which it was is not known.
    void report(const client::BatchReport& batch, protocol::ClusterId cluster, protocol::StreamId stream,
                const std::function<void(const Sent&)>& on_report);
    std::uint64_t acknowledged() const { return acknowledged_; }

private:
    std::vector<std::vector<Sent>> sent_;  // by producer; record n is at n - 1
    std::uint64_t acknowledged_{};
    std::uint64_t refills_{};  // records that an instance sent again below others that are there
};

}  // namespace logstream::sim
