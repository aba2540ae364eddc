// What every client program shares on its command line, and how it ends.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "internal/client/router.h"
#include "internal/config/config.h"
#include "internal/net/resolver.h"

namespace logstream::runtime {

// Exit codes of every program.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

// --brokers, --cluster, --context, --broadcast-port, --interface, --verbose. Flags go before the environment, and that
// before the user's current context.
struct ClientFlags {
    std::vector<std::string> brokers;
    std::optional<std::string> cluster;  // none: any with --brokers, else "logstream"
    std::string context;                 // of the user's contexts (internal/config/contexts.h); empty: the current one
    std::uint16_t broadcast_port = 8888;
    std::string interface;
    bool verbose{};

    void add_to(CLI::App& app);
    // With what the environment and the user's contexts add to the flags. Without brokers they are found by broadcast.
    protocol::Result<ClientFlags> completed(
        const config::Environment& environment = config::process_environment()) const;
};

// Parses the command line. nullopt: go on; else the exit code (help and version are printed to stdout, mistakes to
// stderr). A flag's value that is empty is one that a script's variable did not have, and refused but for the flags in
// `may_be_empty`.
std::optional<int> parse(CLI::App& app, int argc, char** argv,
                         std::initializer_list<const CLI::Option*> may_be_empty = {});

// "name: message, Try name --help." on stderr; returns kUsage. `help_of`: a subcommand with the program's name before
// it, whose help says more.
int wrong_usage(std::string_view program, std::string_view message, std::string_view help_of = {});

// HOST:PORT in two. A link-local address needs a zone: a client is on all networks of its machine.
protocol::Result<net::HostPort> split_address(const std::string& host_and_port);
// HOST:PORT to all addresses that it stands for, at least one; asks the name service, which may block.
protocol::Result<std::vector<env::Endpoint>> resolve_all(const std::string& host_and_port);

// "1 record", "2 records".
std::string count_of(std::uint64_t count, std::string_view one, std::string_view many);

// "name: message" on stderr; returns kFailed.
int complain(std::string_view program, const protocol::Error& error);

}  // namespace logstream::runtime
