#include "internal/storage/state_file.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "internal/protocol/checksum.h"
#include "internal/storage/byte_codec.h"

namespace logstream::storage {
namespace {

constexpr std::uint32_t kStateMagic = 0x5453534c;  // "LSST"
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kMaxStateBytes = 64u << 20;
constexpr std::string_view kPrefix = "state.";

// The number behind the prefix; 0: it is no state file that was finished.
std::uint64_t generation_of(std::string_view name) {
    std::uint64_t out = 0;
    const auto [end, error] = std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), out);
    return error == std::errc{} && end == name.data() + name.size() ? out : 0;
}

}  // namespace

Bytes seal(std::uint32_t magic, const Bytes& content) {
    ByteWriter checked;
    checked.put(kVersion);
    checked.put(static_cast<std::uint32_t>(content.size()));
    checked.put_bytes(content.span());
    ByteWriter out;
    out.put(magic);
    out.put(protocol::crc32c(checked.span()));
    out.put_bytes(checked.span());
    return out.take();
}

Result<Bytes> unseal(std::uint32_t magic, const Bytes& file, const std::string& path) {
    ByteReader in(file.span());
    const auto found_magic = in.get<std::uint32_t>();
    const auto checksum = in.get<std::uint32_t>();
    if (!in.ok() || found_magic != magic || checksum != protocol::crc32c(in.rest())) {
        return protocol::fail(ErrorCode::kCorrupt, "{} is damaged", path);
    }
    const auto version = in.get<std::uint32_t>();
    const auto length = in.get<std::uint32_t>();
    if (version != kVersion)
        return protocol::fail(ErrorCode::kCorrupt, "{} has version {}, which this program does not know", path,
                              version);
    if (!in.ok() || in.rest().size() != length) return protocol::fail(ErrorCode::kCorrupt, "{} is damaged", path);
    return Bytes::copy_of(in.rest());
}

std::string StateFile::path_of(std::uint64_t generation) const {
    return fmt::format("{}/{}{}", dir_, kPrefix, generation);
}

Result<void> StateFile::load() {
    const auto entries = disk_.list(dir_);
    if (!entries) return std::unexpected(entries.error());
    for (const DirEntry& entry : *entries) {
        if (!entry.name.starts_with(kPrefix)) continue;
        leftovers_.push_back(dir_ + "/" + entry.name);
        generation_ = std::max(generation_, generation_of(entry.name));
    }
    tried_ = generation_;
    if (generation_ == 0) return {};
    const std::string newest = path_of(generation_);
    std::erase(leftovers_, newest);
    auto file = disk_.read_now(newest, 0, kMaxStateBytes);
    if (!file) return std::unexpected(std::move(file.error()));
    const auto content = unseal(kStateMagic, *file, newest);
    ByteReader in(content ? content->span() : std::span<const std::byte>());
    damaged_ = in.get<std::uint64_t>() != generation_ || !in.ok();
    if (!damaged_) content_ = Bytes::copy_of(in.rest());
    return {};
}

void StateFile::save(Bytes state, FlushCallback callback) {
    next_ = std::move(state);
    waiting_.push_back(std::move(callback));
    if (!saving_) start();
}

void StateFile::start() {
    saving_ = true;
    Bytes state = std::move(*next_);
    next_.reset();
    std::vector<DiskOp> ops;
    for (std::string& old : std::exchange(leftovers_, {})) ops.emplace_back(RemoveOp{std::move(old)});
    ByteWriter content;
    content.put(++tried_);
    content.put_bytes(state.span());
    ops.emplace_back(ReplaceOp{path_of(tried_), {seal(kStateMagic, content.take())}});
    commit_.beside(std::move(ops),
                   lifetime_.guard([this, state, written = tried_,
                                    callbacks = std::exchange(waiting_, {})](const Result<void>& status) mutable {
                       saving_ = false;
                       if (status) {
                           content_ = std::move(state);
                           damaged_ = false;
                           if (generation_ > 0) leftovers_.push_back(path_of(generation_));
                           generation_ = written;
                       }
                       if (next_) start();
                       for (FlushCallback& callback : callbacks) callback(status);
                   }));
}

}  // namespace logstream::storage
