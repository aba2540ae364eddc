// logstreamctl status: what the cluster says of itself.
#include <algorithm>

#include "cmd/logstreamctl/command.h"

namespace logstream::ctl {

namespace {

struct Told {
    Endpoint by;
    json status;
};

Result<Told> ask_status(runtime::Session& session, Endpoint broker) {
    const auto response = ask<proto::StatusResponse>(session, broker, MessageType::kStatus, proto::Status{});
    if (!response) return std::unexpected(response.error());
    json status = json::parse(response->json(), nullptr, false);
    if (!status.is_object())
        return protocol::fail(ErrorCode::kInvalid, "{} sent a status that is not JSON", env::to_string(broker));
    return Told{broker, std::move(status)};
}

// The broker that the user names, though it has no view; else the leader, who knows most; else any member.
Result<Told> find_status(runtime::Session& session, const Common& common) {
    Error last{ErrorCode::kNetwork, "no broker answers"};
    for (const std::string& broker : common.client.brokers) {
        const auto endpoint = runtime::resolve(broker);
        if (!endpoint) return std::unexpected(endpoint.error());
        auto told = ask_status(session, *endpoint);
        if (told) return told;
        last = told.error();
    }
    if (!common.client.brokers.empty()) return std::unexpected(last);
    if (auto connected = session.connect(); !connected) return std::unexpected(connected.error());
    const client::ClusterView& view = session.router().view();
    std::vector<Endpoint> order = members_of(view);
    if (const Broker* leader = view.find(view.leader)) order.insert(order.begin(), leader->endpoint);
    std::optional<Told> frozen;
    for (const Endpoint broker : order) {
        auto told = ask_status(session, broker);
        if (told && told->status.value("quorum", false)) return told;
        if (told) frozen = *told;
        if (!told) last = told.error();
    }
    if (frozen) return *frozen;
    return std::unexpected(last);
}

// Each member tells of its own disk.
void add_disks(runtime::Session& session, json& status) {
    std::vector<Endpoint> brokers;
    for (const json& member : status["members"])
        if (const auto endpoint = env::parse_endpoint(member.value("address", ""))) brokers.push_back(*endpoint);
    std::ranges::sort(brokers);
    const auto repeated = std::ranges::unique(brokers);
    brokers.erase(repeated.begin(), repeated.end());
    const auto answers = ask_all<proto::StatusResponse, proto::Status>(
        session, brokers, MessageType::kStatus, [](Endpoint) { return proto::Status{}; }, std::chrono::seconds(1));
    for (json& member : status["members"]) {
        member["reachable"] = false;
        const auto endpoint = env::parse_endpoint(member.value("address", ""));
        const auto found = endpoint ? answers.find(*endpoint) : answers.end();
        if (found == answers.end() || !found->second) continue;
        const json theirs = json::parse(found->second->json(), nullptr, false);
        if (!theirs.is_object()) continue;
        member["reachable"] = true;
        if (theirs.contains("disk")) member["disk"] = theirs["disk"];
    }
}

std::string size_text(std::uint64_t bytes) {
    constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
    return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

void print_status(const json& status, Endpoint by) {
    const std::string leader =
        status.contains("leader") && status["leader"].is_string() ? status["leader"].get<std::string>() : "";
    std::string leader_name = leader.empty() ? "none" : leader;
    std::vector<std::vector<std::string>> rows{{"NAME", "ADDRESS", "ROLE", "PHI", "LAG", "DISK", "ID"}};
    for (const json& member : status["members"]) {
        if (member.value("id", "") == leader) leader_name = member.value("name", leader);
        std::string disk = "?";
        if (member.contains("disk")) {
            disk = size_text(member["disk"].value("bytes", std::uint64_t{0}));
            if (member["disk"].value("full", false)) disk += " FULL";
        }
        rows.push_back({member.value("name", "?"), member.value("address", "?"),
                        member.value("role", "?") + (member.value("reachable", true) ? "" : " (out of reach)"),
                        fmt::format("{:.1f}", member.value("phi", 0.0)), std::to_string(member.value("lag_records", 0)),
                        disk, member.value("id", "?")});
    }
    std::printf("cluster  %s (lineage %s)\n", status.value("cluster", "?").c_str(),
                status.value("cluster_id", "?").c_str());
    std::printf("view     %llu\n", static_cast<unsigned long long>(status.value("view", std::uint64_t{0})));
    std::printf("leader   %s\n", leader_name.c_str());
    const bool quorum = status.value("quorum", false);
    std::printf("quorum   %s%s\n", quorum ? "yes" : "NO",
                quorum ? "" : (": " + status.value("reason", "reason unknown")).c_str());
    if (status.contains("transport")) std::printf("transport %s\n", status.value("transport", "?").c_str());
    if (const json clocks = status.value("clocks", json::object()); clocks.contains("reason"))
        std::printf("RETENTION by time pauses: %s\n", clocks["reason"].get<std::string>().c_str());
    if (status.contains("apart")) std::printf("APART    %s\n", dump(status["apart"]).c_str());
    std::printf("told by  %s\n\n", env::to_string(by).c_str());
    print_table(rows);
}

}  // namespace

int status(const Common& common) {
    auto session = runtime::Session::open("logstreamctl", common.client);
    if (!session) return complain(session.error());
    auto told = find_status(**session, common);
    if (!told) return complain(told.error());
    if (!told->status.contains("members") || !told->status["members"].is_array())
        told->status["members"] = json::array();
    add_disks(**session, told->status);
    if (common.json) {
        print(told->status);
    } else {
        print_status(told->status, told->by);
    }
    return runtime::kDone;
}

}  // namespace logstream::ctl
