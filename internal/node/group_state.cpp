#include "internal/node/group_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace logstream::node {

namespace {
// "m:GROUP" and "o:TOPIC-ID/PARTITION:GROUP": a group's name may hold any character, and no two keys are alike.
constexpr std::string_view kMembership = "m:";
constexpr std::string_view kPosition = "o:";

std::uint64_t milliseconds_of(Duration time) {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
}
}  // namespace

std::map<StreamId, std::string> assign_partitions(const Group& group, const Topics& topics) {
    std::map<StreamId, std::string> out;
    std::set<std::string> names;
    for (const auto& [id, member] : group.members) names.insert(member.topics.begin(), member.topics.end());
    std::map<std::string, std::size_t> load;
    for (const std::string& name : names) {
        const proto::TopicRecord* known = topics.find(name);
        if (known == nullptr) continue;
        std::vector<std::string> readers;
        for (const auto& [id, member] : group.members)
            if (member.topics.contains(name)) readers.push_back(id);
        const std::uint32_t partitions = known->settings().partitions();
        const std::size_t share = (partitions + readers.size() - 1) / readers.size();
        std::map<std::string, std::size_t> taken;
        std::vector<StreamId> free;
        for (std::uint32_t p = 0; p < partitions; ++p) {
            const StreamId stream{TopicId{known->topic()}, p};
            const auto holder = std::ranges::find_if(readers, [&](const std::string& id) {
                return group.members.at(id).held.contains(stream) && taken[id] < share;
            });
            if (holder == readers.end()) {
                free.push_back(stream);
                continue;
            }
            out[stream] = *holder;
            ++taken[*holder];
            ++load[*holder];
        }
        for (const StreamId stream : free) {
            const auto least = std::ranges::min_element(
                readers, {}, [&](const std::string& id) { return std::pair(taken[id], load[id]); });
            out[stream] = *least;
            ++taken[*least];
            ++load[*least];
        }
    }
    return out;
}

std::string encode(const GroupKey& key) {
    if (!key.stream) return fmt::format("{}{}", kMembership, key.group);
    return fmt::format("{}{:016x}/{}:{}", kPosition, key.stream->topic.value, key.stream->partition, key.group);
}

std::optional<GroupKey> decode_group_key(std::string_view text) {
    if (text.starts_with(kMembership)) return GroupKey{std::string(text.substr(kMembership.size())), std::nullopt};
    if (!text.starts_with(kPosition)) return std::nullopt;
    const char* const end = text.data() + text.size();
    StreamId stream;
    const auto topic = std::from_chars(text.data() + kPosition.size(), end, stream.topic.value, 16);
    if (topic.ec != std::errc{} || topic.ptr == end || *topic.ptr != '/') return std::nullopt;
    const auto partition = std::from_chars(topic.ptr + 1, end, stream.partition);
    if (partition.ec != std::errc{} || partition.ptr == end || *partition.ptr != ':') return std::nullopt;
    return GroupKey{std::string(partition.ptr + 1, end), stream};
}

GroupEntry position_entry(const std::string& group, StreamId stream, const GroupPosition& position) {
    proto::GroupRecord record;
    record.set_group(group);
    record.set_topic(position.topic);
    record.set_topic_id(stream.topic.value);
    record.set_partition(stream.partition);
    record.set_offset(position.offset);
    return {{group, stream}, std::move(record)};
}

GroupEntry membership_entry(const std::string& name, const Group& group, Duration empty) {
    proto::GroupRecord record;
    record.set_group(name);
    record.set_generation(group.generation);
    record.set_empty_ms(milliseconds_of(empty));
    for (const auto& [id, member] : group.members) {
        proto::GroupMember& out = *record.add_members();
        out.set_member(id);
        for (const std::string& topic : member.topics) out.add_topics(topic);
        out.set_session_timeout_ms(static_cast<std::uint32_t>(milliseconds_of(member.session)));
        for (const StreamId held : member.held) {
            out.add_held()->set_topic_id(held.topic.value);
            out.mutable_held()->rbegin()->set_partition(held.partition);
        }
    }
    return {{name, std::nullopt}, std::move(record)};
}

Result<protocol::Bytes> encode(std::span<const GroupEntry> entries, std::int64_t timestamp_ms) {
    protocol::BatchBuilder builder({});
    for (const GroupEntry& entry : entries) {
        const std::string key = encode(entry.key);
        const std::string value = entry.value ? entry.value->SerializeAsString() : std::string();
        builder.add(timestamp_ms, std::string_view(key),
                    entry.value ? std::optional(std::string_view(value)) : std::nullopt, {});
    }
    return builder.finish();
}

}  // namespace logstream::node
