// The planted bugs by name, and which checker is meant to find each.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "internal/protocol/planted.h"
#include "tests/sim/options.h"

namespace logstream::sim {

struct PlantedBug {
    protocol::Bug bug;
    std::string_view name;
    std::set<std::string> found_as;  // the promises that it breaks, as the checkers call them
    std::uint64_t seeds;             // within so many it must be found
    std::string_view scenario{};     // out of the reach of chance, and found by this scenario instead (sim_test)
};

const std::vector<PlantedBug>& planted_bugs();
const PlantedBug* planted_bug_named(std::string_view name);

// For each bug (or the one of that name): runs seeds with it until the checker meant for it reports, and the same seeds
// without it, which must be clean. Exit code 1 if one is not found or a clean run is not clean. The last line is
// "N passed, M failed".
int prove_checkers(const Options& options, std::string_view name, unsigned jobs);

}  // namespace logstream::sim
