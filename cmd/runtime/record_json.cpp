#include "cmd/runtime/record_json.h"

#include <array>
#include <limits>

#include "internal/config/nearest.h"
#include "internal/text/json.h"
#include "internal/text/utf8.h"

namespace logstream::runtime {

using config::Parsed;
using nlohmann::json;

namespace {

constexpr std::array<std::string_view, 9> kRecordFields{"key",       "key_base64", "value", "value_base64", "headers",
                                                        "partition", "timestamp",  "topic", "offset"};
constexpr std::array<std::string_view, 4> kHeaderFields{"key", "key_base64", "value", "value_base64"};

constexpr int kMostNested = 100;    // what is read here calls itself for each
constexpr std::size_t kShown = 60;  // bytes of what is wrong

std::unexpected<std::string> expected_but(std::string_view what, const json& got) {
    std::string shown = text::dump(got);
    if (shown.size() > kShown) shown.replace(kShown, std::string::npos, "…");
    return std::unexpected(fmt::format("expected {}, got {}", what, shown));
}

// Behind a string that begins at `at`.
std::size_t behind_string(std::string_view line, std::size_t at) {
    for (++at; at < line.size() && line[at] != '"'; ++at)
        if (line[at] == '\\') ++at;
    return std::min(at + 1, line.size());
}

bool is_nested_too_deeply(std::string_view line) {
    int depth = 0;
    for (std::size_t at = 0; at < line.size();) {
        const char c = line[at];
        if (c == '"') {
            at = behind_string(line, at);
            continue;
        }
        if (c == '{' || c == '[') ++depth;
        if (c == '}' || c == ']') --depth;
        if (depth > kMostNested) return true;
        ++at;
    }
    return false;
}

// Behind the value that begins at `at`, in an object that is well formed.
std::size_t behind_value(std::string_view line, std::size_t at) {
    for (int depth = 0; at < line.size();) {
        const char c = line[at];
        if (c == '"') {
            at = behind_string(line, at);
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}')) break;
        if (c == '{' || c == '[') ++depth;
        if (c == '}' || c == ']') --depth;
        ++at;
    }
    return at;
}

// The value of a field of the object as it is written: what is parsed has lost the order of its fields, and digits of
// its numbers. The last one, where there are several.
std::string raw_text(std::string_view line, std::string_view field) {
    constexpr std::string_view kSpace = " \t\r\n";
    std::string_view found;
    std::size_t at = line.find('{') + 1;
    while ((at = line.find('"', at)) != std::string_view::npos) {
        const std::size_t end = behind_string(line, at);
        const std::string_view name = line.substr(at + 1, end - at - 2);
        const std::size_t begin = line.find_first_not_of(kSpace, line.find(':', end) + 1);
        at = behind_value(line, begin);
        if (name != field) continue;
        found = line.substr(begin, at - begin);
        found = found.substr(0, found.find_last_not_of(kSpace) + 1);
    }
    return std::string(found);
}

template <std::size_t N>
Parsed<void> check_fields(const json& object, const std::array<std::string_view, N>& known) {
    for (const auto& [field, value] : object.items())
        if (std::ranges::find(known, field) == known.end())
            return std::unexpected(
                fmt::format("there is no field '{}' in a record{}", field, config::did_you_mean(field, known)));
    return {};
}

std::string text_of(const json& value) { return value.is_string() ? value.get<std::string>() : text::dump(value); }

// The field, or its base64 form; a missing one and null are no text. `line` is what the object was read from, if that
// is one line.
Parsed<std::optional<std::string>> text_at(const json& object, const std::string& field, std::string_view line = {}) {
    const auto plain = object.find(field);
    const auto coded = object.find(field + "_base64");
    if (plain != object.end() && coded != object.end())
        return std::unexpected(fmt::format("expected either {0} or {0}_base64, got both", field));
    if (coded != object.end()) {
        auto bytes = coded->is_string() ? text::from_base64(coded->get_ref<const std::string&>()) : std::nullopt;
        if (!bytes) return expected_but(fmt::format("base64 in {}_base64", field), *coded);
        return bytes;
    }
    if (plain == object.end() || plain->is_null()) return std::nullopt;
    if (const std::string raw = plain->is_string() ? "" : raw_text(line, field); !raw.empty()) return raw;
    return text_of(*plain);
}

Parsed<void> add_header(OwnedRecord& out, const json& header) {
    if (!header.is_object()) return expected_but("an object with key and value as a header", header);
    if (auto known = check_fields(header, kHeaderFields); !known) return known;
    auto key = text_at(header, "key");
    auto value = text_at(header, "value");
    if (!key) return std::unexpected(key.error());
    if (!value) return std::unexpected(value.error());
    if (!*key) return expected_but("a header with a key", header);
    out.headers.emplace_back(**std::move(key), *std::move(value));
    return {};
}

Parsed<void> read_headers(OwnedRecord& out, const json& headers) {
    if (headers.is_array()) {
        for (const json& header : headers)
            if (auto added = add_header(out, header); !added) return added;
        return {};
    }
    if (!headers.is_object()) return expected_but("an array or an object as headers", headers);
    for (const auto& [key, value] : headers.items())
        out.headers.emplace_back(key, value.is_null() ? std::nullopt : std::optional(text_of(value)));
    return {};
}

template <class T>
Parsed<void> read_number(const json& object, const char* field, std::int64_t least, std::optional<T>& out) {
    const auto found = object.find(field);
    if (found == object.end() || found->is_null()) return {};
    const bool fits = found->is_number_integer() && *found >= least && *found <= std::numeric_limits<T>::max();
    if (!fits) return expected_but(fmt::format("a whole number from {} as {}", least, field), *found);
    out = found->get<T>();
    return {};
}

}  // namespace

void append_json(std::string& out, const RecordPlace& place, const protocol::Record& record) {
    json object;
    if (place.topic) object["topic"] = *place.topic;
    object["partition"] = place.partition;
    if (place.offset) object["offset"] = place.offset->value;
    object["timestamp"] = record.timestamp_ms;
    text::put(object, "key", record.key);
    text::put(object, "value", record.value);
    object["headers"] = json::array();
    for (const protocol::Header& header : record.headers) {
        json& shown = object["headers"].emplace_back();
        text::put(shown, "key", header.key);
        text::put(shown, "value", header.value);
    }
    out.append(text::dump(object)).push_back('\n');
}

Parsed<OwnedRecord> parse_json_record(std::string_view line) {
    if (is_nested_too_deeply(line))
        return std::unexpected(fmt::format("expected at most {} levels of nested arrays and objects", kMostNested));
    const json object = json::parse(line, nullptr, false);
    if (!object.is_object()) return std::unexpected("expected a JSON object, as in {\"key\": \"k\", \"value\": \"v\"}");
    if (auto known = check_fields(object, kRecordFields); !known) return std::unexpected(known.error());
    if (!object.contains("value") && !object.contains("value_base64"))
        return std::unexpected("expected a value; null deletes the key in a compacted topic");
    OwnedRecord out;
    auto key = text_at(object, "key", line);
    auto value = text_at(object, "value", line);
    if (!key) return std::unexpected(key.error());
    if (!value) return std::unexpected(value.error());
    out.key = *std::move(key);
    out.value = *std::move(value);
    if (object.contains("headers") && !object["headers"].is_null())
        if (auto headers = read_headers(out, object["headers"]); !headers) return std::unexpected(headers.error());
    if (auto read = read_number(object, "partition", 0, out.partition); !read) return std::unexpected(read.error());
    if (auto read = read_number(object, "timestamp", 0, out.timestamp_ms); !read) return std::unexpected(read.error());
    return out;
}

}  // namespace logstream::runtime
