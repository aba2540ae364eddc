#include "internal/storage/orphan_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "internal/protocol/checksum.h"
#include "internal/protocol/record_batch.h"
#include "internal/protocol/wire.h"
#include "internal/storage/entry.h"
#include "internal/storage/store_context.h"

namespace logstream::storage {
namespace {

// An entry: lineage (8 bytes), CRC-32C of it and of the entry header behind it (4), zero (4), then an entry as in a
// log.
constexpr std::size_t kLineageBytes = 16;
constexpr std::size_t kHeadBytes = kLineageBytes + kEntryHeaderBytes;

void encode_head(std::byte* out, protocol::ClusterId lineage, const ParsedBatch& batch, std::uint32_t seed) {
    encode_entry_header(out + kLineageBytes,
                        {batch.info.base, static_cast<std::uint32_t>(batch.bytes), batch.info.view, Offset(0)}, seed);
    protocol::store(out, lineage.value);
    const std::uint32_t sum = protocol::crc32c({out + kLineageBytes, kEntryHeaderBytes}, protocol::crc32c({out, 8}));
    protocol::store(out + 8, sum);
    protocol::store(out + 12, std::uint32_t{0});
}

struct Head {
    protocol::ClusterId lineage;
    EntryHeader entry;
};
std::optional<Head> decode_head(std::span<const std::byte> bytes, std::uint32_t seed) {
    if (bytes.size() < kHeadBytes) return std::nullopt;
    const auto entry = decode_entry_header(bytes.subspan(kLineageBytes), seed);
    const std::uint32_t sum =
        protocol::crc32c(bytes.subspan(kLineageBytes, kEntryHeaderBytes), protocol::crc32c(bytes.first(8)));
    if (!entry || protocol::load<std::uint32_t>(bytes.data() + 8) != sum) return std::nullopt;
    return Head{protocol::ClusterId(protocol::load<std::uint64_t>(bytes.data())), *entry};
}

std::tuple<std::uint64_t, std::uint64_t, std::int64_t> key_of(protocol::ClusterId lineage, protocol::ViewNumber view,
                                                              protocol::Offset base) {
    return {lineage.value, view.value, base.value};
}

std::optional<protocol::StreamId> parse_name(std::string_view name) {
    const std::size_t dash = name.find('-');
    constexpr std::string_view suffix = ".orphans";
    if (dash == std::string_view::npos || !name.ends_with(suffix)) return std::nullopt;
    protocol::StreamId stream;
    const std::string_view partition = name.substr(dash + 1, name.size() - dash - 1 - suffix.size());
    const auto topic_end = std::from_chars(name.data(), name.data() + dash, stream.topic.value, 16);
    const auto partition_end = std::from_chars(partition.data(), partition.data() + partition.size(), stream.partition);
    if (topic_end.ptr != name.data() + dash || partition_end.ptr != partition.data() + partition.size())
        return std::nullopt;
    return stream;
}

}  // namespace

OrphanFiles::OrphanFiles(StoreContext& context) : context_(context) {}

std::string OrphanFiles::path_of(protocol::StreamId stream) const {
    return fmt::format("{}/orphans/{:016x}-{}.orphans", context_.options.dir, stream.topic.value, stream.partition);
}

Result<void> OrphanFiles::recover(LastStop stop) {
    const std::string dir = context_.options.dir + "/orphans";
    auto entries = context_.disk.list(dir);
    if (!entries) return std::unexpected(std::move(entries.error()));
    for (const DirEntry& entry : *entries) {
        const auto stream = parse_name(entry.name);
        if (!stream) continue;
        if (auto ok = recover_file(*stream, dir + "/" + entry.name, entry.size, stop); !ok) return ok;
    }
    return {};
}

Result<void> OrphanFiles::recover_file(protocol::StreamId stream, const std::string& path, std::uint64_t size,
                                       LastStop stop) {
    const auto data = context_.disk.read_now(path, 0, size);
    if (!data) return std::unexpected(data.error());
    const std::uint32_t seed = stream_seed(stream);
    File& file = files_[stream];
    std::size_t at = 0;
    bool junk = false;  // since the last valid entry
    while (at + kHeadBytes <= data->size()) {
        const auto head = decode_head(data->span().subspan(at), seed);
        EntryResult entry;
        if (head) entry = read_entry(*data, at + kLineageBytes, 0, seed);
        if (entry.status != EntryStatus::kOk || !head) {
            ++at;
            junk = true;
            continue;
        }
        // Orphans are flushed one addition after the other, so what is bad and is followed by something good was good.
        if (std::exchange(junk, false)) ++damaged_;
        const std::uint64_t position = at + kHeadBytes;
        if (file.keys.insert(key_of(head->lineage, head->entry.view, head->entry.base)).second) {
            file.entries.push_back(
                {head->lineage, head->entry.view, head->entry.base, head->entry.batch_bytes, position});
        }
        at = static_cast<std::size_t>(position + head->entry.batch_bytes);
        file.size = at;
    }
    if (damaged_ > 0) context_.log.error("STORAGE damage in {}: orphans are lost", path);
    // The rest was being added when the broker stopped: its records still stand in the log.
    std::vector<DiskOp> ops;
    if (file.size < size) ops.emplace_back(TruncateOp{path, file.size});
    if (file.entries.empty()) {
        ops.emplace_back(RemoveOp{path});
        ops.emplace_back(SyncOp{{}, {parent_of(path)}});
        files_.erase(stream);
    } else {
        // A flush that failed before may have left them in the operating system's cache, marked clean, as with a log.
        if (stop == LastStop::kProcess) ops.emplace_back(WriteOp{path, 0, {data->slice(0, file.size)}});
        ops.emplace_back(SyncOp{{path}, {parent_of(path)}});
    }
    return context_.disk.run_now(std::move(ops)).status;
}

void OrphanFiles::add(protocol::StreamId stream, protocol::ClusterId lineage, std::vector<Bytes> batches,
                      FlushCallback callback) {
    for (const Bytes& bytes : batches) {
        if (const auto parsed = parse_batches(bytes); !parsed) {
            context_.disk.post([callback = std::move(callback), error = parsed.error()]() mutable {
                callback(std::unexpected(std::move(error)));
            });
            return;
        }
    }
    waiting_.push_back({stream, lineage, std::move(batches), std::move(callback)});
    if (!adding_) start_next();
}

void OrphanFiles::start_next() {
    if (waiting_.empty()) return;
    adding_ = true;
    Addition addition = std::move(waiting_.front());
    waiting_.pop_front();
    const protocol::StreamId stream = addition.stream;
    File& file = files_[stream];
    const std::uint32_t seed = stream_seed(stream);
    const std::string path = path_of(stream);
    WriteOp write{path, file.size, {}};
    std::vector<OrphanEntry> added;
    std::uint64_t position = file.size;
    auto keys = file.keys;
    for (const Bytes& bytes : addition.batches) {
        std::size_t at = 0;
        const auto parsed = parse_batches(bytes);  // was checked by add
        LS_ASSERT(parsed.has_value());
        for (const ParsedBatch& batch : *parsed) {
            const Bytes slice = bytes.slice(at, batch.bytes);
            at += batch.bytes;
            if (!keys.insert(key_of(addition.lineage, batch.info.view, batch.info.base)).second) continue;
            Bytes head = Bytes::allocate(kHeadBytes);
            encode_head(head.mutable_data(), addition.lineage, batch, seed);
            write.pieces.push_back(std::move(head));
            write.pieces.push_back(slice);
            added.push_back({addition.lineage, batch.info.view, batch.info.base,
                             static_cast<std::uint32_t>(batch.bytes), position + kHeadBytes});
            position += kHeadBytes + batch.bytes;
        }
    }
    std::vector<DiskOp> ops;
    if (!added.empty()) {
        ops.emplace_back(std::move(write));
        ops.emplace_back(SyncOp{{path}, {parent_of(path)}});
    }
    context_.commit.urgent(
        std::move(ops), lifetime_.guard([this, stream, generation = file.generation, position, added = std::move(added),
                                         keys = std::move(keys),
                                         callback = std::move(addition.callback)](const Result<void>& status) mutable {
            adding_ = false;
            File& f = files_[stream];
            if (status && f.generation == generation) {
                f.entries.insert(f.entries.end(), added.begin(), added.end());
                f.keys = std::move(keys);
                f.size = position;
            }
            start_next();
            callback(status);
        }));
}

std::vector<protocol::StreamId> OrphanFiles::streams() const {
    std::vector<protocol::StreamId> streams;
    for (const auto& [stream, file] : files_) {
        if (!file.entries.empty()) streams.push_back(stream);
    }
    return streams;
}

std::span<const OrphanEntry> OrphanFiles::list(protocol::StreamId stream) const {
    const auto found = files_.find(stream);
    if (found == files_.end()) return {};
    return found->second.entries;
}

void OrphanFiles::read(protocol::StreamId stream, const OrphanEntry& entry, ReadCallback callback) {
    context_.disk.read(
        path_of(stream), entry.position - kEntryHeaderBytes, kEntryHeaderBytes + entry.batch_bytes,
        [seed = stream_seed(stream), entry, stream, callback = std::move(callback)](Result<Bytes> data) mutable {
            if (!data) return callback(std::unexpected(std::move(data.error())));
            const EntryResult result = read_entry(*data, 0, 0, seed);
            const bool same = result.status == EntryStatus::kOk && result.entry.header.base == entry.base_offset &&
                              result.entry.header.view == entry.view;
            if (!same)
                return callback(
                    protocol::fail(ErrorCode::kCorrupt, "an orphan of stream {} is damaged", to_string(stream)));
            callback(result.entry.bytes);
        });
}

void OrphanFiles::remove(protocol::StreamId stream, FlushCallback callback) {
    const auto found = files_.find(stream);
    std::vector<DiskOp> ops;
    if (found != files_.end()) {
        found->second.entries.clear();
        found->second.keys.clear();
        found->second.size = 0;
        ++found->second.generation;
        const std::string path = path_of(stream);
        ops.emplace_back(RemoveOp{path});
        ops.emplace_back(SyncOp{{}, {parent_of(path)}});
    }
    context_.commit.urgent(std::move(ops), std::move(callback));
}

}  // namespace logstream::storage
