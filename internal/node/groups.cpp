#include "internal/node/groups.h"

#include <algorithm>

namespace logstream::node {

namespace {
constexpr std::size_t kMaxMembers = 1000;
constexpr std::size_t kMaxNameBytes = 1000;
constexpr Duration kMinSession = std::chrono::seconds(1);
constexpr Duration kMaxSession = std::chrono::minutes(5);

std::string key_of(const proto::GroupRecord& record) {
    if (record.topic().empty()) return record.group();
    return fmt::format("{}\n{}\n{}", record.group(), record.topic(), record.partition());
}

proto::SubscribeResponse refusal(ErrorCode code, std::string text) {
    proto::SubscribeResponse out;
    *out.mutable_error() = to_proto(Error{code, std::move(text)});
    return out;
}
}  // namespace

Groups::Groups(env::Env& env, const Settings& settings, Streams& streams, const Topics& topics, Append append)
    : env_(env),
      settings_(settings),
      topics_(topics),
      append_(std::move(append)),
      reader_(env, streams, protocol::kGroupsStream, [this](const protocol::Record& record) { apply(record); }) {}

void Groups::reset() {
    groups_.clear();
    reader_.reset();
}

void Groups::take_over() {
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

void Groups::apply(const protocol::Record& record) {
    proto::GroupRecord in;
    if (!record.value || !in.ParseFromArray(record.value->data(), static_cast<int>(record.value->size()))) return;
    Group& group = groups_[in.group()];
    if (!in.topic().empty()) {
        group.offsets[{in.topic(), in.partition()}] = in.offset();
        return;
    }
    if (in.generation() < group.generation) return;  // our own later decisions are ahead of what is committed
    std::map<std::string, Member> members;
    for (const proto::GroupMember& told : in.members()) {
        Member member;
        if (const auto known = group.members.find(told.member()); known != group.members.end()) member = known->second;
        member.topics = {told.topics().begin(), told.topics().end()};
        member.session = std::chrono::milliseconds(told.session_timeout_ms());
        if (in.generation() > group.generation) {
            member.held.clear();
            for (const proto::PartitionOffset& held : told.held()) member.held.insert({held.topic(), held.partition()});
            member.granted = member.held;
        }
        members[told.member()] = std::move(member);
    }
    if (in.generation() > group.generation) group.members = std::move(members);
    group.generation = in.generation();
}

// Who shall read what: partitions stay with who holds them as far as shares stay even, the rest goes to who has least.
std::map<TopicPartition, std::string> Groups::targets(const Group& group) const {
    std::map<TopicPartition, std::string> out;
    std::set<std::string> topics;
    for (const auto& [id, member] : group.members) topics.insert(member.topics.begin(), member.topics.end());
    std::map<std::string, std::size_t> load;
    for (const std::string& topic : topics) {
        const proto::TopicRecord* known = topics_.find(topic);
        if (known == nullptr) continue;
        std::vector<std::string> readers;
        for (const auto& [id, member] : group.members)
            if (member.topics.contains(topic)) readers.push_back(id);
        const std::uint32_t partitions = known->settings().partitions();
        const std::size_t share = (partitions + readers.size() - 1) / readers.size();
        std::map<std::string, std::size_t> taken;
        std::vector<TopicPartition> free;
        for (std::uint32_t p = 0; p < partitions; ++p) {
            const TopicPartition partition{topic, p};
            const auto holder = std::ranges::find_if(readers, [&](const std::string& id) {
                return group.members.at(id).held.contains(partition) && taken[id] < share;
            });
            if (holder == readers.end()) {
                free.push_back(partition);
                continue;
            }
            out[partition] = *holder;
            ++taken[*holder];
            ++load[*holder];
        }
        for (const TopicPartition& partition : free) {
            const auto least = std::ranges::min_element(
                readers, {}, [&](const std::string& id) { return std::pair(taken[id], load[id]); });
            out[partition] = *least;
            ++taken[*least];
            ++load[*least];
        }
    }
    return out;
}

// What the member may read from now on: its targets that nobody else holds.
void Groups::grant(Group& group, const std::string& id) {
    Member& member = group.members.at(id);
    member.granted.clear();
    for (const auto& [partition, target] : targets(group)) {
        if (target != id) continue;
        const bool held_elsewhere = std::ranges::any_of(group.members, [&](const auto& other) {
            return other.first != id && other.second.held.contains(partition);
        });
        if (!held_elsewhere) member.granted.insert(partition);
    }
    member.held.insert(member.granted.begin(), member.granted.end());
}

proto::SubscribeResponse Groups::answer(const Group& group, const std::string& id) const {
    proto::SubscribeResponse out;
    out.set_generation(group.generation);
    for (const TopicPartition& partition : group.members.at(id).granted) {
        proto::PartitionOffset& assigned = *out.add_assigned();
        assigned.set_topic(partition.topic);
        assigned.set_partition(partition.partition);
        const auto committed = group.offsets.find(partition);
        assigned.set_offset(committed == group.offsets.end() ? -1 : committed->second);
    }
    return out;
}

void Groups::on_subscribe(const proto::Subscribe& request, SubscribeReply reply) {
    if (request.group().empty() || request.group().size() > kMaxNameBytes || request.member().empty() ||
        request.member().size() > kMaxNameBytes)
        return reply(refusal(ErrorCode::kInvalid, "a group and a member name of 1 to 1000 bytes are needed"));
    if (!groups_.contains(request.group()) && groups_.size() >= settings_.max_groups)
        return reply(
            refusal(ErrorCode::kBusy, fmt::format("there are {} groups already; see limits.groups", groups_.size())));
    Group& group = groups_[request.group()];
    const auto respond = [this, name = request.group(), id = request.member(), reply](const Result<Offset>& saved) {
        if (!saved) return reply(refusal(saved.error().code, saved.error().message));
        const auto found = groups_.find(name);
        if (found == groups_.end() || !found->second.members.contains(id)) return reply(proto::SubscribeResponse{});
        reply(answer(found->second, id));
    };
    if (request.leave()) {
        if (group.members.erase(request.member()) == 0) return reply(proto::SubscribeResponse{});
        ++group.generation;
        return save_membership(request.group(), group, respond);
    }
    if (group.members.size() >= kMaxMembers && !group.members.contains(request.member()))
        return reply(
            refusal(ErrorCode::kBusy, fmt::format("group {} has {} members already", request.group(), kMaxMembers)));

    const bool fresh = !group.members.contains(request.member());
    Member& member = group.members[request.member()];
    const std::set<std::string> topics(request.topics().begin(), request.topics().end());
    member.session =
        std::clamp<Duration>(std::chrono::milliseconds(request.session_timeout_ms()), kMinSession, kMaxSession);
    member.deadline = env_.now() + member.session;
    bool changed = fresh || member.topics != topics;
    member.topics = topics;
    if (!fresh && request.generation() == group.generation && member.held != member.granted) {
        // It works under the current generation, so it has stopped reading what it was not granted.
        member.held = member.granted;
        changed = true;
    }
    // A restarted reader of the same name holds nothing.
    if (!fresh && request.generation() == 0) member.held.clear();
    const std::set<TopicPartition> before = member.granted;
    grant(group, request.member());
    if (!changed && member.granted == before && request.generation() == group.generation) return respond(Offset{});
    if (changed || member.granted != before) {
        ++group.generation;
        return save_membership(request.group(), group, respond);
    }
    respond(Offset{});
}

void Groups::on_commit(const proto::CommitOffsets& request, CommitReply reply) {
    const auto answer = [reply](ErrorCode code, std::string text) {
        proto::CommitOffsetsResponse out;
        if (code != ErrorCode::kNone) *out.mutable_error() = to_proto(Error{code, std::move(text)});
        reply(out);
    };
    const auto group = groups_.find(request.group());
    const auto member = group == groups_.end() ? std::map<std::string, Member>::iterator{}
                                               : group->second.members.find(request.member());
    if (group == groups_.end() || member == group->second.members.end())
        return answer(ErrorCode::kRebalance, "this member is not in the group any more: subscribe again");
    std::vector<proto::GroupRecord> records;
    for (const proto::PartitionOffset& offset : request.offsets()) {
        if (!member->second.held.contains({offset.topic(), offset.partition()}))
            return answer(ErrorCode::kRebalance,
                          fmt::format("{}/{} has another reader now", offset.topic(), offset.partition()));
        proto::GroupRecord record;
        record.set_group(request.group());
        record.set_topic(offset.topic());
        record.set_partition(offset.partition());
        record.set_offset(offset.offset());
        records.push_back(std::move(record));
    }
    if (records.empty()) return answer(ErrorCode::kNone, "");
    append(records, [this, answer, name = request.group(), records](const Result<Offset>& done) {
        if (!done) return answer(done.error().code, done.error().message);
        for (const proto::GroupRecord& record : records)
            groups_[name].offsets[{record.topic(), record.partition()}] = record.offset();
        answer(ErrorCode::kNone, "");
    });
}

void Groups::tick() {
    const protocol::TimePoint now = env_.now();
    std::vector<std::string> names;
    for (const auto& [name, group] : groups_) names.push_back(name);
    for (const std::string& name : names) {
        // An append that is refused at once drops all that is in memory.
        const auto found = groups_.find(name);
        if (found == groups_.end()) return;
        Group& group = found->second;
        const std::size_t ended =
            std::erase_if(group.members, [&](const auto& entry) { return entry.second.deadline < now; });
        if (ended == 0) continue;
        env_.log().info("GROUP {} lost {} members, has {}", name, ended, group.members.size());
        ++group.generation;
        save_membership(name, group, [](const Result<Offset>&) {});
    }
}

void Groups::save_membership(const std::string& name, const Group& group, AppendHandler done) {
    proto::GroupRecord record;
    record.set_group(name);
    record.set_generation(group.generation);
    for (const auto& [id, member] : group.members) {
        proto::GroupMember& out = *record.add_members();
        out.set_member(id);
        for (const std::string& topic : member.topics) out.add_topics(topic);
        out.set_session_timeout_ms(
            static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(member.session).count()));
        for (const TopicPartition& held : member.held) {
            out.add_held()->set_topic(held.topic);
            out.mutable_held()->rbegin()->set_partition(held.partition);
        }
    }
    append({std::move(record)}, std::move(done));
}

void Groups::append(std::vector<proto::GroupRecord> records, AppendHandler done) {
    protocol::BatchBuilder builder({});
    for (const proto::GroupRecord& record : records) {
        const std::string key = key_of(record);
        const std::string value = record.SerializeAsString();
        builder.add(env_.wall_clock_ms(), std::string_view(key), std::string_view(value), {});
    }
    auto batch = builder.finish();
    if (!batch) return done(std::unexpected(batch.error()));
    append_(*batch, [this, done](const Result<Offset>& appended) {
        // What was decided here and is not in the log must not stand in memory either.
        if (!appended) reset();
        done(appended);
    });
}

}  // namespace logstream::node
