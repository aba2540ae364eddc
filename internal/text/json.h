// JSON that is made of, and read from, what others sent: no value of theirs throws.
#pragma once

#include <concepts>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace logstream::text {

// object[key] = value; bytes that are not UTF-8 stand in object[key + "_base64"] in place of it, without loss.
void put(nlohmann::json& object, std::string_view key, std::optional<std::string_view> value);

// On one line, or indented. What is not UTF-8 all the same is shown with U+FFFD.
std::string dump(const nlohmann::json& value, int indent = -1);

// What a field holds, or `otherwise` when it is missing or of another type, or when this is no object at all.
std::string string_at(const nlohmann::json& object, std::string_view key, std::string_view otherwise = "");
bool bool_at(const nlohmann::json& object, std::string_view key, bool otherwise = false);
std::uint64_t count_at(const nlohmann::json& object, std::string_view key, std::uint64_t otherwise = 0);
double number_at(const nlohmann::json& object, std::string_view key, double otherwise = 0);

}  // namespace logstream::text
