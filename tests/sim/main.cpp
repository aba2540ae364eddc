// logstream-sim: the real broker and client code, whole clusters of it, in one process, on virtual time, from a seed.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "tests/sim/many.h"
#include "tests/sim/planted.h"
#include "tests/sim/simulation.h"

namespace {

using namespace logstream::sim;
using logstream::protocol::Duration;

struct Arguments {
    std::optional<std::uint64_t> seed;
    std::string seeds;
    std::string time = "60s";
    std::size_t nodes{};
    std::string faults;
    unsigned jobs{};
    bool trace{};
    bool debug{};
    bool minimize{};
    std::string planted;
    std::optional<std::string> prove;
};

[[noreturn]] void wrong_usage(const std::string& text) {
    std::fprintf(stderr, "logstream-sim: %s\n", text.c_str());
    std::exit(2);
}

Duration parse_time(const std::string& text) {
    std::size_t end = 0;
    double value = 0;
    try {
        value = std::stod(text, &end);
    } catch (const std::exception&) {
        end = 0;
    }
    const std::string unit = text.substr(end);
    const double scale = unit == "ms"                   ? 1e6
                         : unit == "s" || unit.empty()  ? 1e9
                         : unit == "m" || unit == "min" ? 60e9
                                                        : 0;
    if (end == 0 || scale == 0 || value * scale < 1e9 || value * scale > 1e15)
        wrong_usage("--time expects a duration from 1s on, such as 60s or 5m, not '" + text + "'");
    return Duration(static_cast<std::int64_t>(value * scale));
}

std::pair<std::uint64_t, std::uint64_t> parse_seeds(const std::string& text) {
    const std::size_t dots = text.find("..");
    const auto number = [&](const std::string& part) {
        if (part.empty() || part.find_first_not_of("0123456789") != std::string::npos || part.size() > 18)
            wrong_usage("--seeds expects A..B, not '" + text + "'");
        return std::stoull(part);
    };
    if (dots == std::string::npos) wrong_usage("--seeds expects A..B, not '" + text + "'");
    const auto out = std::pair(number(text.substr(0, dots)), number(text.substr(dots + 2)));
    if (out.first > out.second) wrong_usage("--seeds expects A..B with A <= B, not '" + text + "'");
    return out;
}

std::set<Fault> parse_faults(const std::string& text) {
    if (text == "all") return all_faults();
    std::set<Fault> out;
    std::size_t begin = 0;
    while (text != "none" && begin <= text.size()) {
        const std::size_t end = std::min(text.find(',', begin), text.size());
        const std::string name = text.substr(begin, end - begin);
        const auto fault = fault_named(name);
        if (!fault) {
            std::string names;
            for (Fault each : all_faults()) names += " " + std::string(name_of(each));
            wrong_usage("there is no fault '" + name + "'; there are: all none" + names);
        }
        out.insert(*fault);
        begin = end + 1;
    }
    return out;
}

std::string names_of_bugs() {
    std::string out = "; there are:";
    for (const PlantedBug& bug : planted_bugs()) out += " " + std::string(bug.name);
    return out;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Runs whole LogStream clusters in a virtual world of faults, and checks the promises from outside."};
    app.footer(
        "Examples:\n"
        "  logstream-sim --seeds 1..300             300 runs, and what happened in them, counted\n"
        "  logstream-sim --seed 7 --trace           one run, told line by line\n"
        "  logstream-sim --seed 7 --minimize        the least that still fails\n"
        "  logstream-sim --prove-checkers           each planted bug is found by the checker meant for it");
    Arguments arguments;
    auto* seed = app.add_option("--seed", arguments.seed, "Run this seed");
    auto* seeds = app.add_option("--seeds", arguments.seeds, "Run the seeds A..B and count");
    seed->excludes(seeds);
    app.add_option("--time", arguments.time, "Virtual time of a run")->capture_default_str();
    app.add_option("--nodes", arguments.nodes, "Brokers, 1 to 7; else the seed draws them")->check(CLI::Range(1, 7));
    app.add_option("--faults", arguments.faults, "Fault kinds, by comma; all; none; else the seed draws them");
    app.add_option("--jobs", arguments.jobs, "Seeds at a time; by default one a processor")->check(CLI::Range(1, 256));
    app.add_flag("--trace", arguments.trace, "Print what happens, by virtual time");
    app.add_flag("--debug", arguments.debug, "With --trace: more of it");
    app.add_flag("--minimize", arguments.minimize, "Drop fault kinds and brokers while the seed still fails");
    app.add_option("--planted", arguments.planted, "Run with this bug planted");
    app.add_option("--prove-checkers", arguments.prove, "See each planted bug (or the one named) found")
        ->expected(0, 1);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        const int code = app.exit(error);
        return code == 0 ? 0 : 2;
    }
    if (!arguments.seed && !arguments.prove && arguments.seeds.empty()) wrong_usage("give --seed N or --seeds A..B");

    Options options;
    options.time = parse_time(arguments.time);
    if (arguments.nodes > 0) options.nodes = arguments.nodes;
    if (!arguments.faults.empty()) options.faults = parse_faults(arguments.faults);
    if (!arguments.planted.empty()) {
        const PlantedBug* bug = planted_bug_named(arguments.planted);
        if (bug == nullptr) wrong_usage("there is no planted bug '" + arguments.planted + "'" + names_of_bugs());
        options.planted = bug->bug;
    }
    if (arguments.prove) {
        if (!arguments.prove->empty() && planted_bug_named(*arguments.prove) == nullptr)
            wrong_usage("there is no planted bug '" + *arguments.prove + "'" + names_of_bugs());
        return prove_checkers(options, *arguments.prove, arguments.jobs);
    }
    if (!arguments.seeds.empty()) {
        const auto [first, last] = parse_seeds(arguments.seeds);
        return run_many(options, first, last, arguments.jobs);
    }
    options.seed = *arguments.seed;
    if (arguments.minimize) return minimize(options);
    return run_one(options, !arguments.trace  ? Transcript::Detail::kNone
                            : arguments.debug ? Transcript::Detail::kDebug
                                              : Transcript::Detail::kInfo);
}
