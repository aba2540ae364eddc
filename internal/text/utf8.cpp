#include "internal/text/utf8.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace logstream::text {

namespace {

// How many bytes a character takes that begins with `first`, and between which bounds its second byte lies (the
// Unicode Standard, table 3-7). 0: none begins so.
struct Lead {
    std::size_t size{};
    unsigned char least = 0x80;
    unsigned char most = 0xbf;
};
Lead lead_of(unsigned char first) {
    if (first < 0x80) return {1};
    if (first < 0xc2) return {0};
    if (first < 0xe0) return {2};
    if (first == 0xe0) return {3, 0xa0, 0xbf};
    if (first == 0xed) return {3, 0x80, 0x9f};
    if (first < 0xf0) return {3};
    if (first == 0xf0) return {4, 0x90, 0xbf};
    if (first < 0xf4) return {4};
    if (first == 0xf4) return {4, 0x80, 0x8f};
    return {0};
}

}  // namespace

bool is_utf8(std::string_view bytes) {
    const auto at = [bytes](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
    for (std::size_t i = 0; i < bytes.size();) {
        const Lead lead = lead_of(at(i));
        if (lead.size == 0 || lead.size > bytes.size() - i) return false;
        if (lead.size > 1 && (at(i + 1) < lead.least || at(i + 1) > lead.most)) return false;
        for (std::size_t next = 2; next < lead.size; ++next)
            if ((at(i + next) & 0xc0) != 0x80) return false;
        i += lead.size;
    }
    return true;
}

std::string base64(std::string_view bytes) {
    constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::size_t taken = std::min<std::size_t>(3, bytes.size() - i);
        std::uint32_t bits = 0;
        for (std::size_t k = 0; k < 3; ++k)
            bits = bits << 8 | (k < taken ? static_cast<unsigned char>(bytes[i + k]) : 0);
        for (std::size_t digit = 0; digit < 4; ++digit)
            out += digit > taken ? '=' : kDigits[bits >> (18 - 6 * digit) & 0x3f];
    }
    return out;
}

}  // namespace logstream::text
