#include "internal/storage/state_file.h"

#include <utility>

#include "internal/protocol/checksum.h"
#include "internal/storage/byte_codec.h"

namespace logstream::storage {
namespace {

constexpr std::uint32_t kStateMagic = 0x5453534c;  // "LSST"
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kMaxStateBytes = 64u << 20;

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

Result<void> StateFile::load() {
    auto file = disk_.read_now(path_, 0, kMaxStateBytes);
    if (!file) {
        if (file.error().code == ErrorCode::kInvalid) return {};  // there is none
        return std::unexpected(std::move(file.error()));
    }
    auto content = unseal(kStateMagic, *file, path_);
    if (content) {
        content_ = std::move(*content);
    } else {
        damaged_ = true;
    }
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
    commit_.urgent({ReplaceOp{path_, {seal(kStateMagic, state)}}},
                   [this, alive = std::weak_ptr(alive_), state,
                    callbacks = std::exchange(waiting_, {})](const Result<void>& status) mutable {
                       if (!alive.lock()) return;
                       saving_ = false;
                       if (status) {
                           content_ = std::move(state);
                           damaged_ = false;
                       }
                       if (next_) start();
                       for (FlushCallback& callback : callbacks) callback(status);
                   });
}

}  // namespace logstream::storage
