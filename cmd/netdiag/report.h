// What netdiag found: one line each, for people or as JSON.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace logstream::netdiag {

enum class Level : std::uint8_t {
    kOk,
    kWarn,  // a broker works, with less: the text says with what, and what to do
    kFail,  // a broker could not work here
};

struct Finding {
    Level level{};
    std::string what;  // "multicast", "tcp"
    std::string text;  // one line, with what to fix
    nlohmann::json data = nlohmann::json::object();
};
using Findings = std::vector<Finding>;

inline Finding ok(std::string what, std::string text, nlohmann::json data = nlohmann::json::object()) {
    return {Level::kOk, std::move(what), std::move(text), std::move(data)};
}
inline Finding warn(std::string what, std::string text, nlohmann::json data = nlohmann::json::object()) {
    return {Level::kWarn, std::move(what), std::move(text), std::move(data)};
}
inline Finding failed(std::string what, std::string text, nlohmann::json data = nlohmann::json::object()) {
    return {Level::kFail, std::move(what), std::move(text), std::move(data)};
}

bool any_failed(const Findings& findings);
void print_text(const Findings& findings);
// One object: {"ok":…,"checks":[{"level":"ok","what":…,"text":…,…}]}; a finding's data is in its object.
void print_json(const Findings& findings);

}  // namespace logstream::netdiag
