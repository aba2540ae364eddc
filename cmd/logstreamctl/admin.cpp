// logstreamctl elect, remove, drain, recover: what only a person decides.
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <iostream>
#include <set>

#include "cmd/logstreamctl/command.h"

namespace logstream::ctl {

namespace {

// Tells what the broker said it does.
int report(const Common& common, const Result<proto::AdminResponse>& response, const std::string& what) {
    if (!response) return complain(response.error());
    const std::string message = response->message().empty() ? what : response->message();
    if (common.json) {
        print({{"done", what}, {"message", message}});
    } else {
        std::printf("%s\n", message.c_str());
    }
    return runtime::kDone;
}

int ask_leader(const Common& common, const std::function<Result<proto::Admin>(const client::ClusterView&)>& make,
               const std::string& what) {
    auto session = connect(common);
    if (!session) return complain(session.error());
    const client::ClusterView& view = (*session)->router().view();
    const auto request = make(view);
    if (!request) return complain(request.error());
    const Broker* leader = view.find(view.leader);
    if (leader == nullptr)
        return complain(
            {ErrorCode::kNoQuorum, "the view has no leader at present: try again, or see logstreamctl status"});
    return report(common, ask<proto::AdminResponse>(**session, leader->endpoint, MessageType::kAdmin, *request), what);
}

bool confirmed() {
    std::fprintf(stderr, "Type yes to continue: ");
    std::string answer;
    std::getline(std::cin, answer);
    return answer == "yes";
}

}  // namespace

int elect(const Common& common) {
    return ask_leader(
        common,
        [](const client::ClusterView&) {
            proto::Admin request;
            request.set_action(proto::Admin::ELECT);
            return Result<proto::Admin>(request);
        },
        "elect");
}

int remove(const Common& common, const std::string& who) {
    return ask_leader(
        common,
        [&who](const client::ClusterView& view) -> Result<proto::Admin> {
            const auto member = find_member(view, who);
            if (!member) return std::unexpected(member.error());
            if (member->id == view.leader)
                return protocol::fail(ErrorCode::kInvalid, "{} is the leader: use drain, or stop it with SIGTERM",
                                      member->name);
            proto::Admin request;
            request.set_action(proto::Admin::REMOVE);
            request.set_node(member->id.value);
            return request;
        },
        "remove");
}

int drain(const Common& common, const std::string& who) {
    auto session = connect(common);
    if (!session) return complain(session.error());
    const auto member = find_member((*session)->router().view(), who);
    if (!member) return complain(member.error());
    proto::Admin request;
    request.set_action(proto::Admin::DRAIN);
    request.set_node(member->id.value);
    return report(common, ask<proto::AdminResponse>(**session, member->endpoint, MessageType::kAdmin, request),
                  "drain");
}

namespace {

struct Survivor {
    Endpoint endpoint;
    std::string node;     // id, 16 hex digits
    std::string lineage;  // likewise
    json status;
};

std::uint64_t from_hex(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 16); }

Result<Survivor> look_at_survivor(runtime::Session& session, const std::string& address) {
    const auto answer = ask_named<proto::StatusResponse>(session, address, MessageType::kStatus, proto::Status{});
    if (!answer) return protocol::fail(answer.error().code, "{}: {}", address, answer.error().message);
    json status = json::parse(answer->second.json(), nullptr, false);
    const std::string node = text::string_at(status, "node");
    if (node.empty()) return protocol::fail(ErrorCode::kInvalid, "{} did not send a usable status", address);
    if (text::bool_at(status, "quorum"))
        return protocol::fail(ErrorCode::kInvalid, "{} is in a working view: there is nothing to recover from",
                              address);
    return Survivor{answer->first, node, text::string_at(status, "cluster_id"), std::move(status)};
}

// The same survivors of the same lineage always make the same new one: a recovery that was cut short goes on when it is
// run again.
std::uint64_t lineage_after(std::uint64_t lineage, const std::set<std::uint64_t>& survivors) {
    std::vector<std::uint64_t> all{lineage};
    all.insert(all.end(), survivors.begin(), survivors.end());
    return XXH3_64bits(all.data(), all.size() * sizeof(std::uint64_t)) | 1;
}

// The lineage that all of them are of, or were before a recovery that was cut short.
Result<std::uint64_t> common_lineage(const std::vector<Survivor>& survivors, const std::set<std::uint64_t>& ids) {
    for (const Survivor& one : survivors) {
        const std::uint64_t old = from_hex(one.lineage);
        const bool fits = std::ranges::all_of(survivors, [&](const Survivor& other) {
            const std::uint64_t lineage = from_hex(other.lineage);
            return lineage == old || lineage == lineage_after(old, ids);
        });
        if (old != 0 && fits) return old;
    }
    return protocol::fail(ErrorCode::kWrongCluster,
                          "these brokers do not belong to the same lineage: compare cluster_id in logstreamctl status "
                          "--json of each");
}

void say_what_recovery_means(const std::vector<Survivor>& survivors) {
    std::fprintf(stderr, "A new lineage will be started from only what these brokers hold:\n");
    for (const Survivor& survivor : survivors) {
        std::fprintf(stderr, "  %s at %s, view %llu, %s\n", text::string_at(survivor.status, "name", "?").c_str(),
                     env::to_string(survivor.endpoint).c_str(),
                     static_cast<unsigned long long>(text::count_at(survivor.status, "view")),
                     text::string_at(survivor.status, "reason", "no reason given").c_str());
    }
    std::fprintf(
        stderr,
        "Records that only other members hold will be missing from it, even acknowledged ones, and those members "
        "cannot\nbring them into it by rejoining. Do this only when they are gone for good.\n");
}

}  // namespace

int recover(const Common& common, const RecoverOptions& options) {
    auto session = runtime::Session::open("logstreamctl", common.client);
    if (!session) return complain(session.error());
    std::vector<Survivor> survivors;
    std::set<std::uint64_t> ids;
    for (const std::string& address : options.survivors) {
        auto survivor = look_at_survivor(**session, address);
        if (!survivor) return complain(survivor.error());
        if (ids.insert(from_hex(survivor->node)).second) survivors.push_back(std::move(*survivor));
    }
    const auto lineage = common_lineage(survivors, ids);
    if (!lineage) return complain(lineage.error());
    say_what_recovery_means(survivors);
    if (!options.yes) {
        if (isatty(STDIN_FILENO) == 0) {
            std::fprintf(stderr, "logstreamctl: recover asks for confirmation: run it in a terminal, or with --yes\n");
            return runtime::kUsage;
        }
        if (!confirmed()) return complain({ErrorCode::kRefused, "nothing was done"});
    }
    proto::Admin request;
    request.set_action(proto::Admin::RECOVER);
    request.set_cluster_id(lineage_after(*lineage, ids));
    for (std::uint64_t id : ids) request.add_survivors(id);
    std::vector<Endpoint> endpoints;
    for (const Survivor& survivor : survivors) endpoints.push_back(survivor.endpoint);
    const auto answers = ask_all<proto::AdminResponse, proto::Admin>(**session, endpoints, MessageType::kAdmin,
                                                                     [&request](Endpoint) { return request; });
    for (const auto& [endpoint, answer] : answers) {
        if (!answer)
            return complain({answer.error().code, fmt::format("{}: {}; fix that and run it again",
                                                              env::to_string(endpoint), answer.error().message)});
    }
    return report(common, answers.begin()->second, "recover");
}

}  // namespace logstream::ctl
