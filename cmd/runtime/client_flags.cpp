#include "cmd/runtime/client_flags.h"

#include <cstdio>

#include "cmd/runtime/values.h"
#include "internal/config/arguments.h"
#include "internal/manual/forms.h"
#include "internal/net/resolve.h"

namespace logstream::runtime {

void ClientFlags::add_to(CLI::App& app) {
    add_host_ports(app, "--brokers", brokers,
                   "Brokers to ask first, by name, IP or [IPv6]; without it they are found by broadcast")
        ->envname("BROKERS");
    app.add_option("--cluster", cluster, "Name of the cluster (default: logstream, or any with --brokers)")
        ->envname("CLUSTER_NAME");
    add_value(app, "--broadcast-port", broadcast_port, "UDP port of discovery", port())
        ->envname("BROADCAST_PORT")
        ->type_name("PORT")
        ->default_str(std::to_string(broadcast_port));
    app.add_option("--interface", interface, "Network interface to broadcast on; without it on all")->type_name("NAME");
    app.add_flag("--verbose", verbose, "Say on stderr what happens");
}

namespace {

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
        // CLI11 misses a subcommand before it sees that another word stands in its place.
        if (const auto unknown = app.remaining();
            !unknown.empty() && app.get_require_subcommand_min() > 0 && app.get_subcommands().empty())
            what = fmt::format("there is no subcommand or flag '{}'", unknown.front());
        return wrong_usage(app.get_name(), what);
    }
    return std::nullopt;
}

int wrong_usage(std::string_view program, std::string_view message) {
    std::fprintf(stderr, "%s\n", fmt::format("{0}: {1}\nTry {0} --help.", program, message).c_str());
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
            "'{}' is a link-local address, of which every network has its own: say by which interface "
            "it is reached, as in [{}%eth0]:{}; this machine has {}",
            host_and_port, at->host, at->port, net::describe_addresses(net::interfaces()));
    return net::HostPort{at->host, at->port};
}

protocol::Result<std::vector<env::Endpoint>> resolve_all(const std::string& host_and_port) {
    const auto at = split_address(host_and_port);
    if (!at) return std::unexpected(at.error());
    return net::resolve(at->host, at->port);
}

int complain(std::string_view program, const protocol::Error& error) {
    std::fprintf(stderr, "%.*s: %s\n", static_cast<int>(program.size()), program.data(), error.message.c_str());
    return kFailed;
}

}  // namespace logstream::runtime
