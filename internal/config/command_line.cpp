#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "internal/config/arguments.h"
#include "internal/config/config.h"
#include "internal/config/nearest.h"
#include "internal/config/setting.h"
#include "internal/config/sources.h"
#include "internal/manual/forms.h"

namespace logstream::config {

namespace {

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

constexpr char kSetFlag[] = "--set";
constexpr auto kSummary =
    "LogStream broker: finds the other brokers of its cluster and replicates every topic with them.";
constexpr auto kExamples =
    R"(Each setting can come from a file, the environment or a flag, in increasing order of precedence.
deploy/logstream.yaml documents every setting.

Examples:
  logstream                                          first interface, port 8001
  logstream --address 127.0.0.1:8002 --data /tmp/n2  a second broker on this machine
  logstream --address '[fd00::1]:8001'               with IPv6
  logstream --config /etc/logstream.yaml --set storage.fsync=interval
)";

Stop wrong_usage(std::string_view message) {
    return {kWrongUsage, fmt::format("logstream: {}\nTry 'logstream --help'.\n", message)};
}

// One value given on the command line.
struct Given {
    std::string key;
    std::string text;
    std::string flag;
};

// The flags, made from the table.
class Flags {
public:
    explicit Flags(std::string_view version) : version_(version) {
        app_.get_formatter()->column_width(30);
        app_.footer(kExamples);
        app_.set_help_flag("-h,--help", "print this help and exit");
        app_.set_version_flag("--version", fmt::format("logstream {}", version), "print the version and exit");
        app_.allow_extras();
        app_.add_option("--config", config_file_, "YAML file with settings")
            ->type_name("FILE")
            ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
        for (const auto& setting : settings())
            if (!setting.flag.empty()) options_.push_back({add(setting), &setting});
        set_option_ = repeatable(app_.add_option(kSetFlag, "any setting, by its key in the file; may be repeated"));
        set_option_->type_name("KEY=VALUE");
        manual::set_words(set_option_, keys());
        app_.add_flag("--moved", declared_.moved,
                      "for one start: the data folder was moved from another machine, which no longer uses it");
        app_.add_flag("--new-identity", declared_.new_identity,
                      "for one start: the data folder is a copy; join as a new broker");
    }

    // What --help and --version print comes back as a Stop, too.
    std::expected<void, Stop> parse(int argc, const char* const* argv) {
        if (auto manual = manual::asked_for(app_, argc, argv, version_))
            return std::unexpected(Stop{0, *std::move(manual)});
        try {
            app_.parse(arguments_for_parser(argc, argv));
        } catch (const CLI::CallForHelp&) {
            return std::unexpected(Stop{0, app_.help()});
        } catch (const CLI::CallForVersion& version) {
            return std::unexpected(Stop{0, fmt::format("{}\n", version.what())});
        } catch (const CLI::ParseError& error) {
            return std::unexpected(wrong_usage(error.what()));
        }
        if (const auto unknown = app_.remaining(); !unknown.empty())
            return std::unexpected(unknown_argument(unknown.front()));
        if (declared_.moved && declared_.new_identity)
            return std::unexpected(
                wrong_usage("--moved and --new-identity exclude each other: a folder was either moved or copied"));
        return {};
    }

    const std::string& config_file() const { return config_file_; }
    const Declared& declared() const { return declared_; }

    // In the order of the command line. An empty value is one that a script's variable did not have: it is refused, and
    // not taken for a flag that was not given.
    std::expected<std::vector<Given>, Stop> values() const {
        std::vector<Given> given;
        std::map<const CLI::Option*, std::size_t> seen;
        for (const CLI::Option* option : app_.parse_order()) {
            const auto& results = option->results();
            const auto index = seen[option]++;
            if (results.at(index).empty())
                return std::unexpected(wrong_usage(fmt::format("{}: expected a value, got ''", option->get_name())));
            if (option == set_option_) {
                const auto& text = results.at(index);
                const auto equals = text.find('=');
                if (equals == text.npos || equals + 1 == text.size())
                    return std::unexpected(wrong_usage(fmt::format("--set: expected KEY=VALUE, got '{}'", text)));
                given.push_back({text.substr(0, equals), text.substr(equals + 1), kSetFlag});
            } else if (const auto found = std::ranges::find(options_, option, &Bound::option);
                       found != options_.end()) {
                given.push_back(
                    {std::string(found->setting->key), results.at(index), std::string(found->setting->flag)});
            }
        }
        return given;
    }

private:
    struct Bound {
        const CLI::Option* option;
        const Setting* setting;
    };

    static CLI::Option* repeatable(CLI::Option* option) {
        return option->expected(1)->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    }

    // CLI11 takes a description that is not const for a variable to fill.
    CLI::Option* add(const Setting& setting) {
        const std::string help(setting.help);
        if (setting.placeholder.empty()) return app_.add_flag(std::string(setting.flag), help);
        const std::string shown(setting.default_text.empty() ? setting.show(Config{}) : setting.default_text);
        const auto description = fmt::format("{} [{}] (${})", help, shown, setting.environment);
        // The address may stand alone: `logstream 8002`.
        const auto names = fmt::format("{}{}", setting.flag, setting.key == "node.address" ? ",address" : "");
        auto* option = repeatable(app_.add_option(names, description))->type_name(std::string(setting.placeholder));
        return setting.words.empty() ? option : manual::set_words(option, setting.words);
    }

    // What --set takes, up to the value.
    static std::vector<std::string> keys() {
        std::vector<std::string> out;
        for (const auto& setting : settings()) out.push_back(fmt::format("{}=", setting.key));
        return out;
    }

    Stop unknown_argument(const std::string& argument) const {
        if (!argument.starts_with('-')) return wrong_usage(fmt::format("unexpected argument '{}'", argument));
        std::vector<std::string_view> known{"--config", "--set", "--moved", "--new-identity", "--help", "--version"};
        for (const auto& each : options_) known.push_back(each.setting->flag);
        const auto flag = argument.substr(0, argument.find('='));
        return wrong_usage(fmt::format("unknown flag '{}'{}", flag, did_you_mean(flag, known)));
    }

    CLI::App app_{kSummary, "logstream"};
    std::string version_;
    std::string config_file_;
    Declared declared_;
    std::vector<Bound> options_;
    CLI::Option* set_option_{};
};

Stop refused(const Refusal& refusal) {
    if (refusal.source == Source::kFlag) return wrong_usage(refusal.message);
    return {kFailed, fmt::format("logstream: {}\n", refusal.message)};
}

}  // namespace

std::expected<Start, Stop> parse_command_line(int argc, const char* const* argv, const Environment& environment,
                                              std::string_view version) {
    Flags flags(version);
    if (auto parsed = flags.parse(argc, argv); !parsed) return std::unexpected(parsed.error());
    const auto given = flags.values();
    if (!given) return std::unexpected(given.error());

    Sources sources;
    if (!flags.config_file().empty())
        if (auto done = sources.set_from_file(flags.config_file()); !done)
            return std::unexpected(refused(done.error()));
    if (auto done = sources.set_from_environment(environment); !done) return std::unexpected(refused(done.error()));
    for (const auto& value : *given)
        if (auto done = sources.set(value.key, value.text, {Source::kFlag, value.flag, value.flag != kSetFlag}); !done)
            return std::unexpected(refused(done.error()));
    if (auto done = sources.check(); !done) return std::unexpected(refused(done.error()));
    return Start{sources.config(), flags.declared(), misspelt_variables(environment)};
}

}  // namespace logstream::config
