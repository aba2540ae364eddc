#include "internal/node/view_history.h"

#include <utility>

#include "internal/text/json.h"

namespace logstream::node {

void ViewHistory::add(ViewChange change) {
    changes_.push_back(std::move(change));
    if (changes_.size() > kLimit) changes_.pop_front();
}

std::string ViewHistory::json() const {
    nlohmann::json out = nlohmann::json::array();
    for (const ViewChange& change : changes_) {
        nlohmann::json& shown = out.emplace_back();
        shown["view"] = change.view.number.value;
        shown["id"] = protocol::hex(change.view.id.value);
        shown["since_ms"] = change.since_ms;
        shown["transport"] = change.view.multicast ? "multicast" : "tcp";
        shown["members"] = nlohmann::json::array();
        for (const view::Member& member : change.view.members) {
            shown["members"].push_back(member.name);
            if (member.id == change.view.coordinator) shown["leader"] = member.name;
        }
        shown["frozen_ms"] = change.frozen ? nlohmann::json(protocol::milliseconds(*change.frozen)) : nullptr;
        if (!change.steps) continue;
        shown["reason"] = change.steps->reason;
        shown["exchange_ms"] = protocol::milliseconds(change.steps->exchange);
        shown["install_ms"] = protocol::milliseconds(change.steps->install);
    }
    return text::dump({{"views", out}});
}

}  // namespace logstream::node
