// logstream-sim: the real broker and client code, whole clusters of it, in one process, on virtual time, from a seed.
#include <cstdio>

#include "cmd/runtime/client_flags.h"
#include "cmd/runtime/values.h"
#include "internal/process/standard_streams.h"
#include "tests/sim/many.h"
#include "tests/sim/planted.h"
#include "tests/sim/simulation.h"

namespace {

using namespace logstream;
using namespace logstream::sim;
using protocol::Duration;

struct Arguments {
    std::optional<std::uint64_t> seed;
    std::string seeds;
    Duration time = std::chrono::seconds(60);
    std::size_t nodes{};
    std::string faults;
    unsigned jobs{};
    bool trace{};
    bool debug{};
    bool minimize{};
    std::string planted;
    std::optional<std::string> prove;
};

[[noreturn]] void wrong_usage(const std::string& text) { std::exit(runtime::wrong_usage("logstream-sim", text)); }

// How long a run lasts: as a wait of any length, and not as long as none of them.
runtime::Parse<Duration> run_time() {
    return [](std::string_view text) -> config::Parsed<Duration> {
        constexpr Duration kMost = std::chrono::hours(240);
        auto time = config::parse_wait(text, std::chrono::seconds(1), std::chrono::seconds(1));
        if (time && *time > kMost) return std::unexpected("at most 240h");
        return time;
    };
}

std::pair<std::uint64_t, std::uint64_t> parse_seeds(const std::string& text) {
    const std::size_t dots = std::min(text.find(".."), text.size());
    const auto first = config::parse_count(std::string_view(text).substr(0, dots));
    const auto last = config::parse_count(std::string_view(text).substr(std::min(dots + 2, text.size())));
    if (!first || !last || *first > *last) wrong_usage("--seeds expects A..B with A <= B, not '" + text + "'");
    return {*first, *last};
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

int run(int argc, char** argv) {
    CLI::App app{"Runs whole LogStream clusters in a virtual world of faults, and checks the promises from outside.",
                 "logstream-sim"};
    app.footer(
        "Examples:\n"
        "  logstream-sim --seeds 1..300             300 runs, and what happened in them, counted\n"
        "  logstream-sim --seed 7 --trace           one run, told line by line\n"
        "  logstream-sim --seed 7 --minimize        the least that still fails\n"
        "  logstream-sim --prove-checkers           each planted bug is found by the checker meant for it");
    Arguments arguments;
    auto* seed =
        runtime::add_value(app, "--seed", arguments.seed, "Run this seed", runtime::count_from<std::uint64_t>(0));
    auto* seeds = app.add_option("--seeds", arguments.seeds, "Run the seeds A..B and count");
    seed->excludes(seeds);
    runtime::add_value(app, "--time", arguments.time, "Virtual time of a run, in seconds or with its unit", run_time())
        ->type_name("S")
        ->default_str("60");
    runtime::add_value(app, "--nodes", arguments.nodes, "Brokers, 1 to 7; else the seed draws them",
                       runtime::count_from<std::size_t>(1, 7));
    app.add_option("--faults", arguments.faults, "Fault kinds, by comma; all; none; else the seed draws them");
    runtime::add_value(app, "--jobs", arguments.jobs, "Seeds at a time; by default one a processor",
                       runtime::count_from<unsigned>(1, 256));
    app.add_flag("--trace", arguments.trace, "Print what happens, by virtual time");
    app.add_flag("--debug", arguments.debug, "With --trace: more of it");
    app.add_flag("--minimize", arguments.minimize, "Drop fault kinds and brokers while the seed still fails");
    app.add_option("--planted", arguments.planted, "Run with this bug planted");
    app.add_option("--prove-checkers", arguments.prove, "See each planted bug (or the one named) found")
        ->expected(0, 1);
    if (const auto code = runtime::parse(app, argc, argv)) return *code;
    if (!arguments.seed && !arguments.prove && arguments.seeds.empty()) wrong_usage("give --seed N or --seeds A..B");

    Options options;
    options.time = arguments.time;
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

}  // namespace

int main(int argc, char** argv) {
    logstream::process::open_standard_streams();
    return logstream::process::finish_output("logstream-sim", run(argc, argv));
}
