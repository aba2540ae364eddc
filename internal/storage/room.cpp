#include "internal/storage/room.h"

#include <algorithm>
#include <array>

#include "internal/protocol/error.h"
#include "internal/storage/entry.h"

namespace logstream::storage {
namespace {

// Repeated from the file's begin on.
constexpr std::array kPattern{std::byte{'R'}, std::byte{'o'}, std::byte{'O'}, std::byte{'m'}};
constexpr std::size_t kPhases = kPattern.size();
// An entry's header is not like room in more bytes than a fourth of them.
constexpr std::size_t kLeastAlike = kEntryHeaderBytes * 3 / 4;

std::byte pattern_at(std::uint64_t position) { return kPattern[position % kPhases]; }

}  // namespace

Bytes room(std::uint64_t position, std::size_t size) {
    static const Bytes pattern = [] {
        Bytes bytes = Bytes::allocate(kMaxRoomBytes + kPhases);
        for (std::size_t i = 0; i < bytes.size(); ++i) bytes.mutable_data()[i] = pattern_at(i);
        return bytes;
    }();
    LS_ASSERT(size <= kMaxRoomBytes);
    return pattern.slice(position % kPhases, size);
}

std::size_t room_begin(std::span<const std::byte> data, std::uint64_t position) {
    std::size_t end = data.size();
    while (end > 0 && data[end - 1] == pattern_at(position + end - 1)) --end;
    return end;
}

bool is_room(std::span<const std::byte> data, std::size_t at, std::uint64_t position) {
    const auto place = data.subspan(at, std::min(kEntryHeaderBytes, data.size() - at));
    std::size_t alike = 0;
    for (std::size_t i = 0; i < place.size(); ++i) alike += place[i] == pattern_at(position + at + i) ? 1 : 0;
    return alike >= std::min(kLeastAlike, place.size());
}

}  // namespace logstream::storage
