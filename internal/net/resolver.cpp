#include "internal/net/resolver.h"

#include <algorithm>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "internal/net/resolve.h"

namespace logstream::net {

struct Resolver::Door {
    std::mutex mutex;
    Loop* loop;          // nullptr: the resolver is gone
    Resolver* resolver;  // loop thread only
};

Resolver::Resolver(Loop& loop, std::vector<HostPort> names, Handler on_answer, Family family)
    : handler_(std::move(on_answer)), family_(family), door_(new Door{{}, &loop, this}) {
    for (HostPort& name : names) names_.push_back({std::move(name), false, false, {}, {}});
}

Resolver::~Resolver() {
    const std::lock_guard lock(door_->mutex);
    door_->loop = nullptr;
    door_->resolver = nullptr;
}

bool Resolver::may_change() const {
    return std::ranges::any_of(names_, [](const Name& name) { return !is_address(name.at.host); });
}

void Resolver::look_up() {
    for (std::size_t i = 0; i < names_.size(); ++i) {
        Name& name = names_[i];
        if (std::exchange(name.asked, true)) continue;
        const auto answer = [door = door_, i](protocol::Result<std::vector<env::Endpoint>> found) {
            const std::lock_guard lock(door->mutex);
            if (door->loop == nullptr) return;
            door->loop->post([door, i, found = std::move(found)]() mutable {
                if (door->resolver != nullptr) door->resolver->on_answer(i, std::move(found));
            });
        };
        if (is_address(name.at.host)) {
            answer(resolve(name.at.host, name.at.port, family_));
        } else {
            try {
                std::thread([answer, at = name.at, family = family_] {
                    answer(resolve(at.host, at.port, family));
                }).detach();
            } catch (const std::system_error& error) {
                answer(protocol::fail(protocol::ErrorCode::kNetwork, "'{}' cannot be looked up: {}", name.at.host,
                                      error.what()));
            }
        }
    }
}

void Resolver::on_answer(std::size_t answered, protocol::Result<std::vector<env::Endpoint>> found) {
    Name& name = names_[answered];
    name.asked = found && is_address(name.at.host);
    name.trouble = found ? "" : found.error().message;
    if (found) name.endpoints = *std::move(found);
    name.answered = true;
    Resolved all;
    all.whole = std::ranges::all_of(names_, &Name::answered);
    for (const Name& each : names_) {
        for (const env::Endpoint endpoint : each.endpoints)
            if (std::ranges::find(all.endpoints, endpoint) == all.endpoints.end()) all.endpoints.push_back(endpoint);
        if (!each.endpoints.empty() || each.trouble.empty()) continue;
        all.trouble += (all.trouble.empty() ? "" : "; ") + each.trouble;
    }
    handler_(all);
}

}  // namespace logstream::net
