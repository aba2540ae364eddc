#include "internal/boot/seeds.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

namespace logstream::boot {

namespace {

constexpr std::chrono::seconds kFirst{1};    // by then names are known, as a rule
constexpr std::chrono::seconds kPending{1};  // so often they are looked up while none stands for anything
constexpr std::chrono::seconds kAgain{10};   // and after that

std::vector<net::HostPort> names_of(const config::Config& config) {
    std::vector<net::HostPort> names;
    for (const config::HostPort& seed : config.discovery.seeds) names.push_back({seed.host, seed.port});
    return names;
}

}  // namespace

Seeds::Seeds(net::Loop& loop, net::UvEnv& env, const config::Config& config, const OwnAddress& own)
    : env_(env),
      loop_(loop),
      some_(!config.discovery.seeds.empty()),
      own_scope_(static_cast<std::uint32_t>(own.interface.index)),
      resolver_(
          loop, names_of(config), [this](const net::Resolved& found) { on_answer(found); },
          net::family_wanted(own.at.ip)) {}

Seeds::~Seeds() { env_.cancel_timer(timer_); }

std::vector<env::Endpoint> Seeds::first() {
    if (!some_) return {};
    resolver_.look_up();
    loop_.run_until([this] { return !found_.endpoints.empty() || found_.whole; }, kFirst);
    if (pending()) say_trouble();
    return found_.endpoints;
}

void Seeds::follow(std::function<void(std::vector<env::Endpoint>)> changed) {
    changed_ = std::move(changed);
    following_ = true;
    if (pending() || !found_.trouble.empty() || resolver_.may_change()) look_again();
}

void Seeds::look_again() {
    timer_ = env_.set_timer(pending() ? kPending : kAgain, [this] {
        resolver_.look_up();
        look_again();
    });
}

void Seeds::on_answer(net::Resolved found) {
    for (env::Endpoint& at : found.endpoints)
        if (at.scope == own_scope_) at.scope = 0;
    std::ranges::sort(found.endpoints);  // name services shuffle them
    const bool was_pending = pending();
    const bool changed = found.endpoints != found_.endpoints;
    found_ = std::move(found);
    if (following_ || !pending()) say_trouble();
    if (!changed || !following_) return;
    std::vector<std::string> shown;
    for (const env::Endpoint& at : found_.endpoints) shown.push_back(env::to_string(at));
    env_.log().info("DISCOVERY the seeds {} {}", was_pending ? "are" : "are now", fmt::join(shown, ", "));
    changed_(found_.endpoints);
}

void Seeds::say_trouble() {
    const std::string text = found_.trouble.empty() && pending() ? "the name service does not answer" : found_.trouble;
    if (text.empty() || text == std::exchange(said_, text)) return;
    if (pending())
        env_.log().warn(
            "DISCOVERY this broker waits for a seed: {}; it looks the names up every second and starts no "
            "cluster of its own until then",
            text);
    else
        env_.log().warn("DISCOVERY a seed is skipped until its name resolves: {}", text);
}

}  // namespace logstream::boot
