// What brokers keep of topics: settings that change, on every member and for good; how fast they grow.
#include <gtest/gtest.h>

#include "tests/sim/cluster.h"

namespace logstream::sim {
namespace {

using namespace std::chrono_literals;
using protocol::ErrorCode;
using protocol::Result;

class NodeTopics : public ::testing::Test {
protected:
    NodeTopics() : cluster_(1, 3) {
        cluster_.start_all();
        EXPECT_TRUE(cluster_.wait_for_one_view());
        stream_ = cluster_.make_topic("app");
    }
    Machine& a_follower() {
        for (Machine* machine : cluster_.running())
            if (machine != cluster_.leader()) return *machine;
        return cluster_[0];
    }
    Result<void> alter(Machine& at, const proto::TopicAlteration& alteration, protocol::TopicId id = {}) {
        std::optional<Result<void>> done;
        at.node().alter_topic("app", id, alteration, [&done](Result<void> result) { done = std::move(result); });
        cluster_.world().run_until([&done] { return done.has_value(); }, 10s);
        return *std::move(done);
    }
    // As every running member has it, within a moment.
    bool all_have(std::int64_t retention_ms, bool compact) {
        return cluster_.world().run_until(
            [&] {
                return std::ranges::all_of(cluster_.running(), [&](Machine* machine) {
                    const proto::TopicRecord* topic = machine->node().topics().find("app");
                    return topic != nullptr && topic->settings().retention_ms() == retention_ms &&
                           topic->settings().compact() == compact && topic->settings().partitions() == 1;
                });
            },
            5s);
    }

    Cluster cluster_;
    protocol::StreamId stream_;
};

proto::TopicAlteration keep_for(std::int64_t ms) {
    proto::TopicAlteration out;
    out.set_retention_ms(ms);
    return out;
}

TEST_F(NodeTopics, AreAlteredThroughAnyMemberOnAllAndForGood) {
    ASSERT_TRUE(alter(a_follower(), keep_for(5000)));
    EXPECT_TRUE(all_have(5000, false));
    proto::TopicAlteration compacted;
    compacted.set_compact(true);
    ASSERT_TRUE(alter(*cluster_.leader(), compacted, stream_.topic));
    EXPECT_TRUE(all_have(5000, true)) << "what is not named stays";
    for (std::size_t i = 0; i < cluster_.size(); ++i) cluster_[i].crash(storage::FakeDisk::Crash::kMachine);
    cluster_.start_all();
    ASSERT_TRUE(cluster_.wait_for_one_view());
    EXPECT_TRUE(all_have(5000, true)) << "after a power cut";
}

TEST_F(NodeTopics, AnAlterationThatMakesNoSenseIsRefused) {
    proto::TopicAlteration open;
    open.set_compact(true);
    ASSERT_TRUE(alter(*cluster_.leader(), open));
    open.set_compact(false);
    const auto undone = alter(a_follower(), open);
    ASSERT_FALSE(undone);
    EXPECT_EQ(undone.error().code, ErrorCode::kInvalid);
    EXPECT_EQ(alter(*cluster_.leader(), keep_for(-2)).error().code, ErrorCode::kInvalid);
    const auto other = alter(*cluster_.leader(), keep_for(1), protocol::TopicId{77});
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().code, ErrorCode::kUnknownTopic) << "it is another topic of that name";
}

// A leader that does not know yet that a topic was deleted may append after that.
TEST_F(NodeTopics, AnAlterationDoesNotBringADeletedTopicBack) {
    Machine& leader = *cluster_.leader();
    std::optional<Result<void>> deleted;
    std::optional<Result<void>> altered;
    leader.node().delete_topic("app", {}, [&](Result<void> result) { deleted = std::move(result); });
    leader.node().alter_topic("app", {}, keep_for(1), [&](Result<void> result) { altered = std::move(result); });
    ASSERT_TRUE(cluster_.world().run_until([&] { return deleted && altered; }, 10s));
    EXPECT_TRUE(*deleted);
    cluster_.world().run_for(1s);
    for (Machine* machine : cluster_.running()) {
        EXPECT_EQ(machine->node().topics().find("app"), nullptr) << machine->name();
        EXPECT_EQ(machine->node().topics().stream_count(), 0U);
    }
}

TEST(Rate, ForgetsWhatIsLongAgo) {
    node::Rate rate;
    protocol::TimePoint now{1h};
    rate.sample(1'000'000, now);
    EXPECT_EQ(rate.per_second(), 0) << "what was there at the start did not grow";
    std::int64_t total = 1'000'000;
    for (int second = 0; second < 60; ++second) rate.sample(total += 500, now += 1s);
    EXPECT_NEAR(rate.per_second(), 500, 5);
    for (int second = 0; second < 30; ++second) rate.sample(total, now += 1s);
    EXPECT_LT(rate.per_second(), 50);
    for (int second = 0; second < 200; ++second) rate.sample(total, now += 1s);
    EXPECT_EQ(rate.per_second(), 0);
    rate.sample(total - 1000, now += 1s);
    EXPECT_EQ(rate.per_second(), 0) << "records that a recovery gave up";
}

TEST(NodeStart, SaysHowManyBrokersItWaitsFor) {
    Cluster cluster(1, 3);
    for (std::size_t i = 0; i < cluster.size(); ++i) cluster[i].options().settings.expect = 3;
    cluster[0].start();
    cluster.world().run_for(3s);
    EXPECT_EQ(cluster[0].node().history()->message,
              "this broker is not in a view yet: it waits for 2 more brokers (cluster.expect is 3)");
    cluster[1].start();
    cluster.world().run_for(3s);
    EXPECT_EQ(cluster[0].node().history()->message,
              "this broker is not in a view yet: it waits for 1 more broker (cluster.expect is 3)");
}

}  // namespace
}  // namespace logstream::sim
