#include "tests/sim/report.h"

#include <nlohmann/json.hpp>

#include "tests/sim/options.h"

namespace logstream::sim {

std::string encode(const Report& report) {
    nlohmann::json out;
    out["seed"] = report.seed;
    out["fingerprint"] = report.fingerprint;
    out["virtual_seconds"] = report.virtual_seconds;
    out["counts"] = report.counts;
    for (const Violation& violation : report.violations)
        out["violations"].push_back({{"promise", violation.promise},
                                     {"text", violation.text},
                                     {"at", violation.at.time_since_epoch().count()}});
    return out.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

bool decode(const std::string& text, Report& out) {
    const auto in = nlohmann::json::parse(text, nullptr, false);
    if (in.is_discarded()) return false;
    out.seed = in.value("seed", std::uint64_t{});
    out.fingerprint = in.value("fingerprint", std::uint64_t{});
    out.virtual_seconds = in.value("virtual_seconds", 0.0);
    out.counts = in.value("counts", Counts{});
    if (in.contains("violations"))
        for (const auto& violation : in["violations"])
            out.violations.push_back({violation.value("promise", ""), violation.value("text", ""),
                                      protocol::TimePoint(protocol::Duration(violation.value("at", std::int64_t{})))});
    return true;
}

std::vector<std::string> never_happened(const Counts& counts) {
    std::vector<std::string> expected = {
        "records acknowledged", "records consumed",      "view changes", "elections", "orphans", "merges", "catch-ups",
        "retransmits",          "partitions handed over"};
    for (Fault fault : all_faults()) expected.push_back("fault " + std::string(name_of(fault)));
    std::vector<std::string> out;
    for (const std::string& name : expected)
        if (const auto found = counts.find(name); found == counts.end() || found->second == 0) out.push_back(name);
    return out;
}

}  // namespace logstream::sim
