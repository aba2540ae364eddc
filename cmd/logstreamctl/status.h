// What the cluster says of itself, for all commands that show it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "cmd/logstreamctl/table.h"
#include "cmd/runtime/session.h"

namespace logstream::ctl {

struct Told {
    env::Endpoint by;
    nlohmann::json status;  // as Node::status_json; `members` is an array, each with its own disk and `reachable`
};

// Asks the broker that the user names, else the leader, else any member; then each member about its disk.
protocol::Result<Told> tell_status(runtime::Session& session);

// By name.
Table member_table(const nlohmann::json& status);
// A line for each member that left the view within the last hour: since when, and what to do.
std::vector<std::string> gone_lines(const nlohmann::json& status);
// "none" without one.
std::string leader_name(const nlohmann::json& status);

}  // namespace logstream::ctl
