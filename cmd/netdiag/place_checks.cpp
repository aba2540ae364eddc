// Which interface and address a broker would take, and whether it could.
#include <sys/socket.h>

#include <algorithm>

#include "cmd/netdiag/checks.h"
#include "cmd/netdiag/socket.h"
#include "internal/config/value.h"
#include "internal/text/json.h"

namespace logstream::netdiag {

namespace {

constexpr std::uint16_t kDefaultPort = 8001;
constexpr protocol::Duration kAskLimit = std::chrono::milliseconds(500);

std::string describe(const net::Interface& i) {
    std::string text = fmt::format("{} ({})", net::to_string_ip(i.ip), i.up ? "up" : "down");
    if (i.loopback) text += ", loopback: reaches this machine alone";
    if (i.up && !i.carrier) text += ", not plugged in";
    text += fmt::format(", MTU {}", i.mtu_bytes);
    if (i.broadcast != 0) text += ", broadcast " + net::to_string_ip(i.broadcast);
    if (!i.loopback && i.broadcast == 0) text += ", no broadcast";
    if (!i.loopback && !i.multicast) text += ", no multicast";
    return text;
}

nlohmann::json to_json(const net::Interface& i) {
    nlohmann::json out{
        {"ip", net::to_string_ip(i.ip)},
        {"netmask", net::to_string_ip(i.netmask)},
        {"broadcast", i.broadcast == 0 ? nlohmann::json(nullptr) : nlohmann::json(net::to_string_ip(i.broadcast))},
        {"mtu", i.mtu_bytes},
        {"up", i.up},
        {"carrier", i.carrier},
        {"loopback", i.loopback},
        {"multicast", i.multicast}};
    text::put(out, "name", i.name);
    return out;
}

Finding choose(const Options& options, std::span<const net::Interface> all, std::optional<Place>& place) {
    env::Endpoint address = parse_address(options.address).value_or(env::Endpoint{0, kDefaultPort});
    const std::string there_are = net::describe_addresses(all);
    if (address.ip == 0 && !options.interface.empty()) {
        const net::Interface* named = net::find_by_name(all, options.interface);
        if (named == nullptr)
            return failed("choice",
                          fmt::format("no interface '{}' has an IPv4 address; choose one of {}, or give it an address "
                                      "(ip address add …)",
                                      options.interface, there_are));
        address.ip = named->ip;
    } else if (address.ip == 0) {
        const auto chosen = net::default_address(all, address.port);
        if (!chosen) return failed("choice", chosen.error().message);
        address = *chosen;
    }
    // The interface for datagrams; the address may be another one's.
    const net::Interface* interface =
        options.interface.empty() ? net::find_by_address(all, address.ip) : net::find_by_name(all, options.interface);
    if (interface == nullptr || net::find_by_address(all, address.ip) == nullptr)
        return failed("choice", fmt::format("{} is not here; this machine's addresses are {}: choose one of them",
                                            interface == nullptr && !options.interface.empty()
                                                ? fmt::format("an interface '{}'", options.interface)
                                                : net::to_string_ip(address.ip),
                                            there_are));
    if (!interface->up)
        return failed("choice", fmt::format("{} is down; bring it up (ip link set {} up) or choose another one",
                                            interface->name, interface->name));
    place = Place{*interface, address};
    const nlohmann::json data{{"interface", interface->name}, {"address", env::to_string(address)}};
    const std::string text =
        fmt::format("a broker would take {} and listen on {}", interface->name, env::to_string(address));
    if (!interface->carrier && !interface->loopback)
        return warn("choice", text + "; but it is not plugged in (no carrier)", data);
    if (interface->loopback && options.address.empty() && options.interface.empty())
        return warn("choice",
                    text +
                        ", because there is no other: brokers of this machine alone can form a cluster. For others, "
                        "bring up a network interface",
                    data);
    return ok("choice", text, data);
}

}  // namespace

std::optional<env::Endpoint> parse_address(const std::string& text) {
    if (text.empty()) return env::Endpoint{0, kDefaultPort};
    const auto parsed = config::parse_node_address(text);
    return parsed ? std::optional(*parsed) : std::nullopt;
}

Findings check_interfaces(const Options& options, std::span<const net::Interface> all, std::optional<Place>& place) {
    Findings out;
    for (const net::Interface& i : all) {
        const bool usable = i.up && (i.carrier || i.loopback);
        out.push_back({usable ? Level::kOk : Level::kWarn, "interface " + i.name, describe(i), to_json(i)});
    }
    out.push_back(choose(options, all, place));
    return out;
}

Findings check_address(const Place& place) {
    const std::string address = env::to_string(place.address);
    for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
        const Socket socket = open_socket(type);
        const std::string_view name = type == SOCK_STREAM ? "TCP" : "UDP";
        if (!socket.valid())
            return {failed("address",
                           fmt::format("can't create a {} socket: {}; check ulimit -n", name, os_message(errno)))};
        // As a broker does: a TCP port that connections of an ended broker still hold is free.
        if (type == SOCK_STREAM) set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1);
        int error = bind_to(socket, place.address);
        // Two programs may bind one TCP port so; only one may listen.
        if (error == 0 && type == SOCK_STREAM && ::listen(socket.get(), 1) != 0) error = errno;
        if (error == 0) continue;
        if (error == EADDRINUSE) {
            if (const auto broker = ask_broker(place.address, kAskLimit))
                return {ok("address", fmt::format("a broker runs on {}: {}", address, broker->text), broker->data)};
            return {failed("address", fmt::format("{} ({}) is in use by another program: end it (ss -lntup shows it), "
                                                  "or choose another port with --address",
                                                  address, name))};
        }
        if (error == EACCES || error == EPERM)
            return {failed("address",
                           fmt::format("no permission for {} ({}): choose a port of 1024 or more", address, name))};
        return {failed("address", fmt::format("can't listen on {} ({}): {}", address, name, os_message(error)))};
    }
    return {ok("address", fmt::format("{} is free, TCP and UDP", address))};
}

}  // namespace logstream::netdiag
