// A producer whose topic is deleted, made anew, or gets more partitions while it runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "client_world.h"
#include "internal/client/partitioner.h"
#include "internal/client/producer.h"

namespace logstream::client::test {

namespace {

using ::testing::Each;
using ::testing::Field;
using ::testing::HasSubstr;

class ClientTopicChange : public ::testing::Test {
protected:
    void open(std::uint32_t partitions, ProducerOptions options = {}) {
        cluster = std::make_unique<FakeCluster>(env, 3, partitions);
        Bootstrap bootstrap;
        bootstrap.brokers = cluster->endpoints();
        router = std::make_unique<Router>(env, bootstrap);
        options.topic = "t";
        options.batch_bytes = 1;  // batches of one record
        producer = std::make_unique<Producer>(*router, options, [this](const BatchReport& report) {
            if (report.outcome) {
                acknowledged += report.records;
            } else {
                failures.push_back(report.outcome.error());
            }
        });
        bool ready = false;
        router->start();
        producer->start([&ready](const Result<void>& result) { ready = result.has_value(); });
        ASSERT_TRUE(env.run_until([&ready] { return ready; }, 5s));
    }
    // "kK:N": record N of key K of five.
    void send(int first, int last) {
        for (int i = first; i <= last; ++i) {
            const std::string key = "k" + std::to_string(i % 5);
            const std::string value = key + ":" + std::to_string(i);
            ASSERT_TRUE(producer->send({.key = key, .value = value}));
        }
        producer->flush();
    }
    bool finish(Duration limit) {
        return env.run_until([this] { return producer->idle(); }, limit);
    }
    std::size_t stored() const {
        std::size_t count = 0;
        for (std::uint32_t p = 0; p < cluster->partitions(); ++p) count += cluster->log(p).size();
        return count;
    }
    // Each key's records in order, and where its hash puts them.
    void expect_in_place(int first, int last) const {
        std::map<std::string, std::vector<std::string>> expected;
        for (int i = first; i <= last; ++i)
            expected["k" + std::to_string(i % 5)].push_back("k" + std::to_string(i % 5) + ":" + std::to_string(i));
        std::map<std::string, std::vector<std::string>> found;
        for (std::uint32_t p = 0; p < cluster->partitions(); ++p)
            for (const auto& record : cluster->log(p)) {
                EXPECT_EQ(partition_of_key(*record.key, cluster->partitions()), p);
                found[*record.key].push_back(record.value);
            }
        EXPECT_EQ(found, expected);
    }

    FakeEnv env;
    std::unique_ptr<FakeCluster> cluster;
    std::unique_ptr<Router> router;
    std::unique_ptr<Producer> producer;
    std::uint32_t acknowledged{};
    std::vector<Error> failures;
};

TEST_F(ClientTopicChange, ADeletedTopicIsNotMadeAgainByWhoWroteToIt) {
    open(1);
    send(1, 10);
    ASSERT_TRUE(finish(1s));
    cluster->delete_topic();
    cluster->asked_for_topics.clear();
    send(11, 20);
    env.run_for(6s);
    EXPECT_FALSE(cluster->topic_exists);
    EXPECT_FALSE(cluster->asked_for_topics.empty());
    for (const auto& [broker, makes] : cluster->asked_for_topics) EXPECT_FALSE(makes);
    EXPECT_EQ(env.said("topic 't' was deleted: its producer does not recreate it"), 1U);
    EXPECT_EQ(env.said("waiting: topic 't' was deleted"), 1U);
    EXPECT_TRUE(failures.empty());
    cluster->create_topic(1);
    ASSERT_TRUE(finish(3s));
    EXPECT_EQ(acknowledged, 20U);
    expect_in_place(11, 20);
}

TEST_F(ClientTopicChange, WhatNobodyMakesAgainIsReportedAsDeleted) {
    ProducerOptions options;
    options.timeout = 4s;
    open(1, options);
    cluster->delete_topic();
    send(1, 5);
    ASSERT_TRUE(finish(6s));
    EXPECT_EQ(failures.size(), 5U);
    EXPECT_THAT(failures, Each(Field(&Error::message, HasSubstr("topic 't' was deleted"))));
}

TEST_F(ClientTopicChange, WhatWaitedForAPartitionThatIsGoneIsPlacedAnew) {
    open(4);
    send(1, 20);
    ASSERT_TRUE(finish(1s));
    cluster->delete_topic();
    send(21, 60);
    env.run_for(50ms);
    cluster->create_topic(1);
    send(61, 80);
    ASSERT_TRUE(finish(3s));
    EXPECT_TRUE(failures.empty());
    EXPECT_EQ(acknowledged, 80U);
    EXPECT_EQ(producer->partitions(), 1U);
    expect_in_place(21, 80);
}

TEST_F(ClientTopicChange, WhatWaitedIsPlacedAnewAmongMorePartitions) {
    open(1);
    cluster->delete_topic();
    send(1, 40);
    env.run_for(50ms);
    cluster->create_topic(4);
    ASSERT_TRUE(finish(3s));
    EXPECT_EQ(acknowledged, 40U);
    expect_in_place(1, 40);
}

TEST_F(ClientTopicChange, ARecordThatNamesAPartitionThatIsGoneFails) {
    open(3);
    ASSERT_TRUE(producer->send({.key = {}, .value = "a", .partition = 2}));
    ASSERT_TRUE(finish(1s));
    cluster->delete_topic();
    ASSERT_TRUE(producer->send({.key = {}, .value = "b", .partition = 2}));
    ASSERT_TRUE(producer->send({.key = {}, .value = "c", .partition = 0}));
    producer->flush();
    env.run_for(50ms);
    cluster->create_topic(1);
    ASSERT_TRUE(finish(3s));
    ASSERT_EQ(failures.size(), 1U);
    EXPECT_THAT(failures.front().message, HasSubstr("no longer has partition 2"));
    EXPECT_EQ(cluster->values(), std::vector<std::string>{"c"});
    EXPECT_EQ(producer->send({.key = {}, .value = "d", .partition = 2}).error().code, ErrorCode::kInvalid);
}

TEST_F(ClientTopicChange, ANamedProducerEndsRatherThanCountLinesOfTwoTopics) {
    ProducerOptions options;
    options.name = "import";
    open(1, options);
    send(1, 10);
    ASSERT_TRUE(finish(1s));
    cluster->delete_topic();
    cluster->create_topic(1);
    send(11, 20);
    ASSERT_TRUE(finish(3s));
    EXPECT_EQ(acknowledged, 10U);
    EXPECT_EQ(failures.size(), 10U);
    EXPECT_THAT(failures, Each(Field(&Error::message, HasSubstr("run this again with --resume"))));
    EXPECT_EQ(stored(), 0U);
}

TEST_F(ClientTopicChange, PartitionsThatAreAddedAreWrittenTo) {
    open(1);
    send(1, 10);
    ASSERT_TRUE(finish(1s));
    cluster->add_partition();
    ASSERT_TRUE(env.run_until([this] { return producer->partitions() == 2; }, 1100ms));
    send(11, 40);
    ASSERT_TRUE(finish(1s));
    EXPECT_FALSE(cluster->log(1).empty());
    EXPECT_EQ(acknowledged, 40U);
}

TEST_F(ClientTopicChange, TopicsAreNamedAgainOnlyWhenTheyChanged) {
    open(1);
    env.run_for(2s);
    cluster->asked_for_topics.clear();
    env.run_for(20s);
    EXPECT_TRUE(cluster->asked_for_topics.empty());
    cluster->add_partition();
    ASSERT_TRUE(env.run_until([this] { return producer->partitions() == 2; }, 1100ms));
    env.run_for(2s);
    const std::size_t asked = cluster->asked_for_topics.size();
    EXPECT_LE(asked, 2U) << "the leader, once or twice";
    env.run_for(20s);
    EXPECT_EQ(cluster->asked_for_topics.size(), asked);
}

TEST_F(ClientTopicChange, IsHeardOfFromOthersWhenTheLeaderIsSilent) {
    open(1);
    env.run_for(2s);
    cluster->silence(1);
    cluster->add_partition();
    ASSERT_TRUE(env.run_until([this] { return producer->partitions() == 2; }, 4s));
}

TEST_F(ClientTopicChange, SaysWhyNothingIsAcknowledged) {
    open(1);
    cluster->quorum = false;
    send(1, 1);
    env.run_for(10s);
    EXPECT_EQ(env.said("waiting: no quorum: view 1 has 1 of 3 members in reach"), 1U);
    cluster->quorum = true;
    ASSERT_TRUE(finish(3s));
    EXPECT_EQ(acknowledged, 1U);
}

TEST(ClusterViewTopics, WhatACompleteAnswerDoesNotNameIsDeleted) {
    const auto answer = [](std::int64_t as_of, const std::vector<std::string>& names) {
        proto::MetadataResponse out;
        out.set_all_topics(true);
        out.set_topics_as_of(as_of);
        for (const std::string& name : names) {
            out.add_topics()->set_name(name);
            out.mutable_topics()->rbegin()->set_topic(names.size() + 16);
        }
        return out;
    };
    ClusterView view;
    view.merge_topics(answer(5, {"a", "b"}));
    EXPECT_EQ(view.topics().size(), 2U);
    view.merge_topics(answer(7, {"b"}));
    EXPECT_TRUE(view.was_deleted("a"));
    EXPECT_EQ(view.topics().size(), 1U);
    view.merge_topics(answer(6, {"a", "b"}));  // late
    EXPECT_EQ(view.topics().size(), 1U);
    view.merge_topics(answer(8, {"a", "b"}));
    EXPECT_EQ(view.topics().size(), 2U);
}

}  // namespace
}  // namespace logstream::client::test
