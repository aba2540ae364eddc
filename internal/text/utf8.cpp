#include "internal/text/utf8.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace logstream::text {

namespace {

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

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

std::optional<std::string> from_base64(std::string_view text) {
    if (text.size() % 4 != 0) return std::nullopt;
    const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
    std::string out;
    out.reserve(text.size() / 4 * 3);
    for (std::size_t i = 0; i < text.size(); i += 4) {
        const std::size_t digits = i + 4 == text.size() ? 4 - padding : 4;
        std::uint32_t bits = 0;
        for (std::size_t k = 0; k < 4; ++k) {
            const std::size_t value = k < digits ? kDigits.find(text[i + k]) : 0;
            if (value == std::string_view::npos) return std::nullopt;
            bits = bits << 6 | static_cast<std::uint32_t>(value);
        }
        // What the last digit has beyond the last byte is zero: each text of bytes has one form.
        if ((digits < 4 && (bits & 0xff) != 0) || (digits == 2 && (bits & 0xffff) != 0)) return std::nullopt;
        for (std::size_t byte = 0; byte + 1 < digits; ++byte) out += static_cast<char>(bits >> (16 - 8 * byte) & 0xff);
    }
    return out;
}

}  // namespace logstream::text
