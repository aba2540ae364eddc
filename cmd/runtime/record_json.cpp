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

std::unexpected<std::string> expected_but(std::string_view what, const json& got) {
    return std::unexpected(fmt::format("expected {}, got {}", what, text::dump(got)));
}

template <std::size_t N>
Parsed<void> check_fields(const json& object, const std::array<std::string_view, N>& known) {
    for (const auto& [field, value] : object.items())
        if (std::ranges::find(known, field) == known.end())
            return std::unexpected(
                fmt::format("there is no field '{}' in a record{}", field, config::did_you_mean(field, known)));
    return {};
}

// The field, or its base64 form; a missing one and null are no text.
Parsed<std::optional<std::string>> text_at(const json& object, const std::string& field) {
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
    return plain->is_string() ? plain->get<std::string>() : text::dump(*plain);
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
    for (const auto& [key, value] : headers.items()) {
        auto text = text_at(headers, key);
        if (!text) return std::unexpected(text.error());
        out.headers.emplace_back(key, *std::move(text));
    }
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

void append_json(std::string& out, const std::optional<RecordPlace>& place, const protocol::Record& record) {
    json object;
    if (place) {
        object["topic"] = place->topic;
        object["partition"] = place->partition;
        object["offset"] = place->offset.value;
    }
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
    const json object = json::parse(line, nullptr, false);
    if (!object.is_object()) return std::unexpected("expected a JSON object, as in {\"key\": \"k\", \"value\": \"v\"}");
    if (auto known = check_fields(object, kRecordFields); !known) return std::unexpected(known.error());
    if (!object.contains("value") && !object.contains("value_base64"))
        return std::unexpected("expected a value; null deletes the key in a topic that is compacted");
    OwnedRecord out;
    auto key = text_at(object, "key");
    auto value = text_at(object, "value");
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
