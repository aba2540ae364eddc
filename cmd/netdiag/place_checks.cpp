// Which interface and address a broker would take, and whether it could.
#include <sys/socket.h>

#include <algorithm>
#include <expected>

#include "cmd/netdiag/checks.h"
#include "cmd/netdiag/socket.h"
#include "internal/boot/own_address.h"
#include "internal/net/resolve.h"
#include "internal/text/json.h"

namespace logstream::netdiag {

namespace {

constexpr protocol::Duration kAskLimit = std::chrono::milliseconds(500);

std::string describe(const net::Interface& i) {
    std::string text = fmt::format("{} ({})", env::to_string(i.ip), i.up ? "up" : "down");
    if (i.loopback) text += ", loopback: reaches only this machine";
    if (i.up && !i.carrier) text += ", not plugged in";
    text += fmt::format(", MTU {}", i.mtu_bytes);
    if (i.broadcast != 0) text += ", broadcast " + env::to_string(i.broadcast);
    if (!i.loopback && i.broadcast == 0 && i.ip.is_v4()) text += ", no broadcast";
    if (i.ip.is_link_local()) text += ", link-local: valid only within this network";
    if (i.passing) text += ", to be dropped soon";
    if (i.check == net::Interface::Check::kUnderWay) text += ", being checked for duplicates on the network";
    if (i.check == net::Interface::Check::kTaken)
        text += ", also used by another machine: give this one a different address";
    if (!i.loopback && !i.multicast) text += ", no multicast";
    return text;
}

nlohmann::json to_json(const net::Interface& i) {
    nlohmann::json out{
        {"ip", env::to_string(i.ip)},
        {"netmask", i.ip.is_v4() ? nlohmann::json(env::to_string(i.netmask)) : nlohmann::json(nullptr)},
        {"prefix_bits", i.prefix_bits},
        {"broadcast", i.broadcast == 0 ? nlohmann::json(nullptr) : nlohmann::json(env::to_string(i.broadcast))},
        {"mtu", i.mtu_bytes},
        {"up", i.up},
        {"carrier", i.carrier},
        {"loopback", i.loopback},
        {"multicast", i.multicast}};
    text::put(out, "name", i.name);
    return out;
}

// The address that is given, or that a broker would take; a finding: there is none.
std::expected<Place, Finding> find_place(const Options& options, std::span<const net::Interface> all) {
    const auto& [host, port] = options.address;
    const net::Family family =
        options.multicast.port == 0 ? net::Family::kAny : net::family_wanted(options.multicast.ip);
    if (host.empty()) {
        auto chosen = net::choose_address(all, {port, options.interface, family});
        if (!chosen) return std::unexpected(failed("choice", chosen.error().message));
        return Place{chosen->interface, chosen->at, chosen->why};
    }
    const auto found = net::resolve(host, port, family);
    if (!found) return std::unexpected(failed("choice", found.error().message));
    const auto own = boot::choose_of_name(*found, all);
    const net::Interface* interface = nullptr;
    if (own)
        interface = options.interface.empty()
                        ? &own->interface
                        : net::find_by_name(all, options.interface, net::family_wanted(own->at.ip));
    if (interface == nullptr)
        return std::unexpected(
            failed("choice", fmt::format("{} does not exist here; this machine's addresses are {}: choose one of them",
                                         own ? fmt::format("an interface '{}'", options.interface) : host,
                                         net::describe_addresses(all))));
    return Place{*interface, own->at, "it is given"};
}

Finding choose(const Options& options, std::span<const net::Interface> all, std::optional<Place>& place) {
    auto found = find_place(options, all);
    if (!found) return found.error();
    const net::Interface* interface = &found->interface;
    const env::Endpoint address = found->address;
    if (!interface->up)
        return failed("choice", fmt::format("{} is down; bring it up (ip link set {} up) or choose another one",
                                            interface->name, interface->name));
    place = *found;
    const nlohmann::json data{{"interface", interface->name}, {"address", env::to_string(address)}};
    const std::string text =
        fmt::format("a broker would use {} and listen on {}", interface->name, env::to_string(address));
    if (options.multicast.port != 0 && options.multicast.ip.is_v4() != address.ip.is_v4())
        return failed("choice",
                      fmt::format("{}; but the multicast group {} is of the other family: IPv4 and IPv6 do not "
                                  "mix",
                                  text, env::to_string(options.multicast)),
                      data);
    if (!interface->carrier && !interface->loopback)
        return warn("choice", text + "; but it is not plugged in (no carrier)", data);
    if (interface->loopback && options.address.host.empty() && options.interface.empty())
        return warn("choice",
                    text +
                        ", because there is no other: only brokers on this machine can form a cluster. For others, "
                        "bring up a network interface",
                    data);
    return ok("choice", text, data);
}

}  // namespace

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
        const Socket socket = open_socket(type, place.address.ip);
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
            return {failed("address", fmt::format("{} ({}) is in use by another program: stop it (ss -lntup shows it), "
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
