// Which codec pays for a stream, found out on its own batches.
#pragma once

#include <cstdint>
#include <span>

#include "internal/protocol/compression.h"

namespace logstream::client {

// Tries lz4 and zstd on one batch of every `kEvery`, beginning with the first, and stays with what it found in between.
// zstd costs several times the CPU time of lz4, and lz4 more than nothing: each has to save a part of the bytes that
// the cheaper choice leaves.
class CodecChoice {
public:
    static constexpr std::uint32_t kEvery = 256;
    static constexpr double kWorthIt = 0.9;  // of the bytes of the cheaper choice, at most

    // For a batch of these records, as they are before compression.
    protocol::Codec next(std::span<const std::byte> records) {
        if (batches_++ % kEvery == 0) choose(records);
        return codec_;
    }

private:
    void choose(std::span<const std::byte> records);

    protocol::Codec codec_{protocol::Codec::kNone};
    std::uint32_t batches_{};
};

}  // namespace logstream::client
