// Whom a reader asks, what it makes of a side without a quorum, and what it says while it waits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "client_world.h"
#include "internal/client/consumer.h"

namespace logstream::client::test {

namespace {

using ::testing::HasSubstr;

class ClientReading : public ::testing::Test {
protected:
    void open(std::uint32_t partitions = 1, std::vector<Endpoint> brokers = {}) {
        cluster = std::make_unique<FakeCluster>(env, 3, partitions);
        Bootstrap bootstrap;
        bootstrap.brokers = brokers.empty() ? cluster->endpoints() : brokers;
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
                values.emplace_back(*record.record.value);
                return !full;
            },
            [this](Result<void> result) { finished = std::move(result); });
        router->start();
        consumer->start();
    }
    void read(StartAt from = {}) {
        ConsumerOptions options;
        options.start = from;
        start(options);
    }
    void follow(StartAt from = {}, Duration timeout = {}) {
        ConsumerOptions options;
        options.start = from;
        options.follow = true;
        options.timeout = timeout;
        start(options);
    }
    bool has_read(std::size_t records, Duration limit) {
        return env.run_until([&] { return values.size() >= records; }, limit);
    }
    bool finish(Duration limit) {
        return env.run_until([this] { return finished.has_value(); }, limit);
    }
    static std::vector<std::string> numbers(int first, int last) {
        std::vector<std::string> out;
        for (int i = first; i <= last; ++i) out.push_back(std::to_string(i));
        return out;
    }

    FakeEnv env;
    std::unique_ptr<FakeCluster> cluster;
    std::unique_ptr<Router> router;
    std::unique_ptr<Consumer> consumer;
    std::vector<std::string> values;
    std::optional<Result<void>> finished;
    bool full{};
};

TEST_F(ClientReading, LeavesAnOwnerThatSaysItHasNoQuorum) {
    open();
    fill(0, 9);
    follow();
    ASSERT_TRUE(has_read(10, 1s));
    cluster->cut_off(cluster->owner());
    fill(10, 19);
    EXPECT_TRUE(has_read(20, 1s));
    EXPECT_EQ(values, numbers(0, 19));
}

TEST_F(ClientReading, LeavesAnOwnerThatDoesNotKnowThatItIsCutOff) {
    open();
    fill(0, 9);
    follow();
    ASSERT_TRUE(has_read(10, 1s));
    env.run_for(3s);
    cluster->unaware = true;
    cluster->cut_off(cluster->owner());
    fill(10, 19);
    EXPECT_TRUE(has_read(20, 1100ms));
    EXPECT_EQ(values, numbers(0, 19));
}

TEST_F(ClientReading, AnEndThatOnlyALosingSideTellsIsAnError) {
    open();
    const int owner = cluster->owner();
    fill(0, 9);
    cluster->cut_off(owner);
    fill(10, 19);
    for (int broker = 1; broker <= 3; ++broker)
        if (broker != owner) cluster->silence(broker);
    read();
    ASSERT_TRUE(finish(10s));
    EXPECT_EQ(values, numbers(0, 9));
    ASSERT_FALSE(*finished);
    EXPECT_EQ(finished->error().code, ErrorCode::kNoQuorum);
    EXPECT_THAT(finished->error().message, HasSubstr("there may be more: no quorum"));
}

TEST_F(ClientReading, AnEndThatAQuorumToldIsTheEndThoughItIsLostLater) {
    open();
    fill(0, 99);
    read();
    ASSERT_TRUE(has_read(20, 1s));
    cluster->quorum = false;
    ASSERT_TRUE(finish(10s));
    EXPECT_TRUE(*finished);
    EXPECT_EQ(values, numbers(0, 99));
    EXPECT_EQ(env.said("the newest records may be missing"), 1U);
}

TEST_F(ClientReading, AsksReplicasThatHaveAQuorumFirst) {
    for (int behind = 1; behind <= 3; ++behind) {
        consumer.reset();
        finished.reset();
        values.clear();
        open();
        const int owner = cluster->owner();
        if (owner == behind) continue;
        fill(0, 9);
        cluster->leave_behind(behind);
        fill(10, 19);
        cluster->silence(owner);
        follow();
        ASSERT_TRUE(has_read(20, 3s)) << "broker " << behind << " is behind";
        EXPECT_EQ(values, numbers(0, 19));
        EXPECT_TRUE(std::ranges::none_of(cluster->fetched, [&](const auto& fetch) { return fetch.first == behind; }));
        cluster->revive(owner);
    }
}

TEST_F(ClientReading, APauseOfItsOwnOutputIsNotTheOwnersFault) {
    open();
    fill(0, 99);
    full = true;
    follow();
    env.run_for(10s);
    full = false;
    consumer->resume();
    ASSERT_TRUE(has_read(100, 1s));
    EXPECT_EQ(values, numbers(0, 99));
    EXPECT_EQ(env.said("does not answer"), 0U);
    EXPECT_EQ(env.said("waiting"), 0U);
}

TEST_F(ClientReading, SaysWhyItWaitsOnceAndAgainWhenThatChanges) {
    open();
    fill(0, 9);
    follow();
    ASSERT_TRUE(has_read(10, 1s));
    for (int broker = 1; broker <= 3; ++broker) cluster->silence(broker);
    env.run_for(4s);
    EXPECT_EQ(env.said("waiting: no broker answers"), 0U);
    env.run_for(4s);
    EXPECT_EQ(env.said("waiting: no broker answers (connecting timed out)"), 1U);
    for (int broker = 1; broker <= 3; ++broker) {
        cluster->revive(broker);
        cluster->kill(broker);
    }
    env.run_for(30s);
    EXPECT_GE(env.said("waiting: no broker answers (connection refused)"), 1U);
    EXPECT_LE(env.said("waiting"), 5U);
    for (int broker = 1; broker <= 3; ++broker) cluster->revive(broker);
    fill(10, 19);
    ASSERT_TRUE(has_read(20, 5s));
    EXPECT_EQ(values, numbers(0, 19));
}

TEST_F(ClientReading, GivesUpAfterItsTimeoutAndSaysWhy) {
    open();
    fill(0, 9);
    follow({}, 5s);
    ASSERT_TRUE(has_read(10, 1s));
    for (int broker = 1; broker <= 3; ++broker) cluster->silence(broker);
    ASSERT_TRUE(finish(6s));
    ASSERT_FALSE(*finished);
    EXPECT_EQ(finished->error().code, ErrorCode::kTimeout);
    EXPECT_THAT(finished->error().message, HasSubstr("no record arrived within 5 s: no broker answers"));
}

TEST_F(ClientReading, ATimeoutDoesNotCountTheTimeThatItsOutputIsFull) {
    open();
    fill(0, 9);
    full = true;
    follow({}, 5s);
    env.run_for(20s);
    EXPECT_FALSE(finished);
}

TEST_F(ClientReading, AReaderToAnEndFailsWhenItsTopicIsDeleted) {
    open();
    fill(0, 99);
    full = true;
    read();
    env.run_for(100ms);
    cluster->delete_topic();
    ASSERT_TRUE(finish(3s));
    ASSERT_FALSE(*finished);
    EXPECT_THAT(finished->error().message, HasSubstr("topic 't' was deleted while being read"));
}

TEST_F(ClientReading, FollowingATopicThatIsMadeAnewBeginsAtItsBeginning) {
    open(2);
    fill(0, 9, 0);
    fill(10, 14, 1);
    follow({StartAt::Kind::kTail, 100});
    ASSERT_TRUE(has_read(15, 1s));
    cluster->delete_topic();
    env.run_for(5s);
    EXPECT_EQ(env.said("topic 't' was deleted: continuing at the beginning of the new one, once it exists"), 1U);
    EXPECT_EQ(env.said("waiting: topic 't' was deleted"), 1U);
    values.clear();
    cluster->create_topic(1);
    fill(100, 104);
    ASSERT_TRUE(has_read(5, 2s));
    fill(105, 119);
    ASSERT_TRUE(has_read(20, 2s));
    EXPECT_EQ(values, numbers(100, 119));
}

TEST_F(ClientReading, FollowingIsNotFooledByANewTopicThatNobodySawMissing) {
    open();
    fill(0, 9);
    follow({StartAt::Kind::kLatest});
    env.run_for(1s);
    cluster->delete_topic();
    cluster->create_topic(1);
    fill(100, 119);
    ASSERT_TRUE(has_read(20, 2s));
    EXPECT_EQ(values, numbers(100, 119));
    EXPECT_EQ(env.said("was deleted and recreated"), 1U);
}

TEST_F(ClientReading, APartitionThatTheNewTopicLacksIsAnError) {
    open(4);
    ConsumerOptions options;
    options.partition = 3;
    options.follow = true;
    start(options);
    env.run_for(1s);
    cluster->delete_topic();
    cluster->create_topic(2);
    ASSERT_TRUE(finish(3s));
    ASSERT_FALSE(*finished);
    EXPECT_THAT(finished->error().message, HasSubstr("topic 't' has partitions 0 to 1, not 3"));
}

TEST_F(ClientReading, AnOffsetBeyondTheEndIsNamed) {
    open();
    fill(0, 9);
    read({StartAt::Kind::kOffset, 10});
    ASSERT_TRUE(finish(1s));
    EXPECT_EQ(env.said("ends at offset"), 0U) << "that is where the next record comes";
    finished.reset();
    read({StartAt::Kind::kOffset, 12});
    ASSERT_TRUE(finish(1s));
    EXPECT_EQ(env.said("t/0 ends at offset 10, before 12: there is nothing to read"), 1U);
    follow({StartAt::Kind::kOffset, 12});
    env.run_for(1s);
    EXPECT_EQ(env.said("t/0 ends at offset 10, before 12: nothing is read until it has grown that far"), 1U);
    fill(10, 13);
    ASSERT_TRUE(has_read(2, 2s));
    EXPECT_EQ(values, numbers(12, 13));
}

TEST_F(ClientReading, PartitionsThatAreAddedAreFollowedFromTheirBeginning) {
    open();
    fill(0, 9);
    follow({StartAt::Kind::kLatest});
    env.run_for(1s);
    cluster->add_partition();
    fill(100, 109, 1);
    ASSERT_TRUE(has_read(10, 2s));
    EXPECT_EQ(values, numbers(100, 109));
}

TEST_F(ClientReading, TheLastRecordsAreCountedAndNotTheirOffsets) {
    open();
    fill(0, 9);
    for (int i = 0; i < 5; ++i) cluster->append_control();
    fill(10, 11);
    cluster->append_control();
    for (int wanted = 1; wanted <= 15; ++wanted) {
        values.clear();
        finished.reset();
        read({StartAt::Kind::kTail, wanted});
        ASSERT_TRUE(finish(3s));
        EXPECT_EQ(values, numbers(std::max(0, 12 - wanted), 11)) << wanted;
    }
}

TEST_F(ClientReading, NamesAreLookedUpAgainWhenNobodyAnswers) {
    cluster = std::make_unique<FakeCluster>(env, 1);
    fill(0, 9);
    int looked_up = 0;
    Bootstrap bootstrap;
    bootstrap.named = "old.example:8001,gone.example:8001";
    bootstrap.look_up = [&] {
        ++looked_up;
        env.set_timer(1ms, [&] {
            if (looked_up == 1) return router->resolved({Endpoint{0x0a0000ff, 8001}}, "'gone.example' is not known");
            router->resolved({FakeCluster::endpoint(1)}, "'gone.example' is not known");
        });
    };
    router = std::make_unique<Router>(env, bootstrap);
    read();
    ASSERT_TRUE(finish(5s));
    EXPECT_TRUE(*finished);
    EXPECT_EQ(values, numbers(0, 9));
}

TEST_F(ClientReading, NamesThatStandForNothingAreAnErrorThatSaysSo) {
    cluster = std::make_unique<FakeCluster>(env, 1);
    Bootstrap bootstrap;
    bootstrap.named = "gone.example:8001";
    bootstrap.look_up = [&] { env.set_timer(1ms, [&] { router->resolved({}, "'gone.example' is not known"); }); };
    router = std::make_unique<Router>(env, bootstrap);
    read();
    ASSERT_TRUE(finish(6s));
    ASSERT_FALSE(*finished);
    EXPECT_THAT(finished->error().message, HasSubstr("at gone.example:8001 within 5 s ('gone.example' is not known)"));
}

// Against one that looks at all records.
TEST(ClientTailSearch, BeginsWhereTheLastRecordsBegin) {
    std::uint64_t state = 7;
    const auto below = [&state](std::uint64_t n) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        return (state >> 33) % n;
    };
    for (int round = 0; round < 300; ++round) {
        // Batches of one to four offsets, some of them control batches, behind a start that retention moved.
        std::vector<Bytes> batches;
        std::vector<std::int64_t> records;
        const Offset start{static_cast<std::int64_t>(below(5))};
        Offset end = start;
        for (std::uint64_t i = below(30); i > 0; --i) {
            const bool control = below(3) == 0;
            protocol::BatchBuilder builder({.control = control});
            const auto count = static_cast<std::int64_t>(1 + below(4));
            for (std::int64_t r = 0; r < count; ++r) {
                builder.add(0, std::nullopt, "x");
                if (!control) records.push_back(end.value + r);
            }
            Bytes batch = *builder.finish();
            protocol::assign(batch, end, ViewNumber{1});
            batches.push_back(batch);
            end += count;
        }
        const auto wanted = static_cast<std::int64_t>(below(40));
        TailSearch search(start, end, wanted);
        while (!search.done()) {
            const auto at = std::ranges::find_if(batches, [&](const Bytes& bytes) {
                return protocol::BatchView::parse(bytes)->next_offset() > search.next();
            });
            ASSERT_NE(at, batches.end());
            ASSERT_TRUE(search.take(*protocol::BatchView::parse(*at), 1 << 20));
        }
        std::deque<std::int64_t> found;
        for (const std::int64_t record : records)
            if (record >= search.begin().value) found.push_back(record);
        for (std::int64_t i = 0; i < search.surplus(); ++i) found.pop_front();
        const auto expected = std::min(static_cast<std::size_t>(wanted), records.size());
        EXPECT_TRUE(std::ranges::equal(found, std::span(records).last(expected))) << round;
    }
}

}  // namespace
}  // namespace logstream::client::test
