#include "cmd/runtime/client_flags.h"

#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "cmd/runtime/values.h"
#include "internal/config/arguments.h"

namespace logstream::runtime {

void ClientFlags::add_to(CLI::App& app) {
    add_host_ports(app, "--brokers", brokers, "Brokers to ask first; without it they are found by broadcast")
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

protocol::Result<env::Endpoint> resolve(const std::string& host_and_port) {
    if (auto endpoint = env::parse_endpoint(host_and_port)) return endpoint;
    const std::size_t colon = host_and_port.rfind(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == host_and_port.size())
        return protocol::fail(protocol::ErrorCode::kConfig,
                              "'{}' is not an address: expected HOST:PORT, as in 10.0.0.1:8001", host_and_port);
    const std::string host = host_and_port.substr(0, colon);
    const std::string port = host_and_port.substr(colon + 1);
    addrinfo hints{};
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    addrinfo* found = nullptr;
    if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0)
        return protocol::fail(protocol::ErrorCode::kConfig, "'{}' can't be resolved: {}", host_and_port,
                              gai_strerror(error));
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
    const auto* address = reinterpret_cast<const sockaddr_in*>(found->ai_addr);
    return env::Endpoint{ntohl(address->sin_addr.s_addr), ntohs(address->sin_port)};
}

int complain(std::string_view program, const protocol::Error& error) {
    std::fprintf(stderr, "%.*s: %s\n", static_cast<int>(program.size()), program.data(), error.message.c_str());
    return kFailed;
}

}  // namespace logstream::runtime
