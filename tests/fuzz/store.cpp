// A stream's files, damaged in any way: the store opens, serves nothing that does not match its checksum, and finds the
// same the next time.
#include "internal/storage/store.h"

#include <limits>

#include "tests/fuzz/store_files.h"

namespace logstream::fuzz {

using namespace storage;
using protocol::BatchView;

namespace {

enum class Checksums : std::uint8_t { kAsTheyAre, kRight };

// Everything that the log serves, from its beginning on and around what is damaged.
Batches served(FakeDisk& disk, StreamLog& log) {
    Batches all;
    Offset at = log.log_start();
    while (at < log.log_end()) {
        const auto batches =
            await<Result<Batches>>(disk, [&](auto done) { log.read(at, log.log_end(), 1u << 20, std::move(done)); });
        if (!batches) {
            LS_ASSERT(batches.error().code == ErrorCode::kCorrupt);
            const auto damage = log.damage();
            LS_ASSERT(damage && damage->from < damage->to);
            if (damage->to <= at) break;  // only the first damage is told
            at = damage->to;
            continue;
        }
        LS_ASSERT(!batches->empty());
        for (const Bytes& bytes : *batches) {
            const auto batch = BatchView::parse(bytes);
            LS_ASSERT(batch && batch->crc_ok() && batch->base_offset() == at);
            at = batch->next_offset();
            all.push_back(bytes);
        }
    }
    return all;
}

void ask(FakeDisk& disk, StreamLog& log) {
    LS_ASSERT(log.log_start() <= log.log_end());
    (void)await<Result<Offset>>(disk, [&](auto done) { log.offset_for_timestamp(1000, std::move(done)); });
    (void)await<Result<std::uint64_t>>(
        disk, [&](auto done) { log.checksum(log.log_start(), log.log_end(), std::move(done)); });
    (void)await<Result<StreamLog::StartTables>>(disk, [&](auto done) { log.start_tables(std::move(done)); });
}

void append(FakeDisk& disk, Store& store, StreamLog& log) {
    const ViewNumber view = std::max(log.epochs().last_view(), ViewNumber{1});
    if (view > protocol::kMaxViewNumber || log.log_end().value > std::numeric_limits<std::int64_t>::max() - 100) return;
    protocol::BatchBuilder builder({});
    builder.add(2000, std::nullopt, "value");
    Bytes batch = *builder.finish();
    protocol::assign(batch, log.log_end(), view);
    const Offset end = log.log_end() + 1;
    const bool refused = !log.append(batch, 5000);
    LS_ASSERT(!refused || log.damage());
    LS_ASSERT(await<Result<void>>(disk, [&](auto done) { store.flush(std::move(done)); }).has_value());
    LS_ASSERT(refused || log.durable_end() == end);
}

void recover(FakeDisk& disk) {
    auto store = open(disk);
    StreamLog* log = store->find(kStream);
    LS_ASSERT(log != nullptr);
    ask(disk, *log);
    append(disk, *store, *log);
    const Batches before = served(disk, *log);
    const Offset begin = log->log_start();
    const Offset end = log->log_end();
    close(disk, std::move(store));

    store = open(disk);
    log = store->find(kStream);
    LS_ASSERT(store->last_stop() == LastStop::kClean);
    LS_ASSERT(log->log_start() == begin && log->log_end() == end);
    const auto same = [](const Bytes& a, const Bytes& b) { return equal(a.span(), b.span()); };
    LS_ASSERT(std::ranges::equal(before, served(disk, *log), same));
}

void try_files(unsigned how, const std::vector<Piece>& pieces, Checksums checksums) {
    FakeDisk disk;
    leave_store(disk, how);
    for (const std::string& path : disk.files())
        if (path.starts_with(kStreamDir)) disk.remove(path);
    for (const Piece& piece : pieces) {
        const StreamFile& file = kStreamFiles[piece.tag % kStreamFiles.size()];
        const Bytes content =
            checksums == Checksums::kRight ? with_checksums(file.kind, piece.bytes) : Bytes::copy_of(piece.bytes);
        put(disk, kStreamDir + std::string(file.name), content.span());
    }
    recover(disk);
}

}  // namespace

// The first byte says how the last process ended; then come files.
void try_input(Input input) {
    if (input.empty()) return;
    const auto how = std::to_integer<unsigned>(input[0]);
    const auto pieces = cut(input.subspan(1));
    try_files(how, pieces, Checksums::kAsTheyAre);
    try_files(how, pieces, Checksums::kRight);
}

}  // namespace logstream::fuzz
