// logstreamctl views: which views there were, why, and how long they took.
#include <algorithm>

#include "cmd/logstreamctl/command.h"
#include "internal/config/value.h"

namespace logstream::ctl {

namespace {

// By number, and by id: two lineages may have views of the same number.
using Views = std::map<std::pair<std::uint64_t, std::string>, json>;

// What a broker told; the error of one that told nothing.
Result<json> views_of(const Result<proto::StatusResponse>& answer) {
    if (!answer) return std::unexpected(answer.error());
    json told = json::parse(answer->json(), nullptr, false);
    if (!told.is_object() || !told.contains("views") || !told["views"].is_array())
        return protocol::fail(ErrorCode::kRefused, "the brokers run a version that does not keep a view history");
    return told["views"];
}

// The coordinator knows why and how long; of the times for which members were frozen the longest counts.
void add_views(Views& out, const json& told) {
    for (const json& view : told) {
        if (!view.is_object()) continue;
        const auto key = std::pair(text::count_at(view, "view"), text::string_at(view, "id"));
        json& known = out.try_emplace(key, view).first->second;
        const double frozen = std::max(text::number_at(known, "frozen_ms", -1), text::number_at(view, "frozen_ms", -1));
        if (view.contains("reason")) known = view;
        known["frozen_ms"] = frozen < 0 ? json(nullptr) : json(frozen);
    }
}

std::string ms_text(const json& view, std::string_view field) {
    const double ms = text::number_at(view, field, -1);
    return ms < 0 ? "-" : fmt::format("{:.1f} ms", ms);
}

void print_views(const Views& views) {
    Table rows{{"VIEW", "SINCE (UTC)", "LEADER", "MEMBERS", "FROZEN", "EXCHANGE", "INSTALL", "WHY"}};
    for (const auto& [key, view] : views) {
        std::string members;
        if (view.contains("members") && view["members"].is_array())
            for (const json& member : view["members"])
                if (member.is_string()) members += (members.empty() ? "" : ",") + member.get<std::string>();
        rows.push_back({std::to_string(key.first),
                        config::format_time(static_cast<std::int64_t>(text::count_at(view, "since_ms"))),
                        text::string_at(view, "leader", "-"), members, ms_text(view, "frozen_ms"),
                        ms_text(view, "exchange_ms"), ms_text(view, "install_ms"),
                        text::string_at(view, "reason", "-")});
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
    Views views;
    std::optional<Error> nothing;
    for (const auto& [broker, answer] : answers) {
        if (const auto told = views_of(answer))
            add_views(views, *told);
        else
            nothing = told.error();
    }
    if (views.empty() && nothing) return complain(*nothing);
    if (!common.json) {
        print_views(views);
        return runtime::kDone;
    }
    json out{{"views", json::array()}};
    for (const auto& [key, view] : views) out["views"].push_back(view);
    print(out);
    return runtime::kDone;
}

}  // namespace logstream::ctl
