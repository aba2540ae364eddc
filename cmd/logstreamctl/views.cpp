// logstreamctl views: which views there were, why, and how long they took.
#include <algorithm>

#include "cmd/logstreamctl/command.h"
#include "internal/config/value.h"

namespace logstream::ctl {

namespace {

// What the members tell of each view, by its number. The coordinator knows why and how long; of the times for which
// members were frozen the longest counts.
std::map<std::uint64_t, json> merge_views(const std::map<Endpoint, Result<proto::StatusResponse>>& answers) {
    std::map<std::uint64_t, json> out;
    for (const auto& [broker, answer] : answers) {
        if (!answer) continue;
        const json told = json::parse(answer->json(), nullptr, false);
        if (!told.is_object() || !told.contains("views") || !told["views"].is_array()) continue;
        for (const json& view : told["views"]) {
            json& known = out.try_emplace(text::count_at(view, "view"), view).first->second;
            const double frozen =
                std::max(text::number_at(known, "frozen_ms", -1), text::number_at(view, "frozen_ms", -1));
            if (view.contains("reason")) known = view;
            known["frozen_ms"] = frozen < 0 ? json(nullptr) : json(frozen);
        }
    }
    return out;
}

std::string ms_text(const json& view, std::string_view field) {
    const double ms = text::number_at(view, field, -1);
    return ms < 0 ? "-" : fmt::format("{:.1f} ms", ms);
}

void print_views(const std::map<std::uint64_t, json>& views) {
    std::vector<std::vector<std::string>> rows{
        {"VIEW", "SINCE (UTC)", "LEADER", "MEMBERS", "FROZEN", "EXCHANGE", "INSTALL", "WHY"}};
    for (const auto& [number, view] : views) {
        std::string members;
        if (view.contains("members") && view["members"].is_array())
            for (const json& member : view["members"])
                if (member.is_string()) members += (members.empty() ? "" : ",") + member.get<std::string>();
        rows.push_back(
            {std::to_string(number), config::format_time(static_cast<std::int64_t>(text::count_at(view, "since_ms"))),
             text::string_at(view, "leader", "-"), members, ms_text(view, "frozen_ms"), ms_text(view, "exchange_ms"),
             ms_text(view, "install_ms"), text::string_at(view, "reason", "-")});
    }
    print_table(rows);
}

}  // namespace

int views(const Common& common) {
    auto session = connect(common);
    if (!session) return complain(session.error());
    const auto answers = ask_all<proto::StatusResponse, proto::Status>(
        **session, members_of((*session)->router().view()), MessageType::kStatus, [](Endpoint) {
            proto::Status request;
            request.set_views(true);
            return request;
        });
    const std::map<std::uint64_t, json> views = merge_views(answers);
    if (!common.json) {
        print_views(views);
        return runtime::kDone;
    }
    json out{{"views", json::array()}};
    for (const auto& [number, view] : views) out["views"].push_back(view);
    print(out);
    return runtime::kDone;
}

}  // namespace logstream::ctl
