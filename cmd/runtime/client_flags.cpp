#include "cmd/runtime/client_flags.h"

#include <cstdio>

#include "cmd/runtime/status_line.h"
#include "cmd/runtime/values.h"
#include "internal/config/arguments.h"
#include "internal/config/contexts.h"
#include "internal/config/nearest.h"
#include "internal/manual/forms.h"
#include "internal/manual/program.h"
#include "internal/net/resolve.h"

namespace logstream::runtime {

void ClientFlags::add_to(CLI::App& app) {
    auto* addresses =
        add_host_ports(app, "--brokers", brokers,
                       "Brokers to contact first, by name, IP or [IPv6]; without this flag, LOGSTREAM_BROKERS "
                       "or a context, they are found by broadcast");
    app.add_option(
        "--cluster", cluster,
        "Name of the cluster (default: from the context, else CLUSTER_NAME, else logstream; any with --brokers)");
    manual::set_source(addresses, "brokers");
    auto* named = app.add_option(
        "--context", context,
        "Take brokers and cluster from this context (see logstreamctl context; default: LOGSTREAM_CONTEXT, else "
        "the current one)");
    manual::set_source(named->type_name("NAME")->excludes(addresses), "contexts");
    add_value(app, "--broadcast-port", broadcast_port, "UDP port for discovery", port())
        ->envname("BROADCAST_PORT")
        ->type_name("PORT")
        ->default_str(std::to_string(broadcast_port));
    app.add_option("--interface", interface, "Network interface to broadcast on; without it, all")->type_name("NAME");
    app.add_flag("--verbose", verbose, "Log what happens to stderr");
}

protocol::Result<ClientFlags> ClientFlags::completed(const config::Environment& environment) const {
    ClientFlags out = *this;
    const auto at = [&environment](const char* name) {
        const auto found = environment.find(name);
        return found == environment.end() ? std::string() : found->second;
    };
    const auto name_cluster = [&] {
        if (!out.cluster && !at("CLUSTER_NAME").empty()) out.cluster = at("CLUSTER_NAME");
        return out;
    };
    if (!brokers.empty()) return name_cluster();
    // The short name is that of the first version.
    for (const char* variable : {"LOGSTREAM_BROKERS", "BROKERS"}) {
        if (!context.empty() || at(variable).empty()) continue;
        const auto list = config::parse_seeds(at(variable));
        if (!list)
            return protocol::fail(protocol::ErrorCode::kConfig, "{}: expected {}, got '{}'", variable, list.error(),
                                  at(variable));
        for (const config::HostPort& broker : *list) out.brokers.push_back(config::to_string(broker));
        return name_cluster();
    }
    // A cluster by its name is found by broadcast, not where a context is that was not asked for.
    if (cluster && context.empty()) return out;
    const auto contexts = config::read_contexts(config::contexts_path(environment));
    if (!contexts) return std::unexpected(contexts.error());
    const std::string named = !context.empty() ? context : at("LOGSTREAM_CONTEXT");
    const bool other = named.empty() && !at("CLUSTER_NAME").empty();
    const std::string chosen = !named.empty() ? named : other ? "" : contexts->current;
    if (chosen.empty()) return name_cluster();
    const auto found = config::find_context(*contexts, chosen);
    if (!found) return std::unexpected(found.error());
    out.brokers = found->brokers;
    if (!out.cluster) out.cluster = found->cluster;
    return out;
}

namespace {

// Names that a program's flags and subcommands have, with those of the subcommands that were given.
void collect_names(const CLI::App& app, std::vector<std::string>& flags, std::vector<std::string>& commands) {
    for (const CLI::Option* option : app.get_options()) {
        for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
        for (const std::string& name : option->get_snames()) flags.push_back("-" + name);
    }
    const auto given = app.get_subcommands();
    for (const CLI::App* command : app.get_subcommands(nullptr))
        if (given.empty()) commands.push_back(command->get_name());
    for (const CLI::App* command : given) collect_names(*command, flags, commands);
}

// What is wrong with a word that no flag and no subcommand has; empty: every word is known. CLI11 would miss a flag
// that is required before it sees the misspelt one.
std::string unknown_word(const CLI::App& app) {
    const std::vector<std::string> unknown = app.remaining(true);
    if (unknown.empty()) return {};
    std::vector<std::string> flags;
    std::vector<std::string> commands;
    collect_names(app, flags, commands);
    const auto flag = std::ranges::find_if(unknown, [](const std::string& word) { return word.starts_with('-'); });
    const bool is_flag = flag != unknown.end();
    const std::string word = is_flag ? flag->substr(0, flag->find('=')) : unknown.front();
    const std::vector<std::string>& known = is_flag ? flags : commands;
    const std::vector<std::string_view> names(known.begin(), known.end());
    if (!is_flag && names.empty()) return fmt::format("'{}' was not expected", word);
    return fmt::format("there is no {} '{}'{}", is_flag ? "flag" : "subcommand", word,
                       config::did_you_mean(word, names));
}

// The program with the subcommands that were given, whose help may be asked for.
std::string name_of_help(const CLI::App& app) {
    std::string name = app.get_name();
    for (const CLI::App* command : app.get_subcommands()) name += " " + name_of_help(*command);
    return name;
}

void refuse_empty_values(CLI::App& app, std::initializer_list<const CLI::Option*> may_be_empty) {
    const auto check = [](const std::string& text) { return text.empty() ? "expected a value, got ''" : ""; };
    for (CLI::Option* option : app.get_options())
        if (option->get_items_expected_max() > 0 && std::ranges::find(may_be_empty, option) == may_be_empty.end())
            option->check(CLI::Validator(check, ""));
    for (CLI::App* command : app.get_subcommands({})) refuse_empty_values(*command, may_be_empty);
}

}  // namespace

std::optional<int> parse(CLI::App& app, int argc, char** argv, std::initializer_list<const CLI::Option*> may_be_empty) {
    refuse_empty_values(app, may_be_empty);
    app.set_version_flag("--version", fmt::format("{} {}", app.get_name(), LOGSTREAM_VERSION),
                         "Print the version and exit");
    app.get_formatter()->column_width(34);
    if (const auto manual = manual::asked_for(app, argc, argv, LOGSTREAM_VERSION)) {
        std::fputs(manual->c_str(), stdout);
        return kDone;
    }
    try {  // CLI11's way to report; nothing of ours throws
        app.parse(config::arguments_for_parser(argc, argv));
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) {
            app.exit(error);
            return kDone;
        }
        std::string what = error.what();
        if (const std::string unknown = unknown_word(app); !unknown.empty()) what = unknown;
        return wrong_usage(app.get_name(), what, name_of_help(app));
    }
    return std::nullopt;
}

int wrong_usage(std::string_view program, std::string_view message, std::string_view help_of) {
    const std::string_view helpful = help_of.empty() ? program : help_of;
    std::fprintf(stderr, "%s\n", fmt::format("{}: {}\nTry {} --help.", program, message, helpful).c_str());
    return kUsage;
}

protocol::Result<net::HostPort> split_address(const std::string& host_and_port) {
    const auto at = config::parse_host_port(host_and_port);
    if (!at)
        return protocol::fail(protocol::ErrorCode::kConfig, "'{}' is not an address: expected {}", host_and_port,
                              at.error());
    const auto ip = config::address_in(at->host);
    if (ip && ip->is_link_local() && at->host.find('%') == std::string::npos)
        return protocol::fail(
            protocol::ErrorCode::kConfig,
            "'{}' is a link-local address, valid only within one network: name the interface by which "
            "it is reached, as in [{}%eth0]:{}; this machine has {}",
            host_and_port, at->host, at->port, net::describe_addresses(net::interfaces()));
    return net::HostPort{at->host, at->port};
}

protocol::Result<std::vector<env::Endpoint>> resolve_all(const std::string& host_and_port) {
    const auto at = split_address(host_and_port);
    if (!at) return std::unexpected(at.error());
    return net::resolve(at->host, at->port);
}

std::string count_of(std::uint64_t count, std::string_view one, std::string_view many) {
    return fmt::format("{} {}", count, count == 1 ? one : many);
}

int complain(std::string_view program, const protocol::Error& error) {
    clear_status();
    std::fprintf(stderr, "%.*s: %s\n", static_cast<int>(program.size()), program.data(), error.message.c_str());
    return kFailed;
}

}  // namespace logstream::runtime
