// The part of record_batch.h that tells whether two sides have the same records.
#include <xxhash.h>

#include "internal/protocol/record_batch.h"

namespace logstream::protocol {
namespace {

// A text that is not there differs from one that is empty.
std::uint64_t mix(std::uint64_t seed, std::optional<std::string_view> text) {
    const std::uint64_t tagged = (seed << 1) | (text ? 1 : 0);
    return text ? XXH3_64bits_withSeed(text->data(), text->size(), tagged)
                : XXH3_64bits_withSeed(&tagged, sizeof tagged, tagged);
}

}  // namespace

std::uint64_t content_of(std::int32_t sequence, std::optional<std::string_view> key,
                         std::optional<std::string_view> value) {
    return mix(mix(static_cast<std::uint64_t>(sequence), key), value);
}

std::optional<std::uint64_t> content_of(const BatchView& batch, std::size_t max_decompressed_bytes) {
    if (batch.base_sequence() < 0 || batch.record_count() != batch.next_offset() - batch.base_offset())
        return std::nullopt;
    std::uint64_t sum = 0;
    const auto read = batch.for_each(max_decompressed_bytes, [&](const Record& record) {
        const auto at = static_cast<std::int32_t>(record.offset - batch.base_offset());
        sum += content_of(advance_sequence(batch.base_sequence(), at), record.key, record.value);
        return true;
    });
    return read ? std::optional(sum) : std::nullopt;
}

}  // namespace logstream::protocol
