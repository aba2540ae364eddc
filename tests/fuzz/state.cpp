// The state file and the node's record in it: damage is told from absence, and from another content.
#include "internal/storage/byte_codec.h"
#include "internal/storage/state_file.h"
#include "internal/view/record.h"
#include "tests/fuzz/store_files.h"

namespace logstream::fuzz {

using namespace storage;

namespace {

void load(FakeDisk& disk) {
    auto store = open(disk);
    LS_ASSERT(store->state_damaged() == !store->state().has_value());
    const Bytes state = store->state().value_or(Bytes::copy_of("a new state"));
    const auto record = view::decode_record(state.view());
    if (record) LS_ASSERT(view::decode_record(view::encode(*record)).has_value());
    // What is saved is what is found.
    LS_ASSERT(await<Result<void>>(disk, [&](auto done) { store->save_state(state, std::move(done)); }).has_value());
    store.reset();
    disk.crash(FakeDisk::Crash::kMachine);
    store = open(disk);
    LS_ASSERT(!store->state_damaged() && equal(store->state()->span(), state.span()));
}

// Whatever bit flips in the file, its content is not believed.
void flip(Bytes file) {
    const std::size_t bit = protocol::crc32c(file.span()) % (file.size() * 8);
    file.mutable_data()[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    FakeDisk disk;
    leave_store(disk, 1);
    put(disk, kDir + "/state.9", file.span());
    LS_ASSERT(open(disk)->state_damaged());
}

}  // namespace

void try_input(Input input) {
    ByteWriter newest;
    newest.put(std::uint64_t{9});
    newest.put_bytes(input);
    const Bytes sealed = seal(0x5453534c, newest.take());
    flip(Bytes::copy_of(sealed.span()));
    for (const Bytes& file : {Bytes::copy_of(input), with_checksums(FileKind::kOther, input), sealed}) {
        for (const std::string name : {"/state.9", "/run"}) {
            FakeDisk disk;
            leave_store(disk, 1);
            put(disk, kDir + name, file.span());
            load(disk);
        }
    }
}

}  // namespace logstream::fuzz
