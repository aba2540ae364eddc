// The three tables that are a function of a stream's log alone, together: views, producers and orphan keys.
#pragma once

#include <compare>
#include <cstddef>
#include <map>
#include <optional>

#include "internal/protocol/ids.h"
#include "internal/protocol/record_batch.h"
#include "internal/storage/byte_codec.h"
#include "internal/storage/epoch_table.h"
#include "internal/storage/producer_table.h"

namespace logstream::storage {

using protocol::OrphanKey;

// The fields of an appended batch that the tables are made of.
struct BatchInfo {
    Offset base;
    Offset next;
    ViewNumber view;
    ProducerBatch producer;
    std::optional<OrphanKey> orphan;
};

// Keys of the orphans that were appended again; at most `limit`, those furthest back in the log forgotten first.
class OrphanKeys {
public:
    explicit OrphanKeys(std::size_t limit = 65536) : limit_(limit) {}
    void add(const OrphanKey& key, Offset at);
    bool contains(const OrphanKey& key) const { return at_.contains(key); }
    std::size_t size() const { return at_.size(); }
    void encode(ByteWriter& out) const;
    bool decode(ByteReader& in);
    friend bool operator==(const OrphanKeys& a, const OrphanKeys& b) { return a.at_ == b.at_; }

private:
    std::size_t limit_;
    std::map<OrphanKey, Offset> at_;
    std::map<Offset, OrphanKey> by_offset_;
};

struct TableLimits {
    std::size_t producers{1024};
    std::size_t orphan_keys{65536};
};

struct LogTables {
    EpochTable epochs;
    ProducerTable producers;
    OrphanKeys orphans;

    LogTables() = default;
    explicit LogTables(TableLimits limits) : producers(limits.producers), orphans(limits.orphan_keys) {}
    void apply(const BatchInfo& batch);
    void encode(ByteWriter& out) const;
    // False when the bytes make no sense; the tables are then of no use.
    bool decode(ByteReader& in, ProducerTable::Format format = ProducerTable::Format::kPresent);
    friend bool operator==(const LogTables&, const LogTables&) = default;
};

}  // namespace logstream::storage
