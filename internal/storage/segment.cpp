#include "internal/storage/segment.h"

#include <fmt/format.h>

#include <charconv>

namespace logstream::storage {
namespace {

constexpr std::size_t kBaseDigits = 20;

template <class T>
bool parse_number(std::string_view text, T& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::string segment_stem(const std::string& dir, Offset base, std::uint32_t generation) {
    if (generation == 0) return fmt::format("{}/{:020}", dir, base.value);
    return fmt::format("{}/{:020}.{}", dir, base.value, generation);
}

std::string segment_tables_path(const std::string& dir, Offset base) {
    return fmt::format("{}/{:020}.tables", dir, base.value);
}

FileName parse_file_name(std::string_view name) {
    FileName result;
    const std::size_t dot = name.rfind('.');
    if (dot == std::string_view::npos || name.size() < kBaseDigits) return {};
    const std::string_view suffix = name.substr(dot);
    if (!parse_number(name.substr(0, kBaseDigits), result.base.value) || result.base < Offset(0)) return {};
    const std::string_view middle = name.substr(kBaseDigits, dot - kBaseDigits);
    if (!middle.empty() && (middle[0] != '.' || !parse_number(middle.substr(1), result.generation))) return {};
    if (suffix == ".log") {
        result.kind = FileKind::kLog;
    } else if (suffix == ".index") {
        result.kind = FileKind::kIndex;
    } else if (suffix == ".tables" && middle.empty()) {
        result.kind = FileKind::kTables;
    } else {
        return {};
    }
    return result;
}

}  // namespace logstream::storage
