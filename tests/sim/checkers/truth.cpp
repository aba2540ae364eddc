#include "tests/sim/checkers/truth.h"

#include "internal/protocol/checksum.h"
#include "internal/storage/compacted_batches.h"

namespace logstream::sim {

namespace {
constexpr std::size_t kMaxDecompressedBytes = 64u << 20;
std::uint32_t crc_of(std::optional<std::string_view> bytes, std::uint32_t seed) {
    return bytes ? protocol::crc32c(std::as_bytes(std::span(*bytes)), seed) : seed + 1;
}
}  // namespace

void Truth::decode(const protocol::BatchView& batch, const std::function<void(Offset, const TrueRecord&)>& visit) {
    // What a replica's compaction left of superseded records says nothing about what they were.
    if (storage::is_stub(batch)) return;
    TrueRecord out{.known = true, .orphan = batch.is_orphan(), .view = batch.leader_epoch()};
    // What cannot be decoded is damaged; whoever reads it looks at the checksum.
    (void)batch.for_each(kMaxDecompressedBytes, [&](const protocol::Record& record) {
        out.id = batch.is_control() ? 0 : record_id_of(record.value);
        out.crc = crc_of(record.value, 0);
        visit(record.offset, out);
        return true;
    });
}

const TrueRecord* Truth::find(const LogKey& log, Offset offset) const {
    const auto found = logs_.find(log);
    if (found == logs_.end() || offset.value < 0 || static_cast<std::size_t>(offset.value) >= found->second.size())
        return nullptr;
    const TrueRecord& record = found->second[static_cast<std::size_t>(offset.value)];
    return record.known ? &record : nullptr;
}

bool Truth::agree(const LogKey& log, Offset offset, const TrueRecord& record) {
    std::vector<TrueRecord>& records = logs_[log];
    const auto at = static_cast<std::size_t>(offset.value);
    if (records.size() <= at) records.resize(at + 1);
    if (!records[at].known) {
        records[at] = record;
        ++records_;
        return true;
    }
    return records[at].id == record.id && records[at].crc == record.crc;
}

bool Truth::covers(const LogKey& log, Offset from, Offset to) const {
    const auto found = logs_.find(log);
    if (found == logs_.end()) return from >= to;
    if (static_cast<std::size_t>(to.value) > found->second.size()) return false;
    for (auto at = static_cast<std::size_t>(from.value); at < static_cast<std::size_t>(to.value); ++at)
        if (!found->second[at].known) return false;
    return true;
}

}  // namespace logstream::sim
