// The file of a stream's orphans: what is read back has passed its checksums, and the file can be added to.
#include "internal/storage/orphan_file.h"
#include "tests/fuzz/store_files.h"

namespace logstream::fuzz {

using namespace storage;
using protocol::BatchView;

namespace {

constexpr std::size_t kLineageBytes = 16;
constexpr protocol::ClusterId kLineage{0x0f};

Bytes repaired(Input input) {
    Bytes out = Bytes::copy_of(input);
    const std::span<std::byte> file(out.mutable_data(), out.size());
    for (std::size_t at = 0; file.size() - at > kLineageBytes;) {
        const std::size_t entry = repair_entry(file.subspan(at + kLineageBytes));
        if (entry == 0) break;
        std::byte* lineage = file.data() + at;
        const std::uint32_t sum = protocol::crc32c({lineage, 8});
        protocol::store(lineage + 8, protocol::crc32c({lineage + kLineageBytes, kEntryHeaderBytes}, sum));
        at += kLineageBytes + entry;
    }
    return out;
}

std::size_t read_all(FakeDisk& disk, OrphanFiles& orphans) {
    const auto entries = orphans.list(kStream);
    for (const OrphanEntry& entry : entries) {
        const auto bytes =
            await<Result<Bytes>>(disk, [&](auto done) { orphans.read(kStream, entry, std::move(done)); });
        LS_ASSERT(bytes.has_value());
        const auto batch = BatchView::parse(*bytes);
        LS_ASSERT(batch && batch->crc_ok());
        LS_ASSERT(batch->base_offset() == entry.base_offset && batch->leader_epoch() == entry.view);
    }
    return entries.size();
}

void recover(Input file) {
    FakeDisk disk;
    leave_store(disk, 1);
    put(disk, kOrphanFile, file);
    auto store = open(disk);
    const std::size_t found = read_all(disk, store->orphans());

    protocol::BatchBuilder builder({});
    builder.add(1000, std::nullopt, "value");
    Bytes batch = *builder.finish();
    protocol::assign(batch, Offset{77}, ViewNumber{protocol::kMaxViewNumber});
    LS_ASSERT(await<Result<void>>(disk, [&](auto done) {
                  store->orphans().add(kStream, kLineage, {batch}, std::move(done));
              }).has_value());
    const std::size_t kept = read_all(disk, store->orphans());
    LS_ASSERT(kept == found + 1 || kept == found);  // unless it was there
    store.reset();
    disk.crash(FakeDisk::Crash::kMachine);

    store = open(disk);
    LS_ASSERT(read_all(disk, store->orphans()) == kept);
    LS_ASSERT(await<Result<void>>(disk, [&](auto done) { store->orphans().remove(kStream, std::move(done)); }));
    LS_ASSERT(store->orphans().streams().empty());
}

}  // namespace

void try_input(Input input) {
    recover(input);
    recover(repaired(input).span());
}

}  // namespace logstream::fuzz
