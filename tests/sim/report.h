// What a run came to: broken promises, and counts of what happened, which add up over many runs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/checkers/violations.h"

namespace logstream::sim {

// By name, in the order of names.
using Counts = std::map<std::string, std::uint64_t>;

struct Report {
    std::uint64_t seed{};
    std::vector<Violation> violations;
    Counts counts;
    std::uint64_t fingerprint{};
    double virtual_seconds{};
    bool passed() const { return violations.empty(); }
};

// As one line of text each, between processes.
std::string encode(const Report& report);
bool decode(const std::string& text, Report& out);

// What a run of many seeds must have seen at least once.
std::vector<std::string> never_happened(const Counts& counts);

}  // namespace logstream::sim
