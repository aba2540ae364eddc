// logstreamctl groups reset: where a group goes on.
#include <algorithm>

#include "cmd/logstreamctl/command.h"
#include "internal/client/topic_name.h"

namespace logstream::ctl {

namespace {

struct Move {
    std::string topic;
    protocol::StreamId stream;
    std::int64_t committed{};  // -1: nothing yet
    std::int64_t to{};
};

// What the group has read, and what else is asked for.
Result<std::vector<Move>> find_partitions(runtime::Session& session, const ResetOptions& options) {
    proto::Groups request;
    request.set_action(proto::Groups::DESCRIBE);
    request.set_group(options.group);
    const auto group = ask_groups_owner(session, std::move(request));
    if (!group) return std::unexpected(group.error());
    std::map<protocol::StreamId, Move> moves;
    const auto wanted = [&options](std::string_view topic, std::uint32_t partition) {
        return (options.topic.empty() || options.topic == topic) && options.partition.value_or(partition) == partition;
    };
    for (const proto::GroupInfo& info : group->groups())
        for (const proto::GroupPosition& position : info.positions()) {
            const protocol::StreamId stream{protocol::TopicId{position.topic_id()}, position.partition()};
            if (wanted(position.topic(), position.partition()))
                moves[stream] = {position.topic(), stream, position.committed(), 0};
        }
    if (!options.topic.empty()) {
        const auto topic = session.router().view().topic(options.topic);
        if (!topic) return std::unexpected(topic.error());
        if (options.partition)
            if (auto valid = client::check_partition(topic->name, topic->partitions, *options.partition); !valid)
                return std::unexpected(valid.error());
        for (std::uint32_t partition = 0; partition < topic->partitions; ++partition)
            if (wanted(topic->name, partition))
                moves.try_emplace({topic->id, partition}, Move{topic->name, {topic->id, partition}, -1, 0});
    }
    std::vector<Move> out;
    for (const auto& [stream, move] : moves) out.push_back(move);
    std::ranges::sort(out, {}, [](const Move& move) { return std::pair(move.topic, move.stream.partition); });
    return out;
}

// The offset that `to` stands for, within what the log has.
Result<std::int64_t> locate(runtime::Session& session, const Move& move, client::StartAt to) {
    using Kind = client::StartAt::Kind;
    const auto log = ask_offsets(session, move.stream, to.kind == Kind::kTime ? to.value : -1);
    if (!log) return std::unexpected(log.error());
    const std::int64_t end = std::max(log->log_start(), log->high_watermark());
    switch (to.kind) {
        case Kind::kEarliest:
            return log->log_start();
        case Kind::kLatest:
            return end;
        case Kind::kOffset:
            return std::clamp(to.value, log->log_start(), end);
        case Kind::kTail:
            return to.value > end - log->log_start() ? log->log_start() : end - to.value;
        case Kind::kTime:
            return std::clamp(log->offset(), log->log_start(), end);
    }
    return end;
}

void show(const std::vector<Move>& moves, const ResetOptions& options, bool as_json) {
    const auto committed = [](const Move& move) { return move.committed < 0 ? json(nullptr) : json(move.committed); };
    if (as_json) {
        json out{{"group", options.group}, {"changed", options.yes}, {"partitions", json::array()}};
        for (const Move& move : moves)
            out["partitions"].push_back({{"topic", move.topic},
                                         {"partition", move.stream.partition},
                                         {"from", committed(move)},
                                         {"to", move.to}});
        return print(out);
    }
    Table rows{{"TOPIC", "PARTITION", "FROM", "TO"}};
    for (const Move& move : moves)
        rows.push_back({move.topic, std::to_string(move.stream.partition),
                        move.committed < 0 ? "-" : std::to_string(move.committed), std::to_string(move.to)});
    print_table(rows);
    std::printf("%s\n", options.yes ? fmt::format("group {} will continue at these offsets", options.group).c_str()
                                    : "nothing was changed; run again with --yes");
}

}  // namespace

int groups_reset(const Common& common, const ResetOptions& options) {
    auto session = connect(common, [&options](client::Router& router) {
        if (!options.topic.empty()) router.want_topic(options.topic, client::AutoCreate::kNo);
    });
    if (!session) return complain(session.error());
    auto moves = find_partitions(**session, options);
    if (!moves) return complain(moves.error());
    if (moves->empty())
        return complain({ErrorCode::kInvalid,
                         fmt::format("group '{}' has read nothing yet: name a topic with --topic", options.group)});
    proto::Groups request;
    request.set_action(proto::Groups::RESET);
    request.set_group(options.group);
    for (Move& move : *moves) {
        const auto to = locate(**session, move, options.to);
        if (!to) return complain(to.error());
        move.to = *to;
        proto::PartitionOffset& offset = *request.add_offsets();
        offset.set_topic(move.topic);
        offset.set_topic_id(move.stream.topic.value);
        offset.set_partition(move.stream.partition);
        offset.set_offset(move.to);
    }
    if (options.yes) {
        const auto done = ask_groups_owner(**session, std::move(request));
        if (!done) return complain(done.error());
        // It took the question for DESCRIBE.
        if (done->groups_size() > 0)
            return complain({ErrorCode::kRefused,
                             "the broker that manages the groups runs a version that cannot reset "
                             "them: upgrade it first; nothing was changed"});
    }
    show(*moves, options, common.json);
    return runtime::kDone;
}

}  // namespace logstream::ctl
