// Groups' part that ends what nobody uses any more, and what operators ask for.
#include <algorithm>

#include "internal/node/groups.h"

namespace logstream::node {

namespace {
constexpr std::size_t kEntriesAtOnce = 500;  // of one batch
constexpr std::size_t kGroupsAtOnce = 100;   // ended or written down in one go
// How long a group has been empty is written down so often while it has to be for a whole retention time.
constexpr int kWritesOfRetention = 16;
constexpr Duration kLeastStep = std::chrono::minutes(1);
// A group's positions in deleted topics that nothing has taken the place of.
constexpr std::size_t kMaxDeadPositions = 1000;

std::int64_t whole_ms(Duration time) { return std::chrono::duration_cast<std::chrono::milliseconds>(time).count(); }

proto::GroupsResponse refusal(ErrorCode code, std::string text) {
    proto::GroupsResponse out;
    *out.mutable_error() = to_proto(Error{code, std::move(text)});
    return out;
}
}  // namespace

void Groups::tend_empty_groups() {
    if (!settings_.group_retention) return;
    const Duration step = std::max(*settings_.group_retention / kWritesOfRetention, kLeastStep);
    std::vector<std::string> over;
    std::vector<std::string> due;
    for (const auto& [name, group] : groups_) {
        if (!group.members.empty() || group.ending) continue;
        if (over.size() + due.size() >= kGroupsAtOnce) break;
        if (empty_for(group) >= *settings_.group_retention)
            over.push_back(name);
        else if (empty_for(group) - group.empty_written >= step)
            due.push_back(name);
    }
    for (const std::string& name : due) {
        const auto group = groups_.find(name);
        if (group == groups_.end()) return;  // an append that is refused at once drops all that is in memory
        group->second.empty_written = empty_for(group->second);
        save_membership(name, group->second, [](const Result<Offset>&) {});
    }
    for (const std::string& name : over) {
        if (!groups_.contains(name)) return;
        env_.log().info("GROUP {} has had no members for {:.0f} s (groups.retention): deleting it", name,
                        milliseconds(empty_for(groups_.at(name))) / 1000);
        end_group(name, [](const Result<Offset>&) {});
    }
}

// A position in a topic that is gone says that the group has read that name; so it stays until the group has one in
// every partition of the topic that took the name.
void Groups::drop_dead_positions() {
    std::vector<GroupEntry> entries;
    for (const auto& [name, group] : groups_) {
        std::size_t kept = 0;
        for (const auto& [stream, position] : group.positions) {
            if (entries.size() >= kEntriesAtOnce) break;
            if (topics_.find(stream.topic) != nullptr) continue;
            const proto::TopicRecord* next = topics_.find(position.topic);
            bool replaced = next != nullptr;
            for (std::uint32_t p = 0; replaced && p < next->settings().partitions(); ++p)
                replaced = group.positions.contains({TopicId{next->topic()}, p});
            if (replaced || ++kept > kMaxDeadPositions) entries.push_back({{name, stream}, std::nullopt});
        }
    }
    if (!entries.empty()) append(entries, [](const Result<Offset>&) {});
}

// Every key gets its end, so that compaction leaves nothing that could come back.
void Groups::end_group(const std::string& name, AppendHandler done) {
    Group& group = groups_.at(name);
    group.ending = true;
    std::vector<GroupEntry> entries;
    for (const auto& [stream, position] : group.positions) entries.push_back({{name, stream}, std::nullopt});
    entries.push_back({{name, std::nullopt}, std::nullopt});
    append_in_parts(entries, std::move(done));
}

// `done` comes with the last part.
void Groups::append_in_parts(std::span<const GroupEntry> entries, AppendHandler done) {
    while (!entries.empty()) {
        const std::span<const GroupEntry> part = entries.first(std::min(entries.size(), kEntriesAtOnce));
        entries = entries.subspan(part.size());
        append(part, entries.empty() ? done : [](const Result<Offset>&) {});
    }
}

proto::GroupInfo Groups::describe(const std::string& name, const Group& group) const {
    proto::GroupInfo out;
    out.set_group(name);
    out.set_generation(group.generation);
    out.set_members(static_cast<std::uint32_t>(group.members.size()));
    out.set_empty_ms(static_cast<std::uint64_t>(whole_ms(empty_for(group))));
    out.set_expires_ms(-1);
    if (group.members.empty() && settings_.group_retention)
        out.set_expires_ms(std::max<std::int64_t>(0, whole_ms(*settings_.group_retention - empty_for(group))));
    return out;
}

void Groups::add_details(proto::GroupInfo& info, const Group& group) const {
    std::map<StreamId, std::string> readers;
    for (const auto& [id, member] : group.members) {
        proto::GroupMember& out = *info.add_member();
        out.set_member(id);
        for (const std::string& topic : member.topics) out.add_topics(topic);
        out.set_session_timeout_ms(static_cast<std::uint32_t>(whole_ms(member.session)));
        for (const StreamId stream : member.granted) readers[stream] = id;
    }
    for (const auto& [stream, position] : group.positions) readers.try_emplace(stream);
    for (const auto& [stream, reader] : readers) {
        const proto::TopicRecord* topic = topics_.find(stream.topic);
        if (topic == nullptr) continue;  // deleted
        proto::GroupPosition& out = *info.add_positions();
        out.set_topic(topic->name());
        out.set_topic_id(stream.topic.value);
        out.set_partition(stream.partition);
        const auto position = group.positions.find(stream);
        out.set_committed(position == group.positions.end() ? kNoPosition : position->second.offset);
        const Stream* log = streams_.find(stream);
        // A member of the view holds what every stream has; of one to which nobody has written yet, that is nothing.
        out.set_high_watermark(log == nullptr ? 0 : log->high_watermark.value);
        out.set_member(reader);
    }
}

void Groups::on_groups(const proto::Groups& request, GroupsReply reply) {
    proto::GroupsResponse out;
    if (request.action() == proto::Groups::LIST) {
        for (const auto& [name, group] : groups_)
            if (!group.ending) *out.add_groups() = describe(name, group);
        return reply(out);
    }
    const auto group = groups_.find(request.group());
    if (group == groups_.end() || group->second.ending)
        return reply(refusal(ErrorCode::kInvalid,
                             fmt::format("there is no group '{}': see logstreamctl groups list", request.group())));
    if (request.action() == proto::Groups::DELETE) return delete_group(request.group(), reply);
    if (request.action() == proto::Groups::RESET) return reset_group(request, reply);
    *out.add_groups() = describe(request.group(), group->second);
    add_details(*out.mutable_groups(0), group->second);
    reply(out);
}

// The group is steered from outside, which its members would not hear of.
std::optional<proto::GroupsResponse> Groups::refusal_to_steer(const std::string& name, std::string_view how) const {
    const std::size_t members = groups_.at(name).members.size();
    if (members == 0) return std::nullopt;
    return refusal(ErrorCode::kExists,
                   fmt::format("group '{}' has members ({}): stop them, or wait until their sessions end, then {} it",
                               name, members, how));
}

void Groups::reset_group(const proto::Groups& request, const GroupsReply& reply) {
    const std::string& name = request.group();
    if (const auto refused = refusal_to_steer(name, "reset")) return reply(*refused);
    std::map<StreamId, GroupPosition> positions;
    for (const proto::PartitionOffset& offset : request.offsets()) {
        const proto::TopicRecord* topic = topics_.find(TopicId{offset.topic_id()});
        if (topic == nullptr || offset.partition() >= topic->settings().partitions() || offset.offset() < 0)
            return reply(refusal(ErrorCode::kInvalid, fmt::format("there is no offset {} in {}/{}", offset.offset(),
                                                                  offset.topic(), offset.partition())));
        positions[{TopicId{offset.topic_id()}, offset.partition()}] = {topic->name(), offset.offset()};
    }
    if (positions.empty()) return reply({});
    env_.log().info("GROUP {}: an operator reset {} partitions", name, positions.size());
    std::vector<GroupEntry> entries;
    for (const auto& [stream, position] : positions) {
        // At once: who joins before it is committed goes on there, too. An append that fails reads all groups anew.
        groups_.at(name).positions[stream] = position;
        entries.push_back(position_entry(name, stream, position));
    }
    append_in_parts(entries, [reply](const Result<Offset>& done) {
        reply(done ? proto::GroupsResponse{} : refusal(done.error().code, done.error().message));
    });
}

void Groups::delete_group(const std::string& name, const GroupsReply& reply) {
    if (const auto refused = refusal_to_steer(name, "delete")) return reply(*refused);
    env_.log().info("GROUP {}: deleted by an operator", name);
    end_group(name, [reply](const Result<Offset>& done) {
        reply(done ? proto::GroupsResponse{} : refusal(done.error().code, done.error().message));
    });
}

}  // namespace logstream::node
