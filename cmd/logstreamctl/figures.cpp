#include "cmd/logstreamctl/figures.h"

#include <algorithm>

#include "cmd/logstreamctl/command.h"
#include "internal/config/value.h"

namespace logstream::ctl {

void Figures::add(const proto::TopicFigures& figures) {
    proto::TopicFigures& sum = by_topic_[protocol::TopicId{figures.topic()}];
    sum.set_partitions(sum.partitions() + figures.partitions());
    sum.set_records(sum.records() + figures.records());
    sum.set_bytes(sum.bytes() + figures.bytes());
    sum.set_records_per_second(sum.records_per_second() + figures.records_per_second());
    sum.set_last_append_ms(std::max(sum.last_append_ms(), figures.last_append_ms()));
}

std::optional<proto::TopicFigures> Figures::find(const client::Topic& topic) const {
    const auto found = by_topic_.find(topic.id);
    // While the view changes two may own a partition, or nobody.
    if (found == by_topic_.end() || found->second.partitions() != topic.partitions) return std::nullopt;
    return found->second;
}

Figures ask_figures(runtime::Session& session) {
    proto::Topics request;
    request.set_action(proto::Topics::LIST);
    request.set_figures(true);
    const auto answers = ask_all<proto::TopicsResponse, proto::Topics>(
        session, members_of(session.router().view()), MessageType::kTopics, [&request](Endpoint) { return request; });
    Figures out;
    for (const auto& [broker, answer] : answers)
        if (answer)
            for (const proto::TopicFigures& figures : answer->figures()) out.add(figures);
    return out;
}

void put_figures(json& out, const std::optional<proto::TopicFigures>& figures) {
    for (const auto* name : {"records", "bytes", "records_per_second", "last_write_ms"}) out[name] = nullptr;
    if (!figures) return;
    out["records"] = figures->records();
    out["bytes"] = figures->bytes();
    out["records_per_second"] = figures->records_per_second();
    if (figures->last_append_ms() > 0) out["last_write_ms"] = figures->last_append_ms();
}

FiguresText::FiguresText(const std::optional<proto::TopicFigures>& figures) {
    if (!figures) return;
    records = std::to_string(figures->records());
    size = size_text(figures->bytes());
    rate = rate_text(figures->records_per_second());
    // Without milliseconds and zone, which the head of the column names.
    last_write = figures->last_append_ms() > 0 ? config::format_time(figures->last_append_ms()).substr(0, 19) : "-";
}

}  // namespace logstream::ctl
