#include "cmd/logstreamctl/command.h"

#include <algorithm>

#include "internal/config/nearest.h"

namespace logstream::ctl {

Result<std::unique_ptr<runtime::Session>> connect(const Common& common,
                                                  const std::function<void(client::Router&)>& prepare) {
    auto session = runtime::Session::open("logstreamctl", common.client);
    if (!session) return session;
    if (prepare) prepare((*session)->router());
    if (auto connected = (*session)->connect(); !connected) return std::unexpected(connected.error());
    return session;
}

Result<proto::ListOffsetsResponse> ask_offsets(runtime::Session& session, protocol::StreamId stream,
                                               std::int64_t timestamp_ms, Duration limit) {
    proto::ListOffsets request;
    request.set_cluster_id(session.router().view().cluster_id.value);
    request.set_topic(stream.topic.value);
    request.set_partition(stream.partition);
    request.set_timestamp_ms(timestamp_ms);
    return ask_owner<proto::ListOffsetsResponse>(session, stream, MessageType::kListOffsets, request, limit);
}

Result<proto::GroupsResponse> ask_groups_owner(runtime::Session& session, proto::Groups request, int* tries,
                                               Duration limit) {
    const auto ask = [&](int* counted) {
        request.set_cluster_id(session.router().view().cluster_id.value);
        return ask_owner<proto::GroupsResponse>(session, protocol::kGroupsStream, MessageType::kGroups, request, limit,
                                                counted);
    };
    auto response = ask(tries);
    if (response || request.action() == proto::Groups::LIST || response.error().code != ErrorCode::kInvalid)
        return response;
    // It may be misspelt.
    const std::string group = request.group();
    request.Clear();
    request.set_action(proto::Groups::LIST);
    const auto known = ask(nullptr);
    if (!known) return response;
    std::vector<std::string_view> names;
    for (const proto::GroupInfo& each : known->groups()) names.push_back(each.group());
    if (std::ranges::find(names, group) == names.end()) response.error().message += config::did_you_mean(group, names);
    return response;
}

std::vector<Endpoint> members_of(const client::ClusterView& view) {
    std::vector<Endpoint> out;
    for (const Broker& member : view.members) out.push_back(member.endpoint);
    return out;
}

Result<Broker> find_member(const client::ClusterView& view, const std::string& who) {
    std::vector<Broker> found;
    std::string all;
    const auto written = env::parse_endpoint(who);
    for (const Broker& member : view.members) {
        const std::string address = env::to_string(member.endpoint);
        all +=
            fmt::format("{}{} ({}, {})", all.empty() ? "" : "; ", member.name, address, protocol::to_string(member.id));
        if (member.name == who || member.endpoint == written || protocol::to_string(member.id) == who)
            found.push_back(member);
    }
    if (found.size() == 1) return found.front();
    return protocol::fail(ErrorCode::kInvalid, "'{}' matches {} of the members of view {}: {}", who,
                          found.empty() ? "none" : "more than one", view.number, all);
}

}  // namespace logstream::ctl
