// logstreamctl elect, remove, drain, recover: what only a person decides.
#include <unistd.h>

#include <iostream>

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
        return complain({ErrorCode::kNoQuorum, "the view has no leader now: try again, or see logstreamctl status"});
    return report(common, ask<proto::AdminResponse>(**session, leader->endpoint, MessageType::kAdmin, *request), what);
}

bool confirmed() {
    std::fprintf(stderr, "Type yes to go on: ");
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

int recover(const Common& common, const RecoverOptions& options) {
    auto session = runtime::Session::open("logstreamctl", common.client);
    if (!session) return complain(session.error());
    struct Survivor {
        Endpoint endpoint;
        json status;
    };
    std::vector<Survivor> survivors;
    proto::Admin request;
    request.set_action(proto::Admin::RECOVER);
    for (const std::string& text : options.survivors) {
        const auto endpoint = runtime::resolve(text);
        if (!endpoint) return complain(endpoint.error());
        const auto response = ask<proto::StatusResponse>(**session, *endpoint, MessageType::kStatus, proto::Status{});
        if (!response) return complain({response.error().code, fmt::format("{}: {}", text, response.error().message)});
        json status = json::parse(response->json(), nullptr, false);
        if (!status.is_object() || !status.contains("node"))
            return complain({ErrorCode::kInvalid, text + " sent no usable status"});
        if (status.value("quorum", false))
            return complain(
                {ErrorCode::kInvalid, fmt::format("{} is in a working view: there is nothing to recover from", text)});
        if (!survivors.empty() && status.value("cluster_id", "") != survivors.front().status.value("cluster_id", ""))
            return complain({ErrorCode::kWrongCluster,
                             fmt::format("{} belongs to another lineage than {}", text, options.survivors.front())});
        request.add_survivors(std::strtoull(status["node"].get<std::string>().c_str(), nullptr, 16));
        survivors.push_back({*endpoint, std::move(status)});
    }
    std::fprintf(stderr, "A new lineage will be started from what these brokers hold, and from nothing else:\n");
    for (const Survivor& survivor : survivors) {
        std::fprintf(stderr, "  %s at %s, view %llu, %s\n", survivor.status.value("name", "?").c_str(),
                     env::to_string(survivor.endpoint).c_str(),
                     static_cast<unsigned long long>(survivor.status.value("view", std::uint64_t{0})),
                     survivor.status.value("reason", "no reason given").c_str());
    }
    std::fprintf(stderr,
                 "Records that only other members hold are lost to it, acknowledged ones too, and those members can't "
                 "come back\n"
                 "into it with what they hold. Do this only when they are gone for good.\n");
    if (!options.yes) {
        if (isatty(STDIN_FILENO) == 0) {
            std::fprintf(stderr, "logstreamctl: recover asks first: run it on a terminal, or with --yes\n");
            return runtime::kUsage;
        }
        if (!confirmed()) return complain({ErrorCode::kRefused, "nothing was done"});
    }
    return report(common,
                  ask<proto::AdminResponse>(**session, survivors.front().endpoint, MessageType::kAdmin, request,
                                            std::chrono::seconds(30)),
                  "recover");
}

}  // namespace logstream::ctl
