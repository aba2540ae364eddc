#include "internal/client/codec_choice.h"

namespace logstream::client {

using protocol::Codec;

void CodecChoice::choose(std::span<const std::byte> records) {
    codec_ = Codec::kNone;
    auto least = static_cast<double>(records.size());
    for (const Codec codec : {Codec::kLz4, Codec::kZstd}) {
        const auto compressed = protocol::compress(codec, records);
        if (!compressed || static_cast<double>(compressed->size()) > least * kWorthIt) continue;
        least = static_cast<double>(compressed->size());
        codec_ = codec;
    }
}

}  // namespace logstream::client
