#include "internal/node/groups.h"

#include <algorithm>

#include "internal/protocol/planted.h"

namespace logstream::node {

namespace {
constexpr std::size_t kMaxMembers = 1000;
constexpr std::size_t kMaxNameBytes = 1000;
constexpr std::size_t kMaxTopics = 1000;  // of a member
constexpr Duration kMinSession = std::chrono::seconds(1);
constexpr Duration kMaxSession = std::chrono::minutes(5);
// Longer than between two ticks: what members said meanwhile may not have been heard.
constexpr Duration kDeaf = std::chrono::milliseconds(500);
constexpr Duration kTendEvery = std::chrono::seconds(1);
constexpr Duration kTidyEvery = std::chrono::seconds(30);

template <class Response>
Response refusal(ErrorCode code, std::string text) {
    Response out;
    *out.mutable_error() = to_proto(Error{code, std::move(text)});
    return out;
}

Error being_read() { return {ErrorCode::kBusy, "the groups are being read; retry"}; }
}  // namespace

Groups::Groups(env::Env& env, const Settings& settings, Streams& streams, Topics& topics, Append append)
    : env_(env),
      settings_(settings),
      streams_(streams),
      topics_(topics),
      append_(std::move(append)),
      reader_(env, streams, protocol::kGroupsStream, [this](const protocol::Record& record) { apply(record); }) {}

void Groups::reset() {
    groups_.clear();
    reader_.reset();
}

void Groups::take_over() {
    if (protocol::planted(protocol::Bug::kMemberExpires)) return;
    for (auto& [name, group] : groups_)
        for (auto& [id, member] : group.members) member.deadline = env_.now() + member.session;
}

std::size_t Groups::active_groups() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(groups_, [](const auto& entry) { return !entry.second.members.empty(); }));
}

std::size_t Groups::members() const {
    std::size_t count = 0;
    for (const auto& [name, group] : groups_) count += group.members.size();
    return count;
}

Group& Groups::group_named(const std::string& name) {
    const auto [found, made] = groups_.try_emplace(name);
    if (made) found->second.empty_since = env_.now();
    return found->second;
}

void Groups::apply(const protocol::Record& record) {
    const auto key = decode_group_key(record.key.value_or(""));
    if (!key) return;
    if (!record.value) return forget(*key);
    proto::GroupRecord in;
    if (!in.ParseFromArray(record.value->data(), static_cast<int>(record.value->size()))) return;
    if (key->stream)
        group_named(key->group).positions[*key->stream] = {in.topic(), in.offset()};
    else
        apply_membership(in);
}

void Groups::forget(const GroupKey& key) {
    const auto found = groups_.find(key.group);
    if (found == groups_.end()) return;
    if (!key.stream)
        groups_.erase(found);
    else
        found->second.positions.erase(*key.stream);
}

void Groups::apply_membership(const proto::GroupRecord& in) {
    Group& group = group_named(in.group());
    group.committed_generation = std::max(group.committed_generation, in.generation());
    if (in.generation() < group.generation) return;  // our own later decisions are ahead of what is committed
    if (in.generation() > group.generation) {
        group.members.clear();
        for (const proto::GroupMember& told : in.members()) {
            GroupMember& member = group.members[told.member()];
            member.topics = {told.topics().begin(), told.topics().end()};
            member.session = std::chrono::milliseconds(told.session_timeout_ms());
            if (!protocol::planted(protocol::Bug::kMemberExpires)) member.deadline = env_.now() + member.session;
            for (const proto::PartitionOffset& held : told.held())
                member.held.insert({TopicId{held.topic_id()}, held.partition()});
            member.granted = member.held;
        }
        group.empty_since = env_.now();
    }
    group.generation = in.generation();
    group.empty_written = std::chrono::milliseconds(in.empty_ms());
    group.empty_since = std::min(group.empty_since, env_.now() - group.empty_written);
}

// What the member may read from now on: its targets that nobody else holds.
void Groups::grant(Group& group, const std::string& id) {
    GroupMember& member = group.members.at(id);
    member.granted.clear();
    for (const auto& [stream, target] : assign_partitions(group, topics_)) {
        if (target != id) continue;
        const bool held_elsewhere = std::ranges::any_of(
            group.members, [&](const auto& other) { return other.first != id && other.second.held.contains(stream); });
        if (!held_elsewhere || protocol::planted(protocol::Bug::kGrantedWhileHeld)) member.granted.insert(stream);
    }
    member.held.insert(member.granted.begin(), member.granted.end());
}

std::int64_t Groups::start_of(const Group& group, StreamId stream, const std::string& topic) const {
    if (const auto found = group.positions.find(stream); found != group.positions.end())
        return found->second.offset + (protocol::planted(protocol::Bug::kHandoverSkips) ? 1 : 0);
    const bool knows_the_name = std::ranges::any_of(group.positions, [&](const auto& position) {
        return position.second.topic == topic && position.first.topic != stream.topic;
    });
    return knows_the_name ? kNewTopic : kNoPosition;
}

// Tells a member what it may read, once that is committed: another owner would not know of it otherwise.
void Groups::answer(const std::string& name, const std::string& id, const SubscribeReply& reply) const {
    const auto group = groups_.find(name);
    if (group == groups_.end() || !group->second.members.contains(id))
        return reply(refusal<proto::SubscribeResponse>(being_read().code, being_read().message));
    if (group->second.committed_generation < group->second.generation)
        return reply(refusal<proto::SubscribeResponse>(ErrorCode::kBusy, "the group is changing; retry"));
    proto::SubscribeResponse out;
    out.set_generation(group->second.generation);
    Duration longest{};
    for (const auto& [member, state] : group->second.members) longest = std::max(longest, state.session);
    out.set_longest_session_ms(
        static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(longest).count()));
    for (const StreamId stream : group->second.members.at(id).granted) {
        const proto::TopicRecord* topic = topics_.find(stream.topic);
        if (topic == nullptr) continue;  // deleted since
        proto::PartitionOffset& assigned = *out.add_assigned();
        assigned.set_topic(topic->name());
        assigned.set_topic_id(stream.topic.value);
        assigned.set_partition(stream.partition);
        assigned.set_offset(start_of(group->second, stream, topic->name()));
    }
    reply(out);
}

std::optional<Error> Groups::refusal_to_join(const proto::Subscribe& request) const {
    const auto good_name = [](const std::string& name) { return !name.empty() && name.size() <= kMaxNameBytes; };
    if (!good_name(request.group()) || !good_name(request.member()))
        return Error{ErrorCode::kInvalid, "expected a group name and a member name of 1 to 1000 bytes each"};
    if (static_cast<std::size_t>(request.topics_size()) > kMaxTopics ||
        !std::ranges::all_of(request.topics(),
                             [](const std::string& name) { return check_topic_name(name).has_value(); }))
        return Error{ErrorCode::kInvalid, "a member subscribes to at most 1000 topics, by their names"};
    const auto group = groups_.find(request.group());
    if (group != groups_.end() && group->second.ending) return Error{ErrorCode::kBusy, "the group is ending; retry"};
    const bool empty = group == groups_.end() || group->second.members.empty();
    if (group == groups_.end() && groups_.size() >= settings_.max_groups + kMaxEmptyGroups)
        return Error{ErrorCode::kBusy,
                     fmt::format("{} groups are stored, most of them without members: see logstreamctl groups "
                                 "delete, and groups.retention",
                                 groups_.size())};
    if (empty && active_groups() >= settings_.max_groups)
        return Error{ErrorCode::kBusy,
                     fmt::format("{} groups already have members; see limits.groups", settings_.max_groups)};
    if (!empty && group->second.members.size() >= kMaxMembers && !group->second.members.contains(request.member()))
        return Error{ErrorCode::kBusy, fmt::format("group {} already has {} members", request.group(), kMaxMembers)};
    return std::nullopt;
}

void Groups::leave(const std::string& name, const std::string& member, SubscribeReply reply) {
    const auto group = groups_.find(name);
    if (group == groups_.end() || group->second.members.erase(member) == 0) return reply(proto::SubscribeResponse{});
    if (group->second.members.empty()) group->second.empty_since = env_.now();
    ++group->second.generation;
    save_membership(name, group->second, [reply](const Result<Offset>& saved) {
        reply(saved ? proto::SubscribeResponse{}
                    : refusal<proto::SubscribeResponse>(saved.error().code, saved.error().message));
    });
}

void Groups::on_subscribe(const proto::Subscribe& request, SubscribeReply reply) {
    if (request.leave()) return leave(request.group(), request.member(), std::move(reply));
    if (const auto refused = refusal_to_join(request))
        return reply(refusal<proto::SubscribeResponse>(refused->code, refused->message));
    Group& group = group_named(request.group());
    const bool fresh = !group.members.contains(request.member());
    GroupMember& member = group.members[request.member()];
    std::set<std::string> topics(request.topics().begin(), request.topics().end());
    member.session =
        std::clamp<Duration>(std::chrono::milliseconds(request.session_timeout_ms()), kMinSession, kMaxSession);
    member.deadline = env_.now() + member.session;
    bool changed = fresh || member.topics != topics;
    member.topics = std::move(topics);
    if (!fresh && request.generation() == group.generation && member.held != member.granted) {
        // It works under the current generation, so it has stopped reading what it was not granted.
        member.held = member.granted;
        changed = true;
    }
    // A restarted reader of the same name holds nothing.
    if (!fresh && request.generation() == 0) member.held.clear();
    const std::set<StreamId> before = member.granted;
    grant(group, request.member());
    if (!changed && member.granted == before) return answer(request.group(), request.member(), reply);
    ++group.generation;
    save_membership(request.group(), group,
                    [this, name = request.group(), id = request.member(), reply](const Result<Offset>& saved) {
                        if (saved) return answer(name, id, reply);
                        reply(refusal<proto::SubscribeResponse>(saved.error().code, saved.error().message));
                    });
}

void Groups::on_commit(const proto::CommitOffsets& request, CommitReply reply) {
    const auto refuse = [&reply](ErrorCode code, std::string text) {
        reply(refusal<proto::CommitOffsetsResponse>(code, std::move(text)));
    };
    const auto group = groups_.find(request.group());
    if (group == groups_.end() || !group->second.members.contains(request.member()))
        return refuse(ErrorCode::kRebalance, "this member is not in the group any more: subscribe again");
    GroupMember& member = group->second.members.at(request.member());
    member.deadline = env_.now() + member.session;
    std::vector<GroupEntry> entries;
    for (const proto::PartitionOffset& offset : request.offsets()) {
        const StreamId stream{TopicId{offset.topic_id()}, offset.partition()};
        if (!member.held.contains(stream))
            return refuse(ErrorCode::kRebalance,
                          fmt::format("{}/{} is now assigned to another member, or its topic was deleted",
                                      offset.topic(), offset.partition()));
        if (offset.offset() < 0) return refuse(ErrorCode::kInvalid, "a negative offset");
        const proto::TopicRecord* topic = topics_.find(stream.topic);
        const std::string& name = topic == nullptr ? offset.topic() : topic->name();
        entries.push_back(position_entry(request.group(), stream, {name, offset.offset()}));
    }
    if (entries.empty()) return reply({});
    append(entries, [this, reply, entries](const Result<Offset>& done) {
        if (!done) return reply(refusal<proto::CommitOffsetsResponse>(done.error().code, done.error().message));
        for (const GroupEntry& entry : entries)
            if (const auto found = groups_.find(entry.key.group); found != groups_.end())
                found->second.positions[*entry.key.stream] = {entry.value->topic(), entry.value->offset()};
        reply({});
    });
}

void Groups::tick() {
    const protocol::TimePoint now = env_.now();
    if (now - last_tick_ > kDeaf) take_over();
    last_tick_ = now;
    end_sessions(now);
    if (now >= next_tending_) {
        next_tending_ = now + kTendEvery;
        tend_empty_groups();
    }
    if (now >= next_tidying_) {
        next_tidying_ = now + kTidyEvery;
        drop_dead_positions();
    }
}

void Groups::end_sessions(protocol::TimePoint now) {
    const auto is_over = [now](const auto& member) { return member.second.deadline < now; };
    std::vector<std::string> names;
    for (const auto& [name, group] : groups_)
        if (std::ranges::any_of(group.members, is_over)) names.push_back(name);
    for (const std::string& name : names) {
        // An append that is refused at once drops all that is in memory.
        const auto found = groups_.find(name);
        if (found == groups_.end()) return;
        Group& group = found->second;
        const std::size_t ended = std::erase_if(group.members, is_over);
        env_.log().info("GROUP {} lost {} members, has {}", name, ended, group.members.size());
        if (group.members.empty()) group.empty_since = now;
        ++group.generation;
        save_membership(name, group, [](const Result<Offset>&) {});
    }
}

void Groups::save_membership(const std::string& name, const Group& group, AppendHandler done) {
    const GroupEntry entry = membership_entry(name, group, empty_for(group));
    append(std::span(&entry, 1), [this, name, generation = group.generation, done](const Result<Offset>& appended) {
        if (const auto found = groups_.find(name); appended && found != groups_.end())
            found->second.committed_generation = std::max(found->second.committed_generation, generation);
        done(appended);
    });
}

void Groups::append(std::span<const GroupEntry> entries, AppendHandler done) {
    const auto finish = [this, done](const Result<Offset>& appended) {
        // What was decided here and is not in the log must not stand in memory either.
        if (!appended) reset();
        done(appended);
    };
    auto batch = encode(entries, env_.wall_clock_ms());
    if (!batch) return finish(std::unexpected(batch.error()));
    append_(*batch, finish);
}

}  // namespace logstream::node
