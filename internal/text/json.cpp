#include "internal/text/json.h"

#include "internal/text/utf8.h"

namespace logstream::text {

using nlohmann::json;

namespace {

const json* find(const json& object, std::string_view key) {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(std::string(key));
    return found == object.end() ? nullptr : &*found;
}

}  // namespace

void put(json& object, std::string_view key, std::optional<std::string_view> value) {
    if (!value) {
        object[std::string(key)] = nullptr;
    } else if (is_utf8(*value)) {
        object[std::string(key)] = std::string(*value);
    } else {
        object[std::string(key) + "_base64"] = base64(*value);
    }
}

std::string dump(const json& value, int indent) {
    return value.dump(indent, ' ', false, json::error_handler_t::replace);
}

std::string string_at(const json& object, std::string_view key, std::string_view otherwise) {
    const json* const found = find(object, key);
    return found != nullptr && found->is_string() ? found->get<std::string>() : std::string(otherwise);
}

bool bool_at(const json& object, std::string_view key, bool otherwise) {
    const json* const found = find(object, key);
    return found != nullptr && found->is_boolean() ? found->get<bool>() : otherwise;
}

std::uint64_t count_at(const json& object, std::string_view key, std::uint64_t otherwise) {
    const json* const found = find(object, key);
    return found != nullptr && found->is_number_unsigned() ? found->get<std::uint64_t>() : otherwise;
}

double number_at(const json& object, std::string_view key, double otherwise) {
    const json* const found = find(object, key);
    return found != nullptr && found->is_number() ? found->get<double>() : otherwise;
}

}  // namespace logstream::text
