// The consumer's promises: nothing twice, nothing left out, whoever serves it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "client_world.h"
#include "internal/client/consumer.h"

namespace logstream::client::test {

namespace {

using ::testing::HasSubstr;

class ClientConsumer : public ::testing::Test {
protected:
    void open(int brokers, std::uint32_t partitions = 1) {
        cluster = std::make_unique<FakeCluster>(env, brokers, partitions);
        Bootstrap bootstrap;
        bootstrap.brokers = cluster->endpoints();
        router = std::make_unique<Router>(env, bootstrap);
    }
    void fill(int first, int last, std::uint32_t partition = 0) {
        for (int i = first; i <= last; ++i) cluster->append(partition, std::to_string(i));
    }
    void start(ConsumerOptions options) {
        options.topic = "t";
        consumer = std::make_unique<Consumer>(
            *router, options,
            [this](const ConsumedRecord& record) {
                values[record.partition].push_back(std::string(*record.record.value));
                return room == 0 || --room > 0;
            },
            [this](Result<void> result) { finished = std::move(result); });
        router->start();
        consumer->start();
    }
    bool finish(Duration limit) {
        return env.run_until([this] { return finished.has_value(); }, limit);
    }
    static std::vector<std::string> numbers(int first, int last) {
        std::vector<std::string> out;
        for (int i = first; i <= last; ++i) out.push_back(std::to_string(i));
        return out;
    }
    static ConsumerOptions from(StartAt start, bool follow = false) {
        ConsumerOptions options;
        options.start = start;
        options.follow = follow;
        return options;
    }

    FakeEnv env;
    std::unique_ptr<FakeCluster> cluster;
    std::unique_ptr<Router> router;
    std::unique_ptr<Consumer> consumer;
    std::map<std::uint32_t, std::vector<std::string>> values;
    std::optional<Result<void>> finished;
    int room{};  // records until the output is full; 0: without bound
};

TEST_F(ClientConsumer, ReadsToTheEndThatStoodAtTheStart) {
    open(3);
    fill(1, 100);
    start({});
    env.run_for(1ms);
    fill(101, 103);
    ASSERT_TRUE(finish(2s));
    EXPECT_TRUE(*finished);
    EXPECT_EQ(values[0], numbers(1, 100));
}

// Such a batch comes from a log of before brokers looked into what they take. No broker has a better one.
TEST_F(ClientConsumer, RecordsThatCannotBeDecodedAreNamedAtOnce) {
    open(3);
    fill(0, 19);
    cluster->unreadable = 7;
    start({});
    ASSERT_TRUE(finish(1s));
    ASSERT_FALSE(*finished);
    EXPECT_EQ(finished->error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(finished->error().message, HasSubstr("t/0: the records at offsets 8 to 8 cannot be decoded"));
    EXPECT_THAT(finished->error().message, HasSubstr("--skip-unreadable"));
    EXPECT_EQ(values[0], numbers(0, 7));
}

TEST_F(ClientConsumer, RecordsThatCannotBeDecodedAreSkippedIfToldSo) {
    open(3);
    fill(0, 19);
    cluster->unreadable = 7;
    ConsumerOptions options;
    options.skip_unreadable = true;
    start(options);
    ASSERT_TRUE(finish(1s));
    EXPECT_TRUE(*finished);
    auto expected = numbers(0, 7);
    for (const std::string& later : numbers(9, 19)) expected.push_back(later);
    EXPECT_EQ(values[0], expected);
}

TEST_F(ClientConsumer, EmptyTopicEndsAtOnce) {
    open(1);
    start({});
    ASSERT_TRUE(finish(1s));
    EXPECT_TRUE(*finished);
    EXPECT_TRUE(values.empty());
}

TEST_F(ClientConsumer, BeginsWhereItIsTold) {
    open(1);
    fill(0, 99);
    start(from({StartAt::Kind::kOffset, 95}));
    ASSERT_TRUE(finish(1s));
    EXPECT_EQ(values[0], numbers(95, 99));

    values.clear();
    finished.reset();
    start(from({StartAt::Kind::kTail, 7}));
    ASSERT_TRUE(finish(1s));
    EXPECT_EQ(values[0], numbers(93, 99));

    values.clear();
    finished.reset();
    start(from({StartAt::Kind::kLatest}));
    ASSERT_TRUE(finish(1s));
    EXPECT_TRUE(values.empty());
}

TEST_F(ClientConsumer, FollowsWhatComes) {
    open(1);
    fill(0, 9);
    start(from({StartAt::Kind::kLatest}, true));
    env.run_for(1s);
    fill(10, 19);
    ASSERT_TRUE(env.run_until([&] { return values[0].size() == 10; }, 2s));
    EXPECT_EQ(values[0], numbers(10, 19));
}

TEST_F(ClientConsumer, FailOverNeitherSkipsNorRepeats) {
    open(4);
    fill(0, 499);
    start({});
    for (int killed = 0; killed < 3; ++killed) {
        const std::size_t before = values[0].size();
        ASSERT_TRUE(env.run_until([&] { return values[0].size() > before + 50; }, 1s));
        const int victim = cluster->owner();
        killed == 1 ? cluster->silence(victim) : cluster->kill(victim);
        env.run_for(200ms);
        cluster->remove(victim);
    }
    ASSERT_TRUE(finish(10s));
    EXPECT_EQ(values[0], numbers(0, 499));
}

TEST_F(ClientConsumer, ReadsFromAnyReplicaWhenTheOwnerIsOutOfReach) {
    open(3);
    fill(0, 199);
    const int owner = cluster->owner();
    start({});
    ASSERT_TRUE(env.run_until([&] { return values[0].size() > 20; }, 1s));
    cluster->quorum = false;
    cluster->silence(owner);
    const TimePoint from = env.now();
    ASSERT_TRUE(finish(10s));
    EXPECT_LT(env.now() - from, 4s);
    EXPECT_EQ(values[0], numbers(0, 199));
    EXPECT_NE(cluster->fetched.back().first, owner);
}

// It answers first, says that it sees no quorum, and knows of less than was acknowledged.
TEST_F(ClientConsumer, ABrokerThatIsLeftBehindDoesNotSayWhereTheLogEnds) {
    for (int behind = 1; behind <= 3; ++behind) {
        consumer.reset();
        finished.reset();
        values.clear();
        open(3);
        if (cluster->owner() == behind) continue;
        fill(0, 99);
        cluster->leave_behind(behind);
        fill(100, 199);
        start({});
        ASSERT_TRUE(finish(5s));
        EXPECT_EQ(values[0], numbers(0, 199)) << "broker " << behind << " is behind";
    }
}

// As of a cluster whose brokers are retired one after another: the last one has the records.
TEST_F(ClientConsumer, AnOwnerThatWentOverToAnotherHistoryIsNotTheLastWord) {
    open(3);
    fill(0, 199);
    start({});
    ASSERT_TRUE(env.run_until([&] { return values[0].size() > 20; }, 1s));
    cluster->go_over(cluster->owner());
    ASSERT_TRUE(finish(10s));
    ASSERT_TRUE(*finished) << finished->error().message;
    EXPECT_EQ(values[0], numbers(0, 199));
}

TEST_F(ClientConsumer, FullOutputPausesAndGoesOn) {
    open(1);
    fill(0, 99);
    room = 10;
    start({});
    env.run_for(1s);
    EXPECT_EQ(values[0].size(), 10U);
    const std::size_t asked = cluster->fetched.size();
    env.run_for(5s);
    EXPECT_EQ(cluster->fetched.size(), asked);
    room = 0;
    consumer->resume();
    ASSERT_TRUE(finish(2s));
    EXPECT_EQ(values[0], numbers(0, 99));
}

TEST_F(ClientConsumer, OffsetThatIsGoneIsAnErrorThatSaysWhereTheLogStarts) {
    open(1);
    fill(0, 99);
    cluster->log_start = 50;
    start(from({StartAt::Kind::kOffset, 10}));
    ASSERT_TRUE(finish(2s));
    ASSERT_FALSE(*finished);
    EXPECT_THAT(finished->error().message, HasSubstr("the log starts at 50"));
}

TEST_F(ClientConsumer, RetentionThatOvertakesAReaderFromTheBeginningIsSkipped) {
    open(1);
    fill(0, 99);
    room = 10;
    start({});
    env.run_for(100ms);
    cluster->log_start = 51;
    cluster->fetch_records = 10;
    room = 0;
    consumer->resume();
    ASSERT_TRUE(finish(5s));
    EXPECT_TRUE(*finished);
    EXPECT_EQ(values[0].back(), "99");
    EXPECT_EQ(values[0].end() - std::ranges::find(values[0], "51"), 49);
}

TEST_F(ClientConsumer, MissingTopicIsAClearError) {
    open(1);
    cluster->topic_exists = false;
    start({});
    ASSERT_TRUE(finish(5s));
    ASSERT_FALSE(*finished);
    EXPECT_THAT(finished->error().message, HasSubstr("no topic 't'"));
}

TEST_F(ClientConsumer, AllOfATopicThatComesLaterIsNew) {
    open(1);
    cluster->topic_exists = false;
    start(from({StartAt::Kind::kLatest}, true));
    env.run_for(5s);
    fill(1, 5);
    cluster->topic_exists = true;
    ASSERT_TRUE(env.run_until([&] { return values[0].size() == 5; }, 5s));
    EXPECT_EQ(values[0], numbers(1, 5));
}

TEST_F(ClientConsumer, AnotherLineageIsNotTakenForThisOne) {
    open(3);
    fill(0, 9);
    start(from({}, true));
    ASSERT_TRUE(env.run_until([&] { return values[0].size() == 10; }, 1s));
    const int owner = cluster->owner();
    cluster->cluster_id = 0xdead;
    cluster->kill(owner);
    cluster->revive(owner);
    ASSERT_TRUE(finish(20s));
    ASSERT_FALSE(*finished);
    EXPECT_EQ(finished->error().code, ErrorCode::kWrongCluster);
    EXPECT_THAT(finished->error().message, HasSubstr("000000000000dead"));
}

TEST_F(ClientConsumer, PartitionsAreReadSideBySide) {
    open(3, 5);
    for (std::uint32_t partition = 0; partition < 5; ++partition) fill(0, 40, partition);
    start({});
    ASSERT_TRUE(finish(2s));
    for (std::uint32_t partition = 0; partition < 5; ++partition) EXPECT_EQ(values[partition], numbers(0, 40));
}

TEST_F(ClientConsumer, FindsBrokersByBroadcast) {
    cluster = std::make_unique<FakeCluster>(env, 2);
    fill(0, 9);
    router = std::make_unique<Router>(env, Bootstrap{});
    int asked = 0;
    env.on_broadcast = [&](const env::OutFrame& frame) {
        if (++asked < 3) return;  // datagrams get lost
        const auto decoded = protocol::decode_frame(frame.head.span());
        ASSERT_TRUE(decoded);
        proto::Join join;
        ASSERT_TRUE(join.ParseFromArray(frame.head.data() + decoded->payload_begin,
                                        static_cast<int>(frame.head.size() - decoded->payload_begin)));
        EXPECT_TRUE(join.client());
        proto::JoinResponse response;
        response.set_cluster("logstream");
        response.set_cluster_id(0xc1);
        response.set_nonce(join.nonce());
        response.set_serving(true);
        protocol::put_ip(*response.mutable_responder(), FakeCluster::endpoint(1).ip);
        response.mutable_responder()->set_port(8001);
        env::ReceivedFrame answer{
            env::Channel::kUnicast, FakeCluster::endpoint(1), {}, Bytes::copy_of(response.SerializeAsString())};
        answer.header.type = MessageType::kJoinResponse;
        router->on_frame(answer);
    };
    start({});
    ASSERT_TRUE(finish(3s));
    EXPECT_TRUE(*finished);
    EXPECT_EQ(values[0], numbers(0, 9));
}

TEST_F(ClientConsumer, TwoHistoriesOfOneNameAreAnError) {
    cluster = std::make_unique<FakeCluster>(env, 2);
    router = std::make_unique<Router>(env, Bootstrap{});
    env.on_broadcast = [&](const env::OutFrame& frame) {
        const auto decoded = protocol::decode_frame(frame.head.span());
        proto::Join join;
        ASSERT_TRUE(join.ParseFromArray(frame.head.data() + decoded->payload_begin,
                                        static_cast<int>(frame.head.size() - decoded->payload_begin)));
        for (const int broker : {1, 2}) {
            proto::JoinResponse response;
            response.set_cluster("logstream");
            response.set_cluster_id(static_cast<std::uint64_t>(0xc0 + broker));
            response.set_has_records(true);
            response.set_nonce(join.nonce());
            protocol::put_ip(*response.mutable_responder(), FakeCluster::endpoint(broker).ip);
            response.mutable_responder()->set_port(8001);
            env::ReceivedFrame answer{env::Channel::kUnicast, {}, {}, Bytes::copy_of(response.SerializeAsString())};
            answer.header.type = MessageType::kJoinResponse;
            router->on_frame(answer);
        }
    };
    start({});
    ASSERT_TRUE(finish(3s));
    ASSERT_FALSE(*finished);
    EXPECT_THAT(finished->error().message, HasSubstr("merge"));
}

}  // namespace
}  // namespace logstream::client::test
