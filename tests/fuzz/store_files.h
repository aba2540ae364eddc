// A store whose files are the input.
#pragma once

#include <spdlog/logger.h>
#include <spdlog/sinks/null_sink.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include "internal/protocol/big_endian.h"
#include "internal/protocol/checksum.h"
#include "internal/protocol/record_batch.h"
#include "internal/storage/entry.h"
#include "internal/storage/fake_disk.h"
#include "internal/storage/segment.h"
#include "internal/storage/store.h"
#include "tests/fuzz/fuzz.h"

namespace logstream::fuzz {

using storage::Bytes;
using storage::FakeDisk;
using storage::FileKind;
using storage::Store;

inline constexpr storage::StreamId kStream{protocol::TopicId{0x1234}, 0};
inline const std::string kDir = "/data";
inline const std::string kStreamDir = kDir + "/streams/0000000000001234-0/";
inline const std::string kOrphanFile = kDir + "/orphans/0000000000001234-0.orphans";

// One batch of one record of five bytes, and with its entry header.
inline constexpr std::size_t kSmallBatchBytes = protocol::kBatchHeaderBytes + 12;
inline constexpr std::size_t kSmallEntryBytes = storage::kEntryHeaderBytes + kSmallBatchBytes;

// The files of a stream that an input may have, by the tags of its pieces. Segments of the corpus hold ten records.
struct StreamFile {
    std::string_view name;
    FileKind kind;
};
inline constexpr std::array kStreamFiles{
    StreamFile{"00000000000000000000.log", FileKind::kLog},
    StreamFile{"00000000000000000000.index", FileKind::kIndex},
    StreamFile{"00000000000000000010.log", FileKind::kLog},
    StreamFile{"00000000000000000010.index", FileKind::kIndex},
    StreamFile{"00000000000000000010.tables", FileKind::kTables},
    StreamFile{"00000000000000000020.log", FileKind::kLog},
    StreamFile{"00000000000000000020.tables", FileKind::kTables},
    StreamFile{"00000000000000000010.1.log", FileKind::kLog},
    StreamFile{"tail.0", FileKind::kTables},
    StreamFile{"tail.1", FileKind::kTables},
};

inline storage::StoreOptions store_options() {
    storage::StoreOptions options;
    options.dir = kDir;
    options.segment_bytes = 10 * kSmallEntryBytes;
    options.index_interval_bytes = 2 * kSmallEntryBytes;
    options.snapshot_bytes = 7 * kSmallEntryBytes;
    options.max_producers = 4;
    options.max_orphan_keys = 4;
    return options;
}

inline spdlog::logger& quiet() {
    static spdlog::logger logger("fuzz", std::make_shared<spdlog::sinks::null_sink_mt>());
    return logger;
}

inline std::unique_ptr<Store> open(FakeDisk& disk) {
    auto store = Store::open(disk, store_options(), quiet());
    LS_ASSERT(store.has_value());
    return *std::move(store);
}

// Runs the disk until the callback has come.
template <class T, class Start>
T await(FakeDisk& disk, Start start) {
    std::unique_ptr<T> result;
    start([&result](T value) { result = std::make_unique<T>(std::move(value)); });
    disk.run();
    LS_ASSERT(result != nullptr);
    return std::move(*result);
}

inline void close(FakeDisk& disk, std::unique_ptr<Store> store) {
    const auto closed = await<storage::Result<void>>(disk, [&](auto done) { store->close(std::move(done)); });
    LS_ASSERT(closed.has_value());
    store.reset();
    disk.stop();
}

// A disk on which a store was used and ended in this way; `how` is any number.
inline void leave_store(FakeDisk& disk, unsigned how) {
    auto store = open(disk);
    LS_ASSERT(store->create(kStream).has_value());
    LS_ASSERT(await<storage::Result<void>>(disk, [&](auto done) { store->flush(std::move(done)); }).has_value());
    if (how % 3 == 0) return close(disk, std::move(store));
    store.reset();
    disk.crash(how % 3 == 1 ? FakeDisk::Crash::kProcess : FakeDisk::Crash::kMachine);
}

inline void put(FakeDisk& disk, const std::string& path, Input content) {
    disk.put(path, {content.begin(), content.end()});
}

constexpr std::uint32_t kEntryMagic = 0x3245534c;     // "LSE2"
constexpr std::uint32_t kOldEntryMagic = 0x3145534c;  // "LSE1"

// An entry of a log at the front of `at`: its header repeats what the batch says, and all checksums match. Returns its
// size; 0 when it is not whole.
inline std::size_t repair_entry(std::span<std::byte> at) {
    using namespace protocol;
    constexpr std::size_t kHead = storage::kEntryHeaderBytes;
    if (at.size() < kHead + kBatchHeaderBytes) return 0;
    const std::size_t batch_bytes = load<std::uint32_t>(at.data() + 16);
    if (batch_bytes < kBatchHeaderBytes || batch_bytes > at.size() - kHead) return 0;
    std::byte* batch = at.data() + kHead;
    store_be(batch + kBaseOffsetAt, load<std::int64_t>(at.data() + 8));
    store_be(batch + kBatchLengthAt, static_cast<std::int32_t>(batch_bytes - kBatchLengthEnd));
    store_be(batch + kLeaderEpochAt, load<std::int32_t>(at.data() + 20));
    store_be(batch + kMagicAt, kBatchMagic);
    store_be(batch + kBatchCrcAt, crc32c({batch + kAttributesAt, batch_bytes - kAttributesAt}));
    // Of this version, or of the one before.
    if (load<std::uint32_t>(at.data()) != kOldEntryMagic) store(at.data(), kEntryMagic);
    store(at.data() + 4, crc32c(at.subspan(8, kHead - 8), storage::stream_seed(kStream)));
    return kHead + batch_bytes;
}

// A magic, then the checksum of all that follows.
inline void repair_small_file(std::span<std::byte> file) {
    if (file.size() >= 8) protocol::store(file.data() + 4, protocol::crc32c(file.subspan(8)));
}

// The index inside a snapshot has a checksum of its own.
inline void repair_inner_index(std::span<std::byte> file) {
    constexpr std::string_view kMagic = "LSI";  // of any version
    const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
    const std::size_t at = text.find(kMagic, 4);
    if (at == text.npos) return;
    const std::size_t length = protocol::load<std::uint32_t>(file.data() + at - 4);
    if (length <= file.size() - at) repair_small_file(file.subspan(at, length));
}

inline Bytes with_checksums(FileKind kind, Input content) {
    Bytes out = Bytes::copy_of(content);
    const std::span<std::byte> file(out.mutable_data(), out.size());
    if (kind == FileKind::kLog) {
        for (std::size_t at = 0, size = 1; size > 0; at += size) size = repair_entry(file.subspan(at));
        return out;
    }
    if (kind == FileKind::kTables) repair_inner_index(file);
    repair_small_file(file);
    return out;
}

}  // namespace logstream::fuzz
