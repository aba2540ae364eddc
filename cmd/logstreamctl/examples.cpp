#include "cmd/logstreamctl/examples.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

namespace logstream::ctl {

namespace {

enum class Shown : std::uint8_t { kOverview, kSubcommand };

struct Example {
    std::string_view command;  // the words that name the subcommand
    std::string_view arguments;
    std::string_view note{};
    Shown shown = Shown::kSubcommand;  // kOverview: below logstreamctl --help, too

    std::string line() const {
        return fmt::format("logstreamctl {}{}{}", command, arguments.empty() ? "" : " ", arguments);
    }
};

constexpr std::array kExamples{
    Example{"status", "", "one line for each member"},
    Example{"status", "--watch", "the same every second", Shown::kOverview},
    Example{"status", "--json", "for scripts"},
    Example{"top", "", "q quits", Shown::kOverview},
    Example{"verify", "", "do all replicas hold the same records? exit 1 if not", Shown::kOverview},
    Example{"views", "", "why the cluster changed, and how long that took"},
    Example{"ring", "", "the owners of all partitions"},
    Example{"ring", "app --json", "", Shown::kOverview},
    Example{"topics list", ""},
    Example{"topics create", "app --partitions 4", "", Shown::kOverview},
    Example{"topics create", "audit --retention-ms 90d --retention-bytes 10GiB"},
    Example{"topics create", "prices --compact", "the last record of each key stays"},
    Example{"topics alter", "app --retention-ms 7d"},
    Example{"topics alter", "app --retention-bytes default", "as the brokers are configured"},
    Example{"topics delete", "app"},
    Example{"topics describe", "app"},
    Example{"groups list", ""},
    Example{"groups describe", "index", "who reads what, and how far", Shown::kOverview},
    Example{"groups reset", "index --to @-1h", "what would change if it reread the last hour; --yes applies it",
            Shown::kOverview},
    Example{"groups reset", "index --to earliest --topic app --yes", "read this topic again from its beginning"},
    Example{"groups delete", "index"},
    Example{"context list", ""},
    Example{"context add", "prod --brokers 10.0.0.1:8001,10.0.0.2:8001", "", Shown::kOverview},
    Example{"context use", "prod"},
    Example{"context remove", "prod"},
    Example{"append", "-t app -c \"hello\"", "", Shown::kOverview},
    Example{"append", "-t prices --key EUR -c 1.08"},
    Example{"query", "-t app --from 100 --count 10", "", Shown::kOverview},
    Example{"query", "-t app --at n2", "what this broker holds, committed or not"},
    Example{"tail", "app -n 5 -f", "", Shown::kOverview},
    Example{"elect", ""},
    Example{"remove", "n3", "a member that is gone for good; it may join again"},
    Example{"drain", "n2", "hand over what n2 owns, before stopping it", Shown::kOverview},
    Example{"merge", "--from 10.0.0.9:8001 --brokers 10.0.0.1:8001", "", Shown::kOverview},
    Example{"recover", "10.0.0.1:8001", "the other brokers, and their data, are lost for good"},
};

constexpr std::string_view kFlagsOfAll =
    "\nAlso takes --brokers, --cluster, --context, --json and the other flags of logstreamctl --help.\n";

std::string text_of(const std::vector<Example>& examples) {
    std::size_t width = 0;
    for (const Example& each : examples)
        if (!each.note.empty()) width = std::max(width, each.line().size());
    std::string out = "Examples:\n";
    for (const Example& each : examples) {
        std::string line = fmt::format("  {:<{}}  {}", each.line(), width, each.note);
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + "\n";
    }
    return out;
}

void add_examples(CLI::App& app, const std::string& command) {
    std::vector<Example> own;
    for (const Example& each : kExamples)
        if (each.command == command || each.command.starts_with(command + " ")) own.push_back(each);
    app.footer((own.empty() ? std::string() : text_of(own)) + std::string(kFlagsOfAll));
    for (CLI::App* subcommand : app.get_subcommands(nullptr))
        add_examples(*subcommand, command + " " + subcommand->get_name());
}

}  // namespace

void add_examples(CLI::App& app) {
    std::vector<Example> overview;
    for (const Example& each : kExamples)
        if (each.shown == Shown::kOverview) overview.push_back(each);
    app.footer(text_of(overview));
    for (CLI::App* subcommand : app.get_subcommands(nullptr)) add_examples(*subcommand, subcommand->get_name());
}

}  // namespace logstream::ctl
