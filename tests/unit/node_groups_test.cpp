// Consumer groups at their owner: who is a member, who reads what, how far, and when all that ends. (That members read
// nothing twice and leave nothing out, with faults and the real clients, is the simulator's to check.)
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/sim/cluster.h"

namespace logstream::sim {
namespace {

using namespace std::chrono_literals;
using node::Groups;
using protocol::ErrorCode;
using protocol::kGroupsStream;
using protocol::TopicId;
using storage::FakeDisk;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class NodeGroups : public testing::Test {
protected:
    void start(std::size_t machines, const std::function<void(node::Settings&)>& set = [](auto&) {}) {
        cluster = std::make_unique<Cluster>(1, machines);
        for (std::size_t i = 0; i < machines; ++i) set((*cluster)[i].options().settings);
        cluster->start_all();
        ASSERT_TRUE(cluster->wait_for_one_view());
        topic = cluster->make_topic("t").topic;
    }
    Groups& groups() {
        Machine* owner = nullptr;
        LS_ASSERT(cluster->world().run_until(
            [&] {
                owner = cluster->owner(kGroupsStream);
                return owner != nullptr && !owner->node().refusal() && owner->node().groups().ready();
            },
            10s));
        return owner->node().groups();
    }
    void run(Duration time) { cluster->world().run_for(time); }

    // What the owner answers; without an answer in time, an empty one.
    template <class Response, class Request, class Handle>
    Response ask(const Request& request, Handle handle, Duration limit = 5s) {
        auto answer = std::make_shared<std::optional<Response>>();
        (groups().*handle)(request, [answer](const Response& response) { *answer = response; });
        cluster->world().run_until([&] { return answer->has_value(); }, limit);
        return answer->value_or(Response{});
    }
    static proto::Subscribe subscription(const std::string& member, std::uint64_t generation, Duration session) {
        proto::Subscribe request;
        request.set_group("g");
        request.set_member(member);
        request.add_topics("t");
        request.set_generation(generation);
        request.set_session_timeout_ms(static_cast<std::uint32_t>(session / 1ms));
        return request;
    }
    proto::SubscribeResponse subscribe(const std::string& member, std::uint64_t generation = 0, Duration session = 6s) {
        return ask<proto::SubscribeResponse>(subscription(member, generation, session), &Groups::on_subscribe);
    }
    proto::SubscribeResponse join(const std::string& group, const std::string& member) {
        proto::Subscribe request = subscription(member, 0, 6s);
        request.set_group(group);
        return ask<proto::SubscribeResponse>(request, &Groups::on_subscribe);
    }
    void leave(const std::string& member, const std::string& group = "g") {
        proto::Subscribe request = subscription(member, 0, 6s);
        request.set_group(group);
        request.set_leave(true);
        EXPECT_EQ(ask<proto::SubscribeResponse>(request, &Groups::on_subscribe).error().message(), "");
    }
    proto::Failure commit(const std::string& member, TopicId of, std::int64_t offset, std::uint32_t partition = 0) {
        proto::CommitOffsets request;
        request.set_group("g");
        request.set_member(member);
        proto::PartitionOffset& part = *request.add_offsets();
        part.set_topic("t");
        part.set_topic_id(of.value);
        part.set_partition(partition);
        part.set_offset(offset);
        return ask<proto::CommitOffsetsResponse>(request, &Groups::on_commit).error();
    }
    proto::GroupsResponse admin(proto::Groups::Action action, const std::string& group = "",
                                std::optional<std::int64_t> offset = {}, std::uint32_t partition = 0) {
        proto::Groups request;
        request.set_action(action);
        request.set_group(group);
        if (offset) {
            proto::PartitionOffset& position = *request.add_offsets();
            position.set_topic_id(topic.value);
            position.set_partition(partition);
            position.set_offset(*offset);
        }
        return ask<proto::GroupsResponse>(request, &Groups::on_groups);
    }
    std::vector<std::string> listed() {
        std::vector<std::string> out;
        const proto::GroupsResponse response = admin(proto::Groups::LIST);
        for (const proto::GroupInfo& group : response.groups()) out.push_back(group.group());
        return out;
    }
    // The topic's name goes to a new topic.
    TopicId make_anew() {
        cluster->delete_topic("t");
        return cluster->make_topic("t").topic;
    }

    std::unique_ptr<Cluster> cluster;
    TopicId topic;
};

std::vector<std::uint32_t> partitions_of(const proto::SubscribeResponse& response) {
    std::vector<std::uint32_t> out;
    for (const proto::PartitionOffset& part : response.assigned()) out.push_back(part.partition());
    return out;
}

TEST_F(NodeGroups, MembersHaveAWholeSessionWhenTheGroupIsReadAgain) {
    start(1);
    const auto joined = subscribe("a", 0, 30s);
    ASSERT_EQ(joined.assigned_size(), 1);
    groups().reset();  // as when a change could not be committed
    run(20s);
    EXPECT_EQ(groups().members(), 1u);
    run(15s);
    EXPECT_EQ(groups().members(), 0u) << "it was silent for longer than its session";
}

TEST_F(NodeGroups, MembersOutliveAViewChangeThatCutsACommitShort) {
    start(3);
    const auto joined = subscribe("a", 0, 30s);
    Machine* owner = cluster->owner(kGroupsStream);
    proto::CommitOffsets request;
    request.set_group("g");
    request.set_member("a");
    *request.add_offsets() = joined.assigned(0);
    request.mutable_offsets(0)->set_offset(1);
    std::optional<proto::CommitOffsetsResponse> answer;
    owner->node().groups().on_commit(request, [&](const auto& response) { answer = response; });
    for (Machine* machine : cluster->running())
        if (machine != owner) {
            machine->crash(FakeDisk::Crash::kProcess);
            break;
        }
    ASSERT_TRUE(cluster->wait_for_one_view());
    run(5s);
    ASSERT_TRUE(answer);
    EXPECT_EQ(groups().members(), 1u);
    EXPECT_EQ(subscribe("a", joined.generation(), 30s).generation(), joined.generation());
}

TEST_F(NodeGroups, AnOwnerThatStoodStillEndsNoSessions) {
    start(1);
    subscribe("a", 0, 5s);
    (*cluster)[0].pause(20s, Machine::Clock::kGoesOn);
    run(21s);
    EXPECT_EQ(groups().members(), 1u);
    run(6s);
    EXPECT_EQ(groups().members(), 0u);
}

TEST_F(NodeGroups, ACommitIsASignOfLife) {
    start(1);
    const auto joined = subscribe("a", 0, 5s);
    for (int i = 0; i < 4; ++i) {
        run(3s);
        EXPECT_EQ(commit("a", topic, i).code(), 0u);
    }
    EXPECT_EQ(groups().members(), 1u);
}

TEST_F(NodeGroups, NobodyIsToldWhatIsNotCommitted) {
    start(3);
    const auto a = subscribe("a", 0, 30s);
    Machine* owner = cluster->owner(kGroupsStream);
    cluster->isolate(owner->index());
    Groups& at_owner = owner->node().groups();
    std::optional<proto::SubscribeResponse> second;
    std::optional<proto::SubscribeResponse> again;
    at_owner.on_subscribe(subscription("b", 0, 30s), [&](const auto& response) { second = response; });
    at_owner.on_subscribe(subscription("a", a.generation(), 30s), [&](const auto& response) { again = response; });
    EXPECT_FALSE(second);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->error().code(), static_cast<std::uint32_t>(ErrorCode::kBusy));
}

TEST_F(NodeGroups, APartitionIsGivenOnWhenItsReaderHasStopped) {
    start(1, [](node::Settings& settings) { settings.topic_defaults.set_partitions(2); });
    const auto a = subscribe("a");
    ASSERT_THAT(partitions_of(a), ElementsAre(0u, 1u));
    EXPECT_EQ(subscribe("a", a.generation()).generation(), a.generation());
    const auto b = subscribe("b");
    EXPECT_THAT(partitions_of(b), IsEmpty());
    const auto told = subscribe("a", a.generation());
    EXPECT_EQ(partitions_of(told).size(), 1u);
    EXPECT_THAT(partitions_of(subscribe("b", b.generation())), IsEmpty()) << "a has not said that it stopped";
    subscribe("a", told.generation());
    EXPECT_EQ(partitions_of(subscribe("b", told.generation())).size(), 1u);
}

TEST_F(NodeGroups, PositionsAreOfATopicAndNotOfItsName) {
    start(1);
    subscribe("a");
    ASSERT_EQ(commit("a", topic, 10).code(), 0u);
    const TopicId anew = make_anew();
    const auto told = subscribe("a", 1);
    ASSERT_EQ(told.assigned_size(), 1);
    EXPECT_EQ(told.assigned(0).topic_id(), anew.value);
    EXPECT_EQ(told.assigned(0).offset(), Groups::kNewTopic);
    subscribe("a", told.generation());
    EXPECT_EQ(commit("a", topic, 11).code(), static_cast<std::uint32_t>(ErrorCode::kRebalance));
    EXPECT_EQ(commit("a", anew, 3).code(), 0u);
    EXPECT_EQ(subscribe("a", told.generation()).assigned(0).offset(), 3);
    // Another group has read nothing of that name.
    EXPECT_EQ(join("h", "a").assigned(0).offset(), Groups::kNoPosition);
}

TEST_F(NodeGroups, PositionsInADeletedTopicAreForgottenOnceItsSuccessorIsRead) {
    start(1);
    subscribe("a", 0, 5min);
    commit("a", topic, 10);
    make_anew();
    run(31s);
    const auto told = subscribe("a", 1, 5min);
    EXPECT_EQ(told.assigned(0).offset(), Groups::kNewTopic);
    commit("a", TopicId{told.assigned(0).topic_id()}, 1);
    run(31s);
    make_anew();
    make_anew();
    EXPECT_EQ(subscribe("a", told.generation(), 5min).assigned(0).offset(), Groups::kNewTopic);
    const std::string old_key = node::encode(node::GroupKey{"g", protocol::StreamId{topic, 0}});
    bool ended = false;
    node::Stream* log = (*cluster)[0].node().core().streams.find(kGroupsStream);
    log->log->read(protocol::Offset{0}, log->high_watermark, 1u << 20, [&](auto batches) {
        for (const auto& bytes : *batches)
            (void)protocol::BatchView::parse(bytes)->for_each(1u << 20, [&](const protocol::Record& record) {
                if (record.key == old_key) ended = !record.value;
                return true;
            });
    });
    run(1s);
    EXPECT_TRUE(ended);
}

TEST_F(NodeGroups, PartitionCountsAreFollowed) {
    start(1);
    const auto one = subscribe("a");
    cluster->delete_topic("t");
    EXPECT_THAT(partitions_of(subscribe("a", one.generation())), IsEmpty());
    proto::TopicSettings settings;
    settings.set_partitions(3);
    (*cluster)[0].node().create_topic("t", settings, [](const protocol::Result<void>&) {});
    run(1s);
    EXPECT_THAT(partitions_of(subscribe("a", one.generation())), ElementsAre(0u, 1u, 2u));
}

TEST_F(NodeGroups, AGroupThatStaysEmptyEnds) {
    start(1, [](node::Settings& settings) { settings.group_retention = 10s; });
    subscribe("a");
    commit("a", topic, 10);
    run(5s);
    leave("a");
    run(8s);
    EXPECT_THAT(listed(), ElementsAre("g"));
    run(4s);
    EXPECT_THAT(listed(), IsEmpty());
    EXPECT_EQ(subscribe("a").assigned(0).offset(), Groups::kNoPosition);
}

TEST_F(NodeGroups, AGroupThatIsUsedDoesNotEnd) {
    start(1, [](node::Settings& settings) { settings.group_retention = 10s; });
    for (int i = 0; i < 4; ++i) {
        subscribe("a");
        leave("a");
        run(8s);
    }
    EXPECT_THAT(listed(), ElementsAre("g"));
}

TEST_F(NodeGroups, RestartsAndClocksThatJumpDoNotChangeWhenAGroupEnds) {
    start(1, [](node::Settings& settings) { settings.group_retention = 1h; });
    subscribe("a");
    leave("a");
    for (int i = 0; i < 3; ++i) {
        run(18min);
        (*cluster)[0].crash(FakeDisk::Crash::kProcess);
        (*cluster)[0].clock.wall_off_ms += 30LL * 24 * 3600 * 1000;
        cluster->start_all();
        ASSERT_TRUE(cluster->wait_for_one_view());
        EXPECT_THAT(listed(), ElementsAre("g"));
    }
    // Of each run at most what was not written down yet is lost, which is a sixteenth of the hour.
    run(20min);
    EXPECT_THAT(listed(), IsEmpty());
}

TEST_F(NodeGroups, EmptyGroupsDoNotCountAgainstTheLimit) {
    start(1, [](node::Settings& settings) { settings.max_groups = 2; });
    for (const std::string group : {"one", "two", "three", "four"}) {
        EXPECT_EQ(join(group, "a").error().message(), "");
        leave("a", group);
    }
    EXPECT_EQ(join("one", "a").error().message(), "");
    EXPECT_EQ(join("two", "a").error().message(), "");
    EXPECT_THAT(join("three", "a").error().message(), HasSubstr("limits.groups"));
    EXPECT_EQ(join("one", "b").error().message(), "");
}

TEST_F(NodeGroups, LeavingAGroupThatIsNotThereMakesNone) {
    start(1);
    leave("a", "nothing");
    EXPECT_THAT(listed(), IsEmpty());
}

TEST_F(NodeGroups, AGroupIsDescribedAndDeleted) {
    start(3);
    subscribe("a");
    ASSERT_TRUE(cluster->append(protocol::StreamId{topic, 0}, "x"));
    ASSERT_TRUE(cluster->append(protocol::StreamId{topic, 0}, "y"));
    commit("a", topic, 1);
    run(200ms);
    const auto described = admin(proto::Groups::DESCRIBE, "g");
    ASSERT_EQ(described.groups_size(), 1);
    const proto::GroupInfo& group = described.groups(0);
    EXPECT_EQ(group.members(), 1u);
    ASSERT_EQ(group.member_size(), 1);
    EXPECT_EQ(group.member(0).member(), "a");
    ASSERT_EQ(group.positions_size(), 1);
    EXPECT_EQ(group.positions(0).topic(), "t");
    EXPECT_EQ(group.positions(0).committed(), 1);
    EXPECT_EQ(group.positions(0).high_watermark(), 2);
    EXPECT_EQ(group.positions(0).member(), "a");

    EXPECT_THAT(admin(proto::Groups::DELETE, "g").error().message(), HasSubstr("has members (1)"));
    leave("a");
    EXPECT_EQ(admin(proto::Groups::DELETE, "g").error().message(), "");
    EXPECT_THAT(listed(), IsEmpty());
    EXPECT_THAT(admin(proto::Groups::DELETE, "g").error().message(), HasSubstr("there is no group 'g'"));
    // Nor does it come back with another owner.
    cluster->owner(kGroupsStream)->crash(FakeDisk::Crash::kProcess);
    ASSERT_TRUE(cluster->wait_for_one_view());
    EXPECT_THAT(listed(), IsEmpty());
    EXPECT_EQ(subscribe("a").assigned(0).offset(), Groups::kNoPosition);
}

TEST_F(NodeGroups, AGroupWithoutMembersIsReset) {
    start(3);
    subscribe("a");
    commit("a", topic, 5);
    EXPECT_THAT(admin(proto::Groups::RESET, "g", 2).error().message(), HasSubstr("has members (1)"));
    leave("a");
    EXPECT_EQ(admin(proto::Groups::RESET, "g", 2).error().message(), "");
    EXPECT_EQ(admin(proto::Groups::DESCRIBE, "g").groups(0).positions(0).committed(), 2);
    EXPECT_THAT(admin(proto::Groups::RESET, "g", -1).error().message(), HasSubstr("there is no offset"));
    EXPECT_THAT(admin(proto::Groups::RESET, "g", 0, 77).error().message(), HasSubstr("there is no offset"));
    EXPECT_THAT(admin(proto::Groups::RESET, "h", 0).error().message(), HasSubstr("there is no group 'h'"));
    // Another owner has it, too.
    cluster->owner(kGroupsStream)->crash(FakeDisk::Crash::kProcess);
    ASSERT_TRUE(cluster->wait_for_one_view());
    EXPECT_EQ(subscribe("b").assigned(0).offset(), 2);
}

TEST_F(NodeGroups, APartitionThatNobodyHasWrittenToEndsWhereItBegins) {
    start(3);
    subscribe("a");
    const auto described = admin(proto::Groups::DESCRIBE, "g");
    ASSERT_EQ(described.groups_size(), 1);
    ASSERT_EQ(described.groups(0).positions_size(), 1);
    EXPECT_EQ(described.groups(0).positions(0).high_watermark(), 0);
}

TEST_F(NodeGroups, ADeletionIsOfTheTopicThatWasMeant) {
    start(1);
    const TopicId anew = make_anew();
    std::optional<protocol::Result<void>> done;
    (*cluster)[0].node().delete_topic("t", topic, [&](const protocol::Result<void>& result) { done = result; });
    ASSERT_TRUE(done);
    EXPECT_FALSE(*done);
    EXPECT_NE((*cluster)[0].node().topics().find(anew), nullptr);
}

TEST(GroupKeys, AreReadAsTheyAreWritten) {
    for (const std::string group : {"g", "", "a:b", "o:0000000000000001/2:g", "m:x", "line\nbreak"}) {
        const auto membership = node::decode_group_key(node::encode(node::GroupKey{group, std::nullopt}));
        ASSERT_TRUE(membership);
        EXPECT_EQ(membership->group, group);
        EXPECT_FALSE(membership->stream);
        const protocol::StreamId stream{TopicId{0xfedcba9876543210}, 77};
        const auto position = node::decode_group_key(node::encode(node::GroupKey{group, stream}));
        ASSERT_TRUE(position);
        EXPECT_EQ(position->group, group);
        EXPECT_EQ(position->stream, stream);
    }
    for (const char* other : {"", "g", "o:", "o:12", "o:12/", "o:12/3", "o:x/3:g", "x:g"})
        EXPECT_FALSE(node::decode_group_key(other)) << other;
}

}  // namespace
}  // namespace logstream::sim
