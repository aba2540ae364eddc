#include "cmd/bench/comparison.h"

#include <array>
#include <cstdio>
#include <fstream>
#include <optional>

#include "internal/text/json.h"

namespace logstream::bench {

using nlohmann::json;

namespace {

struct Figure {
    const char* name;
    const char* path;  // in a result
    double unit;       // what is printed is the figure divided by it
};
constexpr std::array kFigures{
    Figure{"records/s", "/records_per_s", 1},           Figure{"MB/s", "/mb_per_s", 1},
    Figure{"ack p50, ms", "/ack_us/p50", 1000},         Figure{"ack p99, ms", "/ack_us/p99", 1000},
    Figure{"ack p99.9, ms", "/ack_us/p999", 1000},      Figure{"ack max, ms", "/ack_us/max", 1000},
    Figure{"longest gap, ms", "/longest_gap_us", 1000}, Figure{"consumed records/s", "/consumed_records_per_s", 1},
    Figure{"deliver p50, ms", "/deliver_us/p50", 1000}, Figure{"deliver p99, ms", "/deliver_us/p99", 1000},
};

constexpr std::array kSettings{"record_bytes", "replicas",    "acks",      "fsync",      "producers",
                               "consumers",    "partitions",  "in_flight", "window",     "batch_bytes",
                               "linger_us",    "compression", "rate",      "duration_s", "topics"};

std::optional<double> number_at(const json& result, const char* path) {
    const json::json_pointer at(path);
    if (!result.contains(at) || !result[at].is_number()) return std::nullopt;
    return result[at].get<double>();
}

std::string text_of(const json& value, int digits) {
    return value.is_number() ? fmt::format("{:.{}f}", value.get<double>(), digits) : "-";
}

}  // namespace

protocol::Result<json> read_result(const std::string& path) {
    std::ifstream file(path);
    json result = json::parse(file, nullptr, false);
    if (result.is_object() && number_at(result, "/records_per_s")) return result;
    return protocol::fail(protocol::ErrorCode::kInvalid,
                          "{} is not a result of logstream-bench: write one with logstream-bench --json > {}", path,
                          path);
}

json compare(const json& before, const json& after) {
    json out{{"figures", json::array()}, {"settings", json::object()}};
    for (const Figure& figure : kFigures) {
        const auto was = number_at(before, figure.path);
        const auto is = number_at(after, figure.path);
        // Nobody produced, or nobody read.
        if (was.value_or(0) == 0 && is.value_or(0) == 0) continue;
        json row{{"name", figure.name}, {"before", nullptr}, {"after", nullptr}, {"ratio", nullptr}};
        if (was) row["before"] = *was / figure.unit;
        if (is) row["after"] = *is / figure.unit;
        if (was && is && *was != 0) row["ratio"] = *is / *was;
        out["figures"].push_back(std::move(row));
    }
    for (const char* name : kSettings) {
        const json was = before.value(name, json(nullptr));
        const json is = after.value(name, json(nullptr));
        if (was != is) out["settings"][name] = {{"before", was}, {"after", is}};
    }
    return out;
}

void print_comparison(const json& comparison) {
    for (const auto& [name, values] : comparison["settings"].items())
        std::fprintf(stderr, "logstream-bench: the results differ in %s: %s before, %s after\n", name.c_str(),
                     text::dump(values["before"]).c_str(), text::dump(values["after"]).c_str());
    std::printf("%-20s %14s %14s %8s\n", "", "before", "after", "ratio");
    for (const json& row : comparison["figures"])
        std::printf("%-20s %14s %14s %8s\n", row["name"].get<std::string>().c_str(), text_of(row["before"], 2).c_str(),
                    text_of(row["after"], 2).c_str(), text_of(row["ratio"], 3).c_str());
}

}  // namespace logstream::bench
