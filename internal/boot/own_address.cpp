#include "internal/boot/own_address.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <tuple>

#include "internal/net/resolve.h"
#include "internal/net/resolver.h"

namespace logstream::boot {

using protocol::ErrorCode;
using protocol::Result;

namespace {

constexpr protocol::Duration kLookAgain = std::chrono::milliseconds(200);
constexpr protocol::Duration kAskAgain = std::chrono::seconds(1);  // the name service
constexpr protocol::Duration kSettle =
    std::chrono::seconds(3);  // for better than a link-local address nobody asked for

// What one look has found.
struct Look {
    std::optional<OwnAddress> taken;
    std::string why;  // of `taken`, or what is waited for
    bool doubtful{};  // others may not reach it
};

std::string list(std::span<const env::Endpoint> some) {
    std::vector<std::string> shown;
    for (const env::Endpoint& each : some) shown.push_back(env::to_string(each.ip));
    return fmt::format("{}", fmt::join(shown, ", "));
}

Result<Look> look_for_address(const config::Config& config, std::span<const net::Interface> all) {
    const auto& [host, port] = config.node.address;
    const auto found = net::resolve(host, port);  // an address: nobody is asked
    if (!found) return std::unexpected(found.error());
    const env::Endpoint& at = found->front();
    const net::Interface* named = nullptr;
    for (const net::Interface& i : all)
        if (i.ip == at.ip && i.name == config.node.interface) named = &i;
    const net::Interface* interface =
        named != nullptr && at.scope == 0 ? named : net::find_by_address(all, at.ip, at.scope);
    if (interface == nullptr)
        return protocol::fail(ErrorCode::kNetwork,
                              "{} is not an address of this machine; its addresses are {}; choose one with --address",
                              host, net::describe_addresses(all));
    const std::uint32_t scope = at.ip.is_link_local() ? static_cast<std::uint32_t>(interface->index) : 0;
    return Look{OwnAddress{{at.ip, port, scope}, *interface}, "it was given"};
}

Look look_for_name(const config::Config& config, std::span<const net::Interface> all, const net::Resolved& found) {
    const std::string& host = config.node.address.host;
    if (found.endpoints.empty())
        return {std::nullopt,
                found.trouble.empty() ? fmt::format("no name service answers for '{}'", host) : found.trouble};
    const auto own = choose_of_name(found.endpoints, all);
    const std::string stands = fmt::format("'{}' resolves to {}", host, list(found.endpoints));
    if (!own) return {std::nullopt, fmt::format("{}, and this machine has {}", stands, net::describe_addresses(all))};
    std::string why = stands;
    if (found.endpoints.size() > 1)
        why +=
            "; of this machine's addresses IPv4 is preferred, unless seeds or multicast group are IPv6 (give an "
            "address instead of the name to choose another one)";
    const bool alone = own->interface.loopback && host != "localhost";
    if (alone) why += "; other machines cannot reach it (see /etc/hosts)";
    return {own, std::move(why), alone};
}

Result<Look> look_anywhere(const config::Config& config, std::span<const net::Interface> all) {
    // The interface that is named is for datagrams; the address is another matter.
    auto choice = net::choose_address(
        all, {config.node.address.port, "", family_given(config), std::string_view(config.node.interface)});
    if (!choice) return std::unexpected(choice.error());
    const bool alone = choice->interface.loopback && config.node.interface != choice->interface.name;
    if (alone) choice->why += "; other machines cannot reach it";
    return Look{OwnAddress{choice->at, choice->interface}, choice->why, alone};
}

// A network that is just coming up has its link-local address first.
Result<Look> once_settled(Look look, protocol::Duration waited) {
    if (look.taken && look.taken->at.ip.is_link_local() && waited < kSettle)
        return Look{std::nullopt, fmt::format("{} has only a link-local address so far", look.taken->interface.name)};
    return look;
}

// An IPv6 address can't be had before the network was asked for it.
Result<Look> once_checked(Look look) {
    if (!look.taken) return look;
    switch (look.taken->interface.check) {
        case net::Interface::Check::kDone:
            return look;
        case net::Interface::Check::kUnderWay:
            return Look{std::nullopt, fmt::format("checking the network of {} for another user of {}",
                                                  look.taken->interface.name, env::to_string(look.taken->at.ip))};
        case net::Interface::Check::kTaken:
            return protocol::fail(
                ErrorCode::kNetwork,
                "another machine on the network of {} also has the address {}: give this one a different "
                "address (ip -6 address), or choose another with --address",
                look.taken->interface.name, env::to_string(look.taken->at.ip));
    }
    std::unreachable();
}

}  // namespace

net::Family family_given(const config::Config& config) {
    if (config.replication.multicast.port != 0) return net::family_wanted(config.replication.multicast.ip);
    for (const config::HostPort& seed : config.discovery.seeds)
        if (const auto ip = config::address_in(seed.host)) return net::family_wanted(*ip);
    return net::Family::kAny;
}

std::optional<OwnAddress> choose_of_name(std::span<const env::Endpoint> found, std::span<const net::Interface> all) {
    const auto worth = [](const net::Interface& i) {
        return std::tuple(i.up, !i.loopback, i.carrier, !i.is_inner(), !i.ip.is_link_local(), i.ip.is_v4(), !i.passing);
    };
    std::optional<OwnAddress> best;
    for (const env::Endpoint& at : found) {
        const net::Interface* here = net::find_by_address(all, at.ip, at.scope);
        if (here == nullptr || (best && worth(*here) <= worth(best->interface))) continue;
        best = OwnAddress{{at.ip, at.port, here->at(at.port).scope}, *here};
    }
    return best;
}

Result<std::optional<OwnAddress>> find_own_address(net::Loop& loop, const config::Config& config, spdlog::logger& log,
                                                   const std::function<bool()>& given_up) {
    const std::string& host = config.node.address.host;
    const bool is_name = !host.empty() && !net::is_address(host);
    bool answered = false;
    net::Resolved found;
    net::Resolver resolver(
        loop, is_name ? std::vector<net::HostPort>{{host, config.node.address.port}} : std::vector<net::HostPort>{},
        [&](const net::Resolved& answer) {
            found = answer;
            answered = true;
        },
        family_given(config));
    std::string said;
    const protocol::TimePoint began = loop.now();
    while (true) {
        if (is_name) resolver.look_up();
        if (is_name && !answered) loop.run_until([&] { return answered || given_up(); }, kAskAgain);
        if (given_up()) return std::nullopt;
        const auto all = net::interfaces();
        auto seen = is_name        ? Result<Look>(look_for_name(config, all, found))
                    : host.empty() ? look_anywhere(config, all)
                                   : look_for_address(config, all);
        if (seen && host.empty()) seen = once_settled(*std::move(seen), loop.now() - began);
        const auto look = seen ? once_checked(*seen) : seen;
        if (!look) return std::unexpected(look.error());
        if (look->taken) {
            log.log(look->doubtful ? spdlog::level::warn : spdlog::level::info, "NET address {} of {}: {}",
                    env::to_string(look->taken->at), look->taken->interface.name, look->why);
            return look->taken;
        }
        if (look->why != std::exchange(said, look->why))
            log.warn("NET this broker waits for its address: {}; it retries until that changes", look->why);
        answered = false;
        loop.run_until(given_up, is_name ? kAskAgain : kLookAgain);
    }
}

}  // namespace logstream::boot
