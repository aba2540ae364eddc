// What the fuzz targets share. A target is one file that defines `try_input`; what it claims about its input it says
// with LS_ASSERT, which aborts, and so do the sanitizers.
//
// A checksum would keep the fuzzer out of everything behind it. So a target tries each input twice where there is one:
// as it is, and with its checksums put right, as a broken peer or an old version of this program would send it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "internal/protocol/bytes.h"
#include "internal/protocol/wire.h"

namespace logstream::fuzz {

using Input = std::span<const std::byte>;

// Of the target that is linked.
void try_input(Input input);

// Several byte strings in one input: each behind a byte that says what it is for, and a length of 16 bits. The last one
// may be shorter than it says.
struct Piece {
    std::uint8_t tag{};
    Input bytes;
};

inline std::vector<Piece> cut(Input input) {
    std::vector<Piece> pieces;
    while (input.size() >= 3) {
        const std::size_t length = protocol::load<std::uint16_t>(input.data() + 1);
        const Input rest = input.subspan(3);
        pieces.push_back({std::to_integer<std::uint8_t>(input[0]), rest.first(std::min(length, rest.size()))});
        input = rest.subspan(pieces.back().bytes.size());
    }
    return pieces;
}

// What `cut` reads.
inline void append(std::vector<std::byte>& to, std::uint8_t tag, Input bytes) {
    LS_ASSERT(bytes.size() <= 0xffff);
    to.resize(to.size() + 3);
    to[to.size() - 3] = std::byte{tag};
    protocol::store(&to[to.size() - 2], static_cast<std::uint16_t>(bytes.size()));
    to.insert(to.end(), bytes.begin(), bytes.end());
}

inline bool equal(Input a, Input b) { return std::ranges::equal(a, b); }

}  // namespace logstream::fuzz
