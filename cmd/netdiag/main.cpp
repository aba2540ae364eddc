// netdiag: could a broker work on this machine, and what would it have to do without?
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <future>
#include <iterator>

#include "cmd/netdiag/checks.h"
#include "cmd/runtime/client_flags.h"
#include "cmd/runtime/values.h"
#include "internal/process/standard_streams.h"

namespace {

using namespace logstream;
using namespace logstream::netdiag;

constexpr const char* kExamples = R"(Examples:
  netdiag                                   which interface a broker would use here, and what works
  netdiag --peer 10.0.0.2:8001              and whether the broker there is in reach
  netdiag --address '[fd00::1]:8001'        what works with IPv6
  netdiag --interface eth1 --multicast 239.0.0.7:9999
  netdiag --json | jq '.checks[] | select(.level != "ok")'
Run it on two machines at once to see whether multicast passes between them.
Exits 1 if a broker could not work here, 0 if it could, with or without warnings.)";

int usage(const std::string& what) { return runtime::wrong_usage("netdiag", what); }

std::optional<int> parse_options(int argc, char** argv, Options& options) {
    CLI::App app{"Checks whether a LogStream broker would work on this machine, and says what to fix.", "netdiag"};
    app.footer(kExamples);
    app.add_option("--interface", options.interface, "Interface to test; without it, the one a broker would use")
        ->envname("NODE_INTERFACE")
        ->type_name("NAME");
    std::string address;
    app.add_option("--address", address, "Address the broker would use (first interface, port 8001)")
        ->envname("NODE_ADDRESS")
        ->type_name("[IP:]PORT");
    runtime::add_value(app, "--peer", options.peer, "Test TCP and UDP to the broker at this address",
                       runtime::host_port())
        ->type_name("HOST:PORT");
    runtime::add_value(app, "--multicast", options.multicast,
                       "Multicast group (239.0.0.1:9999, or [ff02::ef00:1]:9999)",
                       runtime::Parse<env::Endpoint>(config::parse_multicast))
        ->envname("MULTICAST_GROUP")
        ->type_name("GROUP:PORT");
    runtime::add_value(app, "--broadcast-port", options.broadcast_port, "UDP port for discovery", runtime::port())
        ->envname("BROADCAST_PORT")
        ->type_name("PORT")
        ->default_str(std::to_string(options.broadcast_port));
    app.add_option("--cluster", options.cluster, "Cluster whose brokers are queried")
        ->envname("CLUSTER_NAME")
        ->capture_default_str();
    app.add_flag("--json", options.json, "Print JSON");
    if (const auto code = runtime::parse(app, argc, argv)) return code;
    if (address.empty()) return std::nullopt;
    const auto parsed = config::parse_node_address(address);
    if (!parsed) return usage(fmt::format("--address expects IP:PORT of this machine, or PORT, not '{}'", address));
    options.address = *parsed;
    return std::nullopt;
}

Findings diagnose(Options options) {
    std::optional<Place> place;
    const auto all = net::interfaces();
    Findings out = check_interfaces(options, all, place);
    if (place && options.multicast.port == 0)
        options.multicast = place->address.ip.is_v4() ? config::kMulticastV4 : config::kMulticastV6;
    std::vector<std::function<Findings()>> checks;
    if (place) {
        checks.emplace_back([&] { return check_address(*place); });
        checks.emplace_back([&] { return check_broadcast(options, *place); });
        checks.emplace_back([&] { return check_multicast(options, *place); });
        if (!options.peer.empty()) checks.emplace_back([&] { return check_peer(options, *place); });
    }
    checks.emplace_back(check_buffers);
    checks.emplace_back(check_clock);
    std::vector<std::future<Findings>> running;
    running.reserve(checks.size());
    for (const auto& check : checks) running.push_back(std::async(std::launch::async, check));
    for (auto& found : running) std::ranges::move(found.get(), std::back_inserter(out));
    return out;
}

}  // namespace

int main(int argc, char** argv) {
    process::open_standard_streams();
    Options options;
    if (const auto code = parse_options(argc, argv, options)) return process::finish_output("netdiag", *code);
    const Findings findings = diagnose(options);
    if (options.json) {
        print_json(findings);
    } else {
        print_text(findings);
    }
    // A thread may still wait for the name service: it must not meet destructors.
    std::_Exit(process::finish_output("netdiag", any_failed(findings) ? runtime::kFailed : runtime::kDone));
}
