// Two results of `logstream-bench` side by side.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "internal/protocol/error.h"

namespace logstream::bench {

// A result that `logstream-bench --json` wrote.
protocol::Result<nlohmann::json> read_result(const std::string& path);

// before, after, ratio (after to before; null where before is 0) for each figure, and `settings`: what the two runs did
// not have in common, by name.
nlohmann::json compare(const nlohmann::json& before, const nlohmann::json& after);
// The same as a table; a warning on stderr when the settings differ.
void print_comparison(const nlohmann::json& comparison);

}  // namespace logstream::bench
