// Room: what a segment's file has behind its last entry, written in advance. An entry that goes where the disk has
// blocks already is flushed without the file system's journal, which costs a fraction of the time. Room is no zeros:
// an entry may end with these, and what is cut off would look like what is damaged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "internal/protocol/bytes.h"

namespace logstream::storage {

using protocol::Bytes;

inline constexpr std::size_t kMaxRoomBytes = 512u << 10;

// What room looks like from `position` of a file on; `size` <= kMaxRoomBytes.
Bytes room(std::uint64_t position, std::size_t size);
// `data` holds the end of a file, from `position` on: where the room behind everything else begins in it.
std::size_t room_begin(std::span<const std::byte> data, std::uint64_t position);
// Whether room stands where an entry's header would be, at `at` of the same data. A flipped bit or two do not change
// the answer.
bool is_room(std::span<const std::byte> data, std::size_t at, std::uint64_t position);

}  // namespace logstream::storage
