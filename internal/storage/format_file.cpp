#include "internal/storage/format_file.h"

#include "internal/storage/byte_codec.h"
#include "internal/storage/state_file.h"

namespace logstream::storage {
namespace {

constexpr std::uint32_t kMagic = 0x4653534c;  // "LSSF"
constexpr std::size_t kMaxBytes = 4096;

}  // namespace

Result<void> FormatFile::load(std::uint32_t known) {
    const auto file = disk_.read_now(path_, 0, kMaxBytes);
    if (!file) return is_missing(file.error()) ? Result<void>{} : std::unexpected(file.error());
    const auto content = unseal(kMagic, *file, path_);
    if (!content) return {};
    ByteReader in(content->span());
    const auto version = in.get<std::uint32_t>();
    if (!in.ok()) return {};
    if (version > known)
        return protocol::fail(ErrorCode::kConfig,
                              "{} says that this data folder has version {}, but this program supports versions up to "
                              "{}: start the newer LogStream version that used the folder. Nothing was changed",
                              path_, version, known);
    version_ = version;
    return {};
}

void FormatFile::raise(std::uint32_t version) {
    if (version <= version_) return;
    version_ = version;
    ByteWriter out;
    out.put(version);
    // A disk that is full takes it at the next start.
    commit_.urgent({ReplaceOp{path_, {seal(kMagic, out.take())}}}, [](const Result<void>&) {});
}

}  // namespace logstream::storage
