#include "internal/storage/watermark_file.h"

#include "internal/storage/byte_codec.h"
#include "internal/storage/state_file.h"

namespace logstream::storage {
namespace {

constexpr std::uint32_t kMagic = 0x3257534c;  // "LSW2"
constexpr std::size_t kMaxBytes = 64u << 20;
constexpr std::size_t kEntryBytes = 20;

}  // namespace

Result<void> WatermarkFile::load() {
    auto file = disk_.read_now(path_, 0, kMaxBytes);
    if (!file) return is_missing(file.error()) ? Result<void>{} : std::unexpected(std::move(file.error()));
    const auto content = unseal(kMagic, *file, path_);
    if (!content) return {};
    ByteReader in(content->span());
    if (in.rest().size() < sizeof(std::uint64_t)) return {};
    saved_.lineage.value = in.get<std::uint64_t>();
    while (in.rest().size() >= kEntryBytes) {
        protocol::StreamId stream;
        stream.topic.value = in.get<std::uint64_t>();
        stream.partition = in.get<std::uint32_t>();
        saved_.of[stream] = Offset{in.get<std::int64_t>()};
    }
    return {};
}

Offset WatermarkFile::of(protocol::ClusterId lineage, protocol::StreamId stream) const {
    const auto found = saved_.of.find(stream);
    return found == saved_.of.end() || saved_.lineage != lineage ? Offset{} : found->second;
}

bool WatermarkFile::lower(protocol::StreamId stream, Offset end) {
    const auto found = saved_.of.find(stream);
    if (found == saved_.of.end() || found->second <= end) return false;
    found->second = end;
    return true;
}

DiskOp WatermarkFile::replace(const Watermarks& watermarks) const {
    ByteWriter out;
    out.put(watermarks.lineage.value);
    for (const auto& [stream, offset] : watermarks.of) {
        out.put(stream.topic.value);
        out.put(stream.partition);
        out.put(offset.value);
    }
    return ReplaceOp{path_, {seal(kMagic, out.take())}};
}

Result<void> WatermarkFile::rewrite() { return disk_.run_now({replace(saved_)}).status; }

void WatermarkFile::save(Watermarks watermarks) {
    if (saving_ || watermarks == saved_) return;
    saving_ = true;
    std::vector<DiskOp> ops{replace(watermarks)};
    commit_.beside(std::move(ops),
                   lifetime_.guard([this, watermarks = std::move(watermarks)](const Result<void>& saved) mutable {
                       saving_ = false;
                       if (saved) saved_ = std::move(watermarks);
                   }));
}

}  // namespace logstream::storage
