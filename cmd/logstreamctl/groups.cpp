// logstreamctl groups: consumer groups, who is in them and how far they are.
#include <algorithm>

#include "cmd/logstreamctl/command.h"

namespace logstream::ctl {

namespace {

json summary_of(const proto::GroupInfo& group) {
    json out{{"group", group.group()},
             {"members", group.members()},
             {"generation", group.generation()},
             {"empty_ms", group.empty_ms()}};
    out["expires_ms"] = group.expires_ms() < 0 ? json(nullptr) : json(group.expires_ms());
    return out;
}

json details_of(const proto::GroupInfo& group) {
    json out = summary_of(group);
    out["members"] = json::array();
    for (const proto::GroupMember& member : group.member())
        out["members"].push_back({{"member", member.member()},
                                  {"topics", std::vector<std::string>(member.topics().begin(), member.topics().end())},
                                  {"session_timeout_ms", member.session_timeout_ms()}});
    out["partitions"] = json::array();
    for (const proto::GroupPosition& position : group.positions()) {
        const bool known = position.committed() >= 0 && position.high_watermark() >= 0;
        const auto or_null = [](std::int64_t offset) { return offset < 0 ? json(nullptr) : json(offset); };
        out["partitions"].push_back(
            {{"topic", position.topic()},
             {"topic_id", protocol::hex(position.topic_id())},
             {"partition", position.partition()},
             {"committed", or_null(position.committed())},
             {"high_watermark", or_null(position.high_watermark())},
             {"lag", known ? json(std::max<std::int64_t>(0, position.high_watermark() - position.committed()))
                           : json(nullptr)},
             {"member", position.member().empty() ? json(nullptr) : json(position.member())}});
    }
    return out;
}

std::string text_of(const json& value) {
    if (value.is_null()) return "-";
    return value.is_string() ? value.get<std::string>() : text::dump(value);
}

Result<proto::GroupsResponse> ask_groups(const Common& common, proto::Groups::Action action, const std::string& group,
                                         int* tries = nullptr) {
    auto session = connect(common);
    if (!session) return std::unexpected(session.error());
    proto::Groups request;
    request.set_action(action);
    request.set_group(group);
    return ask_groups_owner(**session, std::move(request), tries);
}

}  // namespace

int groups_list(const Common& common) {
    const auto response = ask_groups(common, proto::Groups::LIST, "");
    if (!response) return complain(response.error());
    if (common.json) {
        json out{{"groups", json::array()}};
        for (const proto::GroupInfo& group : response->groups()) out["groups"].push_back(summary_of(group));
        print(out);
        return runtime::kDone;
    }
    Table rows{{"GROUP", "MEMBERS", "EMPTY FOR", "ENDS IN"}};
    for (const proto::GroupInfo& group : response->groups())
        rows.push_back({group.group(), std::to_string(group.members()),
                        group.members() > 0 ? "-" : time_text(group.empty_ms()),
                        group.expires_ms() < 0 ? "-" : time_text(static_cast<std::uint64_t>(group.expires_ms()))});
    print_table(rows);
    return runtime::kDone;
}

int groups_describe(const Common& common, const std::string& name) {
    const auto response = ask_groups(common, proto::Groups::DESCRIBE, name);
    if (!response) return complain(response.error());
    if (response->groups_size() != 1) return complain({ErrorCode::kUnknown, "the broker returned no group"});
    const json group = details_of(response->groups(0));
    if (common.json) {
        print(group);
        return runtime::kDone;
    }
    std::printf("group %s, generation %llu, %s\n\n", name.c_str(),
                static_cast<unsigned long long>(response->groups(0).generation()),
                runtime::count_of(group["members"].size(), "member", "members").c_str());
    Table rows{{"TOPIC", "PARTITION", "COMMITTED", "HIGH WATERMARK", "LAG", "MEMBER"}};
    for (const json& each : group["partitions"])
        rows.push_back({each["topic"].get<std::string>(), text::dump(each["partition"]), text_of(each["committed"]),
                        text_of(each["high_watermark"]), text_of(each["lag"]), text_of(each["member"])});
    print_table(rows);
    return runtime::kDone;
}

int groups_delete(const Common& common, const std::string& name) {
    int tries = 0;
    const auto response = ask_groups(common, proto::Groups::DELETE, name, &tries);
    // Asked twice, the first answer lost: it is gone because we ended it.
    const bool gone = response || (response.error().code == ErrorCode::kInvalid && tries > 1);
    if (!gone) return complain(response.error());
    if (common.json) {
        print({{"deleted", name}});
    } else {
        std::printf("deleted %s\n", name.c_str());
    }
    return runtime::kDone;
}

}  // namespace logstream::ctl
