// Which address a broker takes that was told none.
#include <algorithm>
#include <array>

#include "internal/net/interfaces.h"

namespace logstream::net {

namespace {

struct Wish {
    std::string_view why;
    bool (*fits)(const Interface&);
};

bool is_outer(const Interface& i) { return i.up && !i.loopback; }
bool is_global_v6(const Interface& i) { return !i.ip.is_v4() && !i.ip.is_link_local() && !i.passing; }

// The first that anything fits, in this order.
constexpr std::array kWishes{
    Wish{"the first that is plugged in and can broadcast",
         [](const Interface& i) { return is_outer(i) && i.carrier && i.broadcast != 0; }},
    Wish{"the first that is plugged in", [](const Interface& i) { return is_outer(i) && i.carrier && i.ip.is_v4(); }},
    Wish{"there is no IPv4 address on a network that is plugged in",
         [](const Interface& i) { return is_outer(i) && i.carrier && is_global_v6(i); }},
    Wish{"there are only link-local addresses, valid only within one network",
         [](const Interface& i) { return is_outer(i) && i.carrier && i.ip.is_link_local() && i.multicast; }},
    Wish{"there is no permanent address", [](const Interface& i) { return is_outer(i) && i.carrier && i.multicast; }},
    Wish{"no network is plugged in", [](const Interface& i) { return is_outer(i) && i.broadcast != 0; }},
    Wish{"no network is plugged in", [](const Interface& i) { return is_outer(i) && is_global_v6(i); }},
    Wish{"there is no network", [](const Interface& i) { return i.up && i.loopback && i.ip.is_v4(); }},
    Wish{"there is no network", [](const Interface& i) { return i.up && i.loopback; }},
};

std::string list(const std::vector<const Interface*>& some) {
    std::string out;
    for (const Interface* i : some)
        out += fmt::format("{}{} ({})", out.empty() ? "" : ", ", env::to_string(i->ip), i->name);
    return out;
}

std::string_view word_for(Family family) {
    return family == Family::kAny ? "" : family == Family::kIpv4 ? "IPv4 " : "IPv6 ";
}

protocol::Error nothing_found(std::span<const Interface> all, const Wanted& wanted) {
    using protocol::ErrorCode;
    if (!wanted.interface.empty())
        return {
            ErrorCode::kNetwork,
            fmt::format("there is no interface '{}' that is up and has an {}address; this machine has {}; choose one "
                        "with --interface",
                        wanted.interface, word_for(wanted.family), describe_addresses(all))};
    return {ErrorCode::kNetwork,
            fmt::format("this machine has no network interface that is up and has an {}address, not even loopback (ip "
                        "link set lo up); it has {}",
                        word_for(wanted.family), describe_addresses(all))};
}

}  // namespace

protocol::Result<Choice> choose_address(std::span<const Interface> all, const Wanted& wanted) {
    std::vector<const Interface*> outer;
    std::vector<const Interface*> inner;
    for (const Interface& i : all) {
        if (!is_of(wanted.family, i.ip) || i.check == Interface::Check::kTaken || !i.up) continue;
        if (!wanted.interface.empty() && i.name != wanted.interface) continue;
        const bool named = !wanted.interface.empty() || i.name == wanted.named;
        (i.is_inner() && !named ? inner : outer).push_back(&i);
    }
    const bool networks = std::ranges::any_of(outer, [](const Interface* i) { return !i->loopback; });
    if (!networks && !inner.empty()) {
        outer.insert(outer.begin(), inner.begin(), inner.end());
        inner.clear();
    }
    for (const Wish& wish : kWishes) {
        const auto found = std::ranges::find_if(outer, [&](const Interface* i) { return wish.fits(*i); });
        if (found == outer.end()) continue;
        const Interface& taken = **found;
        std::vector<const Interface*> others;
        for (const Interface* i : outer)
            if (i != &taken && !i->loopback && !i->passing && !i->ip.is_link_local()) others.push_back(i);
        std::string why = wanted.interface.empty() ? std::string(wish.why) : "the interface was given";
        if (!others.empty()) why += fmt::format("; alternatives: {}", list(others));
        if (!inner.empty())
            why += fmt::format("; interfaces of containers or a VPN, used only on request: {}", list(inner));
        if (taken.is_inner() && wanted.interface.empty() && taken.name != wanted.named)
            why += "; only interfaces of containers or a VPN exist";
        return Choice{taken, taken.at(wanted.port), std::move(why)};
    }
    return std::unexpected(nothing_found(all, wanted));
}

}  // namespace logstream::net
