// A consumer's part in a group: what it reads is committed before others read on, and nothing is read twice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "client_world.h"
#include "internal/client/consumer.h"

namespace logstream::client::test {

namespace {

constexpr std::uint64_t kTopicId = 77;  // that FakeCluster gives

// The broker's side of groups, small and strict.
class FakeGroup {
public:
    FakeGroup(FakeCluster& cluster, std::uint32_t partitions) : partitions_(partitions) {
        cluster.other = [this](int, const Message& message) { return on_message(message); };
    }
    std::map<std::uint32_t, std::int64_t> committed;
    std::map<std::string, std::set<std::uint32_t>> held;  // member -> partitions
    std::uint64_t generation{};
    std::optional<ErrorCode> refuses_commits;
    bool silent{};     // nobody hears it, nor does it hear anybody
    bool new_topic{};  // it has read an older topic of that name

private:
    std::optional<protocol::OutMessage> on_message(const Message& message) {
        if (silent) return std::nullopt;
        if (message.type == MessageType::kSubscribe) return on_subscribe(message);
        if (message.type == MessageType::kCommitOffsets) return on_commit(message);
        return std::nullopt;
    }
    std::set<std::uint32_t> share(const std::string& member) const {
        std::set<std::uint32_t> out;
        const auto index = static_cast<std::uint32_t>(std::distance(held.begin(), held.find(member)));
        for (std::uint32_t p = 0; p < partitions_; ++p)
            if (p % held.size() == index) out.insert(p);
        return out;
    }
    protocol::OutMessage on_subscribe(const Message& message) {
        proto::Subscribe request;
        EXPECT_TRUE(message.parse(request));
        proto::SubscribeResponse response;
        if (request.leave()) {
            held.erase(request.member());
            ++generation;
            return protocol::respond(message, response);
        }
        const bool joined = held.try_emplace(request.member()).second;
        if (joined) ++generation;
        std::set<std::uint32_t>& mine = held[request.member()];
        const auto wanted = share(request.member());
        // Confirmed: it has stopped what it is not to have.
        if (request.generation() == generation) std::erase_if(mine, [&](auto p) { return !wanted.contains(p); });
        response.set_generation(generation);
        for (const std::uint32_t p : wanted) {
            const bool elsewhere = std::ranges::any_of(
                held, [&](const auto& other) { return other.first != request.member() && other.second.contains(p); });
            if (elsewhere) continue;
            mine.insert(p);
            auto* assigned = response.add_assigned();
            assigned->set_topic("t");
            assigned->set_topic_id(kTopicId);
            assigned->set_partition(p);
            assigned->set_offset(committed.contains(p) ? committed[p]
                                 : new_topic           ? GroupMember::kNewTopic
                                                       : GroupMember::kNoPosition);
        }
        return protocol::respond(message, response);
    }
    protocol::OutMessage on_commit(const Message& message) {
        proto::CommitOffsets request;
        EXPECT_TRUE(message.parse(request));
        proto::CommitOffsetsResponse response;
        if (refuses_commits) {
            response.mutable_error()->set_code(static_cast<std::uint32_t>(*refuses_commits));
            return protocol::respond(message, response);
        }
        for (const auto& offset : request.offsets()) {
            if (offset.topic_id() != kTopicId || !held[request.member()].contains(offset.partition())) {
                response.mutable_error()->set_code(static_cast<std::uint32_t>(ErrorCode::kRebalance));
            } else {
                EXPECT_GE(offset.offset(), committed[offset.partition()]);
                committed[offset.partition()] = offset.offset();
            }
        }
        return protocol::respond(message, response);
    }
    std::uint32_t partitions_;
};

class ClientGroup : public ::testing::Test {
protected:
    struct Member {
        std::unique_ptr<Router> router;
        std::unique_ptr<Consumer> consumer;
    };
    void open(int brokers, std::uint32_t partitions) {
        cluster = std::make_unique<FakeCluster>(env, brokers, partitions);
        group = std::make_unique<FakeGroup>(*cluster, partitions);
    }
    void fill(int first, int last, std::uint32_t partition = 0) {
        for (int i = first; i <= last; ++i) cluster->append(partition, std::to_string(i));
    }
    void load(int rounds, std::uint32_t partitions) {
        for (int i = 0; i < rounds; ++i) {
            for (std::uint32_t p = 0; p < partitions; ++p) cluster->append(p, std::to_string(i));
            env.run_for(20ms);
        }
    }
    // A consumer that reports what it got as written, a little later, as by a thread.
    Member join(StartAt start = {}) {
        Member member;
        Bootstrap bootstrap;
        bootstrap.brokers = cluster->endpoints();
        member.router = std::make_unique<Router>(env, bootstrap);
        ConsumerOptions options;
        options.topic = "t";
        options.group = "g";
        options.follow = true;
        options.start = start;
        auto self = std::make_shared<Consumer*>();
        member.consumer = std::make_unique<Consumer>(
            *member.router, options,
            [this, self](const ConsumedRecord& record) {
                ++seen[{record.partition, record.offset.value}];
                env.set_timer(3ms, [self, p = record.partition, next = record.offset + 1] {
                    if (*self != nullptr) (*self)->written(p, next);
                });
                return true;
            },
            [](Result<void>) {});
        *self = member.consumer.get();
        member.router->start();
        member.consumer->start();
        return member;
    }
    // A member that has read 50 records of one partition.
    Member join_and_read() {
        open(3, 1);
        Member member = join();
        load(50, 1);
        env.run_for(1s);
        expect_each_once(50);
        return member;
    }
    void expect_each_once(std::size_t records) {
        EXPECT_EQ(seen.size(), records);
        for (const auto& [record, times] : seen) EXPECT_EQ(times, 1) << record.first << "/" << record.second;
    }

    FakeEnv env;
    std::unique_ptr<FakeCluster> cluster;
    std::unique_ptr<FakeGroup> group;
    std::map<std::pair<std::uint32_t, std::int64_t>, int> seen;
};

TEST_F(ClientGroup, CommitsWhatWasWrittenAndResumesThere) {
    open(3, 2);
    fill(0, 49, 0);
    fill(0, 49, 1);
    std::map<std::uint32_t, std::size_t> values;
    std::optional<Result<void>> finished;
    const auto read = [&] {
        values.clear();
        finished.reset();
        Member member;
        Bootstrap bootstrap;
        bootstrap.brokers = cluster->endpoints();
        member.router = std::make_unique<Router>(env, bootstrap);
        ConsumerOptions options;
        options.topic = "t";
        options.group = "g";
        member.consumer = std::make_unique<Consumer>(
            *member.router, options,
            [&](const ConsumedRecord& record) {
                ++values[record.partition];
                return true;
            },
            [&](Result<void> result) { finished = std::move(result); });
        member.router->start();
        member.consumer->start();
        EXPECT_TRUE(env.run_until([&] { return finished.has_value(); }, 20s));
        return member;
    };
    Member first = read();
    EXPECT_EQ(values[0] + values[1], 100U);
    first.consumer->written(0, Offset{50});
    first.consumer->written(1, Offset{20});  // the rest did not reach the reader of our output
    bool left = false;
    first.consumer->stop([&] { left = true; });
    ASSERT_TRUE(env.run_until([&] { return left; }, 5s));
    EXPECT_EQ(group->committed, (std::map<std::uint32_t, std::int64_t>{{0, 50}, {1, 20}}));
    EXPECT_TRUE(group->held.empty());
    const Member second = read();
    EXPECT_EQ(values[0], 0U);
    EXPECT_EQ(values[1], 30U);
}

TEST_F(ClientGroup, TwoMembersShareThePartitionsAndNoRecordIsReadTwice) {
    open(3, 4);
    Member first = join();
    load(50, 4);
    Member second = join();
    load(300, 4);
    ASSERT_EQ(group->held.size(), 2U);
    for (const auto& [name, partitions] : group->held) EXPECT_EQ(partitions.size(), 2U);
    bool left = false;
    first.consumer->stop([&] { left = true; });
    ASSERT_TRUE(env.run_until([&] { return left; }, 5s));
    load(200, 4);
    env.run_for(5s);
    expect_each_once(4U * 550U);
}

TEST_F(ClientGroup, APartitionIsGivenUpOnlyWhenWhatWasReadOfItIsCommitted) {
    open(3, 4);
    Member first = join();
    load(50, 4);
    group->refuses_commits = ErrorCode::kNoQuorum;
    Member second = join();
    load(500, 4);
    ASSERT_EQ(group->held.size(), 2U);
    std::set<std::size_t> sizes;
    for (const auto& [name, partitions] : group->held) sizes.insert(partitions.size());
    EXPECT_EQ(sizes, (std::set<std::size_t>{0, 4})) << "nothing was handed over";
    group->refuses_commits.reset();
    load(200, 4);
    env.run_for(5s);
    for (const auto& [name, partitions] : group->held) EXPECT_EQ(partitions.size(), 2U);
    expect_each_once(4U * 750U);
}

TEST_F(ClientGroup, WhereItBeginsIsCommittedAtOnce) {
    open(3, 1);
    fill(0, 9);
    const Member member = join({StartAt::Kind::kLatest});
    env.run_for(300ms);
    EXPECT_TRUE(seen.empty());
    EXPECT_EQ(group->committed, (std::map<std::uint32_t, std::int64_t>{{0, 10}}));
}

TEST_F(ClientGroup, ATopicThatTookTheNameIsReadFromItsBeginning) {
    open(3, 1);
    fill(0, 9);
    group->new_topic = true;
    const Member member = join({StartAt::Kind::kLatest});
    env.run_for(300ms);
    expect_each_once(10);
}

TEST_F(ClientGroup, WhoTheGroupDoesNotHearReadsNoFurther) {
    const Member member = join_and_read();
    group->silent = true;
    env.run_for(7s);
    load(100, 1);
    expect_each_once(50);
    group->silent = false;
    env.run_for(3s);
    expect_each_once(150);
}

TEST_F(ClientGroup, ReadingGoesOnWhereOthersHaveCome) {
    const Member member = join_and_read();
    group->silent = true;
    env.run_for(7s);
    load(100, 1);
    // Its session ended; another member read, committed and left.
    group->committed[0] = 120;
    group->generation += 2;
    group->silent = false;
    env.run_for(3s);
    expect_each_once(80);
    EXPECT_FALSE(seen.contains({0, 119}));
    EXPECT_TRUE(seen.contains({0, 120}));
    EXPECT_EQ(group->committed[0], 150);
}

TEST_F(ClientGroup, AResetThatCameWhileAMemberWasAwayHolds) {
    const Member member = join_and_read();
    env.run_for(1s);
    ASSERT_EQ(group->committed[0], 50);
    group->silent = true;
    env.run_for(7s);
    // Its session ended, and an operator moved the group back.
    group->committed[0] = 20;
    group->generation += 2;
    group->silent = false;
    env.run_for(3s);
    const auto times = [this](std::int64_t offset) { return seen[{0, offset}]; };
    EXPECT_EQ(times(19), 1);
    EXPECT_EQ(times(20), 2);
    EXPECT_EQ(times(49), 2);
    EXPECT_EQ(group->committed[0], 50);
}

}  // namespace
}  // namespace logstream::client::test
