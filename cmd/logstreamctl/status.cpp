// logstreamctl status: what the cluster says of itself.
#include "cmd/logstreamctl/status.h"

#include <unistd.h>

#include <algorithm>

#include "cmd/logstreamctl/command.h"
#include "internal/config/value.h"

namespace logstream::ctl {

namespace {

Result<Told> read_status(Endpoint broker, const proto::StatusResponse& response) {
    json status = json::parse(response.json(), nullptr, false);
    if (!status.is_object())
        return protocol::fail(ErrorCode::kInvalid, "{} sent a status that is not JSON", env::to_string(broker));
    return Told{broker, std::move(status)};
}

Result<Told> ask_status(runtime::Session& session, Endpoint broker) {
    const auto response = ask<proto::StatusResponse>(session, broker, MessageType::kStatus, proto::Status{});
    if (!response) return std::unexpected(response.error());
    return read_status(broker, *response);
}

// The broker that the user names, though it has no view; else the leader, who knows most; else any member.
Result<Told> find_status(runtime::Session& session) {
    const std::vector<std::string>& brokers = session.flags().brokers;
    Error last{ErrorCode::kNetwork, "no broker answers"};
    for (const std::string& broker : brokers) {
        const auto answer = ask_named<proto::StatusResponse>(session, broker, MessageType::kStatus, proto::Status{});
        auto told = answer ? read_status(answer->first, answer->second) : std::unexpected(answer.error());
        if (told) return told;
        last = told.error();
    }
    // A broker closes the connection of who names another cluster.
    if (const auto& cluster = session.flags().cluster; cluster && last.code == ErrorCode::kNetwork)
        last.message += fmt::format("; is its cluster called '{}'?", *cluster);
    if (!brokers.empty()) return std::unexpected(last);
    if (!session.router().view().known())
        if (auto connected = session.connect(); !connected) return std::unexpected(connected.error());
    const client::ClusterView& view = session.router().view();
    std::vector<Endpoint> order = members_of(view);
    if (const Broker* leader = view.find(view.leader)) order.insert(order.begin(), leader->endpoint);
    std::optional<Told> frozen;
    for (const Endpoint broker : order) {
        auto told = ask_status(session, broker);
        if (told && text::bool_at(told->status, "quorum")) return told;
        if (told) frozen = *told;
        if (!told) last = told.error();
    }
    if (frozen) return *frozen;
    return std::unexpected(last);
}

// A link-local address is reached by the interface by which the one is that told of it.
Result<Endpoint> address_of(const json& member, Endpoint told_by) {
    auto endpoint = env::parse_endpoint(text::string_at(member, "address"));
    if (endpoint && endpoint->ip.is_link_local()) endpoint->scope = told_by.scope;
    return endpoint;
}

// Each member tells of its own disk.
void add_disks(runtime::Session& session, json& status, Endpoint told_by) {
    std::vector<Endpoint> brokers;
    for (const json& member : status["members"])
        if (const auto endpoint = address_of(member, told_by)) brokers.push_back(*endpoint);
    std::ranges::sort(brokers);
    const auto repeated = std::ranges::unique(brokers);
    brokers.erase(repeated.begin(), repeated.end());
    const auto answers = ask_all<proto::StatusResponse, proto::Status>(
        session, brokers, MessageType::kStatus, [](Endpoint) { return proto::Status{}; }, std::chrono::seconds(1));
    for (json& member : status["members"]) {
        if (!member.is_object()) continue;
        member["reachable"] = false;
        const auto endpoint = address_of(member, told_by);
        const auto found = endpoint ? answers.find(*endpoint) : answers.end();
        if (found == answers.end() || !found->second) continue;
        const json theirs = json::parse(found->second->json(), nullptr, false);
        if (!theirs.is_object()) continue;
        member["reachable"] = true;
        if (theirs.contains("disk")) member["disk"] = theirs["disk"];
    }
}

std::string disk_text(const json& member) {
    if (!member.contains("disk")) return "?";
    const json& disk = member["disk"];
    return size_text(text::count_at(disk, "bytes")) + (text::bool_at(disk, "full") ? " FULL" : "");
}

}  // namespace

Table member_table(const json& status) {
    Table rows{{"NAME", "ADDRESS", "ROLE", "PHI", "LAG", "DISK", "ID"}};
    for (const json& member : status["members"]) {
        if (!member.is_object()) continue;
        rows.push_back(
            {text::string_at(member, "name", "?"), text::string_at(member, "address", "?"),
             text::string_at(member, "role", "?") + (text::bool_at(member, "reachable", true) ? "" : " (unreachable)"),
             fmt::format("{:.1f}", text::number_at(member, "phi")),
             std::to_string(text::count_at(member, "lag_records")), disk_text(member),
             text::string_at(member, "id", "?")});
    }
    return rows;
}

std::vector<std::string> gone_lines(const json& status) {
    std::vector<std::string> out;
    if (!status.contains("gone") || !status["gone"].is_array()) return out;
    for (const json& gone : status["gone"]) {
        if (!gone.is_object()) continue;
        out.push_back(fmt::format(
            "GONE  {} ({}) left the view at {} UTC: start its broker again, and it rejoins by itself",
            text::string_at(gone, "name", "?"), text::string_at(gone, "address", "?"),
            config::format_time(static_cast<std::int64_t>(text::count_at(gone, "since_ms"))).substr(0, 19)));
    }
    return out;
}

std::string leader_name(const json& status) {
    const std::string leader = text::string_at(status, "leader");
    for (const json& member : status["members"])
        if (!leader.empty() && text::string_at(member, "id") == leader) return text::string_at(member, "name", leader);
    return leader.empty() ? "none" : leader;
}

Result<Told> tell_status(runtime::Session& session) {
    auto told = find_status(session);
    if (!told) return told;
    if (!told->status.contains("members") || !told->status["members"].is_array())
        told->status["members"] = json::array();
    std::vector<json> members = told->status["members"];
    std::ranges::stable_sort(members, {}, [](const json& member) {
        return member.is_object() ? text::string_at(member, "name") : std::string();
    });
    told->status["members"] = std::move(members);
    add_disks(session, told->status, told->by);
    return told;
}

namespace {

void print_status(const json& status, Endpoint by) {
    std::printf("cluster  %s (lineage %s)\n", text::string_at(status, "cluster", "?").c_str(),
                text::string_at(status, "cluster_id", "?").c_str());
    std::printf("view     %llu\n", static_cast<unsigned long long>(text::count_at(status, "view")));
    std::printf("leader   %s\n", leader_name(status).c_str());
    const bool quorum = text::bool_at(status, "quorum");
    // Which begins with these words where there is none.
    constexpr std::string_view kNoQuorum = "no quorum: ";
    std::string reason = text::string_at(status, "reason", "reason unknown");
    if (reason.starts_with(kNoQuorum)) reason.erase(0, kNoQuorum.size());
    std::printf("quorum   %s%s\n", quorum ? "yes" : "NO", quorum ? "" : (": " + reason).c_str());
    if (status.contains("transport")) std::printf("transport %s\n", text::string_at(status, "transport", "?").c_str());
    if (status.contains("apart")) std::printf("APART    %s\n", text::dump(status["apart"]).c_str());
    if (status.contains("warnings"))
        for (const json& warning : status["warnings"])
            if (warning.is_string()) std::printf("WARNING  %s\n", warning.get<std::string>().c_str());
    std::printf("told by  %s\n\n", env::to_string(by).c_str());
    print_table(member_table(status));
    std::string lost;
    for (const json& member : status["members"])
        if (member.is_object() && !text::bool_at(member, "reachable", true))
            lost += (lost.empty() ? "" : ", ") + text::string_at(member, "name", "?");
    if (!quorum && !lost.empty())
        std::printf(
            "UNREACHABLE  %s: start these brokers, or restore their network; writes continue by themselves once "
            "a majority of the view is back\n",
            lost.c_str());
    for (const std::string& line : gone_lines(status)) std::printf("%s\n", line.c_str());
}

}  // namespace

int status(const Common& common, const StatusOptions& options) {
    auto session = runtime::Session::open("logstreamctl", common.client);
    if (!session) return complain(session.error());
    const auto tell = [&]() -> Result<void> {
        const auto told = tell_status(**session);
        if (!told) return std::unexpected(told.error());
        if (options.watch && isatty(STDOUT_FILENO) == 1) std::printf("\033[H\033[J");
        if (!common.json) {
            print_status(told->status, told->by);
        } else if (options.watch) {
            std::printf("%s\n", text::dump(told->status).c_str());
        } else {
            print(told->status);
        }
        return {};
    };
    while (true) {
        const auto told = tell();
        if (!told) complain(told.error());
        if (!options.watch) return told ? runtime::kDone : runtime::kFailed;
        // One that found no cluster looks for none any more.
        if (!told)
            if (auto anew = runtime::Session::open("logstreamctl", common.client)) session = std::move(anew);
        // Nobody reads any more: the end of standard output is checked at exit.
        if (std::fflush(stdout) != 0) return runtime::kDone;
        (*session)->loop().run_until([] { return false; }, options.interval);
        if (!common.json && isatty(STDOUT_FILENO) != 1) std::printf("\n");
    }
}

}  // namespace logstream::ctl
