// The producer's promises, with brokers that fail by script.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "client_world.h"
#include "internal/client/partitioner.h"
#include "internal/client/producer.h"

namespace logstream::client::test {

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ClientProducer : public ::testing::Test {
protected:
    void open(int brokers, std::uint32_t partitions = 1) {
        cluster = std::make_unique<FakeCluster>(env, brokers, partitions);
        Bootstrap bootstrap;
        bootstrap.brokers = cluster->endpoints();
        router = std::make_unique<Router>(env, bootstrap);
    }
    // A producer whose batches hold one record, so that tests see every step.
    void start(ProducerOptions options = {}) {
        options.topic = "t";
        if (options.batch_bytes == ProducerOptions{}.batch_bytes) options.batch_bytes = 1;
        producer =
            std::make_unique<Producer>(*router, options, [this](const BatchReport& report) { on_report(report); });
        router->start();
        producer->start([this](Result<void> result) { ready = std::move(result); });
        ASSERT_TRUE(env.run_until([this] { return ready.has_value(); }, 20s));
    }
    void on_report(const BatchReport& report) {
        if (report.outcome) {
            acknowledged += report.records;
        } else {
            failures.push_back(report.outcome.error());
        }
    }
    void send(int first, int last) {
        for (int i = first; i <= last; ++i) ASSERT_TRUE(producer->send({{}, std::to_string(i)}));
        producer->flush();
    }
    std::vector<std::string> numbers(int first, int last) {
        std::vector<std::string> out;
        for (int i = first; i <= last; ++i) out.push_back(std::to_string(i));
        return out;
    }
    bool finish(Duration limit) {
        return env.run_until([this] { return producer->idle(); }, limit);
    }

    FakeEnv env;
    std::unique_ptr<FakeCluster> cluster;
    std::unique_ptr<Router> router;
    std::unique_ptr<Producer> producer;
    std::optional<Result<void>> ready;
    std::uint32_t acknowledged{};
    std::vector<Error> failures;
};

TEST_F(ClientProducer, RecordsArriveInOrderAndOnce) {
    open(3);
    start();
    send(1, 100);
    ASSERT_TRUE(finish(5s));
    EXPECT_EQ(cluster->values(), numbers(1, 100));
    EXPECT_EQ(acknowledged, 100U);
}

TEST_F(ClientProducer, SmallRecordsShareABatchWithinTheLinger) {
    open(1);
    ProducerOptions options;
    options.batch_bytes = 64u << 10;
    start(options);
    for (int i = 1; i <= 50; ++i) ASSERT_TRUE(producer->send({{}, std::to_string(i)}));
    ASSERT_TRUE(finish(1s));
    EXPECT_EQ(cluster->produced.size(), 1U);
    EXPECT_EQ(cluster->values(), numbers(1, 50));
}

TEST_F(ClientProducer, EachProducerOfARouterGoesOnWhenTheConnectionHasDrained) {
    open(1);
    start();
    ProducerOptions options;
    options.topic = "t";
    options.batch_bytes = 1;
    Producer second(*router, options, [](const BatchReport&) {});
    std::optional<Result<void>> second_ready;
    second.start([&](Result<void> result) { second_ready = std::move(result); });
    ASSERT_TRUE(env.run_until([&] { return second_ready.has_value(); }, 20s));
    env.queued = 1u << 30;
    send(1, 1);
    ASSERT_TRUE(second.send({{}, "2"}));
    second.flush();
    env.run_for(1ms);
    EXPECT_TRUE(cluster->produced.empty());
    env.drain();
    env.run_for(1ms);
    EXPECT_THAT(cluster->values(), ElementsAre("1", "2"));
}

TEST_F(ClientProducer, FailOverResendsInOrderToTheNewOwner) {
    open(3);
    start();
    const int old = cluster->owner();
    // The third batch is appended, its answer and all later ones are lost with the owner.
    cluster->answers = [&](const protocol::BatchView& batch) { return batch.base_sequence() < 2; };
    send(1, 20);
    env.run_for(2ms);
    cluster->kill(old);
    env.run_for(300ms);  // the others notice
    cluster->answers = [](const auto&) { return true; };
    cluster->remove(old);
    ASSERT_NE(cluster->owner(), old);
    const TimePoint from = env.now();
    ASSERT_TRUE(env.run_until([&] { return acknowledged > 2; }, 5s));
    EXPECT_LT(env.now() - from, 120ms);  // a blink after the new view
    ASSERT_TRUE(finish(5s));
    EXPECT_EQ(cluster->values(), numbers(1, 20));
    EXPECT_EQ(acknowledged, 20U);
    EXPECT_TRUE(failures.empty());
}

TEST_F(ClientProducer, SilentOwnerIsLeftWhenTheViewChanges) {
    open(3);
    start();
    const int old = cluster->owner();
    send(1, 3);
    ASSERT_TRUE(finish(1s));
    cluster->silence(old);
    send(4, 20);
    env.run_for(800ms);
    cluster->remove(old);
    const TimePoint from = env.now();
    ASSERT_TRUE(finish(5s));
    EXPECT_LT(env.now() - from, 700ms);
    EXPECT_EQ(cluster->values(), numbers(1, 20));
}

TEST_F(ClientProducer, RefusedBatchGoesBeforeItsSuccessors) {
    open(1);
    start();
    int refusals = 0;
    cluster->refuse = [&](int, const protocol::BatchView& batch) -> std::optional<Error> {
        if (batch.base_sequence() != 2 || ++refusals > 3) return std::nullopt;
        return Error{ErrorCode::kBusy, "busy"};
    };
    send(1, 30);
    ASSERT_TRUE(finish(5s));
    EXPECT_EQ(cluster->values(), numbers(1, 30));
    EXPECT_EQ(cluster->produced.back().epoch, 0);  // nothing was given up, so nothing was renumbered
}

TEST_F(ClientProducer, LostAnswerIsAskedForAgainAndNotAppendedTwice) {
    open(1);
    start();
    int lost = 0;
    cluster->answers = [&](const protocol::BatchView& batch) { return batch.base_sequence() != 1 || ++lost > 1; };
    send(1, 4);
    ASSERT_TRUE(finish(20s));
    EXPECT_EQ(cluster->values(), numbers(1, 4));
    EXPECT_EQ(acknowledged, 4U);
}

TEST_F(ClientProducer, GivenUpBatchGetsItsSuccessorsANewEpoch) {
    open(1);
    ProducerOptions options;
    options.timeout = 1s;
    start(options);
    cluster->refuse = [&](int, const protocol::BatchView& batch) -> std::optional<Error> {
        if (batch.producer_epoch() == 0 && batch.base_sequence() == 1)
            return Error{ErrorCode::kDiskFull, "the disk is full"};
        return std::nullopt;
    };
    send(1, 2);
    env.run_for(700ms);
    send(3, 6);
    ASSERT_TRUE(finish(5s));
    EXPECT_EQ(cluster->values(), (std::vector<std::string>{"1", "3", "4", "5", "6"}));
    ASSERT_EQ(failures.size(), 1U);
    EXPECT_THAT(failures[0].message, HasSubstr("the disk is full"));
    EXPECT_EQ(cluster->produced.back().epoch, 1);
}

TEST_F(ClientProducer, DefiniteRefusalFailsOneBatchAlone) {
    open(1);
    start();
    cluster->refuse = [&](int, const protocol::BatchView& batch) -> std::optional<Error> {
        if (batch.producer_epoch() == 0 && batch.base_sequence() == 4) return Error{ErrorCode::kInvalid, "no"};
        return std::nullopt;
    };
    send(0, 11);
    ASSERT_TRUE(finish(5s));
    EXPECT_EQ(cluster->log().size(), 11U);
    EXPECT_EQ(failures.size(), 1U);
    std::vector<std::string> expected = numbers(0, 11);
    std::erase(expected, "4");
    EXPECT_EQ(cluster->values(), expected);
}

TEST_F(ClientProducer, OwnerThatForgotTheProducerIsToldANewEpoch) {
    open(1);
    start();
    send(1, 3);
    ASSERT_TRUE(finish(1s));
    cluster->refuse = [&](int, const protocol::BatchView& batch) -> std::optional<Error> {
        if (batch.producer_epoch() == 0) return Error{ErrorCode::kSequenceGap, "never heard of you"};
        return std::nullopt;
    };
    send(4, 9);
    ASSERT_TRUE(finish(5s));
    EXPECT_EQ(cluster->values(), numbers(1, 9));
    EXPECT_TRUE(failures.empty());
}

TEST_F(ClientProducer, FencedProducerStops) {
    open(1);
    start();
    cluster->refuse = [](int, const protocol::BatchView&) {
        return Error{ErrorCode::kFenced, "a newer instance took over"};
    };
    send(1, 3);
    ASSERT_TRUE(finish(1s));
    EXPECT_EQ(failures.size(), 3U);
    send(4, 4);
    EXPECT_EQ(failures.size(), 4U);
    EXPECT_TRUE(producer->idle());
}

TEST_F(ClientProducer, OneTryTellsTheReasonOfAMinority) {
    open(3);
    cluster->quorum = false;
    ProducerOptions options;
    options.timeout = 0s;
    start(options);
    const TimePoint from = env.now();
    send(1, 1);
    ASSERT_TRUE(finish(5s));
    EXPECT_LT(env.now() - from, 2s);
    ASSERT_EQ(failures.size(), 1U);
    EXPECT_THAT(failures[0].message, HasSubstr("no quorum: view 1 has 1 of 3 members in reach"));
}

TEST_F(ClientProducer, OneTryTellsTheReasonWhenTheOwnerIsOnTheOtherSide) {
    open(3);
    ProducerOptions options;
    options.timeout = 0s;
    start(options);
    cluster->quorum = false;
    cluster->silence(cluster->owner());
    const TimePoint from = env.now();
    send(1, 1);
    ASSERT_TRUE(finish(5s));
    EXPECT_LT(env.now() - from, 2s);
    ASSERT_EQ(failures.size(), 1U);
    EXPECT_THAT(failures[0].message, HasSubstr("no quorum: view 1 has 1 of 3 members in reach"));
}

TEST_F(ClientProducer, RetriesThroughALossOfQuorum) {
    open(3);
    start();
    cluster->quorum = false;
    send(1, 20);
    env.run_for(30s);
    EXPECT_EQ(acknowledged, 0U);
    cluster->quorum = true;
    ASSERT_TRUE(finish(2s));
    EXPECT_EQ(cluster->values(), numbers(1, 20));
    EXPECT_TRUE(failures.empty());
}

TEST_F(ClientProducer, ManyPartitionsWaitForABrokerThatRefusesWritesByOneQuestion) {
    open(3, 300);
    start();
    for (int round = 0; round < 3; ++round)
        for (std::uint32_t partition = 0; partition < 300; ++partition)
            ASSERT_TRUE(producer->send({.key = {}, .value = std::to_string(round), .partition = partition}));
    cluster->quorum = false;
    cluster->produced.clear();
    producer->flush();
    env.run_for(10s);
    EXPECT_EQ(acknowledged, 0U);
    EXPECT_LT(cluster->produced.size(), 300U * 6) << "each would try some 40 times a second";
    cluster->quorum = true;
    EXPECT_TRUE(env.run_until([&] { return acknowledged == 900U; }, 600ms)) << "asked again at once: " << acknowledged;
    EXPECT_TRUE(failures.empty());
}

TEST_F(ClientProducer, ManyPartitionsWaitForAFullDiskByOneQuestion) {
    open(3, 300);
    start();
    for (std::uint32_t partition = 0; partition < 300; ++partition)
        ASSERT_TRUE(producer->send({.key = {}, .value = "x", .partition = partition}));
    cluster->disk_full = true;
    producer->flush();
    env.run_for(10s);
    EXPECT_EQ(acknowledged, 0U);
    EXPECT_LT(cluster->produced.size(), 300U * 5);
    cluster->disk_full = false;
    EXPECT_TRUE(env.run_until([&] { return acknowledged == 300U; }, 1100ms)) << acknowledged;
    EXPECT_TRUE(failures.empty());
}

TEST_F(ClientProducer, TooLargeRecordIsRefusedBeforeItIsSent) {
    open(1);
    cluster->max_batch_bytes = 1000;
    start();
    const auto sent = producer->send({{}, std::string(1001, 'x')});
    ASSERT_FALSE(sent);
    EXPECT_EQ(sent.error().code, ErrorCode::kTooLarge);
    ASSERT_TRUE(producer->send({{}, std::string(producer->max_record_bytes(), 'x')}));
    ASSERT_TRUE(finish(1s));
    EXPECT_EQ(acknowledged, 1U);
}

TEST_F(ClientProducer, InvalidTopicNameIsRefusedAtOnce) {
    open(1);
    ProducerOptions options;
    options.topic = std::string(10'000, 'x');
    Producer bad(*router, options, [](const BatchReport&) {});
    bad.start([this](Result<void> result) { ready = std::move(result); });
    ASSERT_TRUE(ready.has_value());
    EXPECT_THAT(ready->error().message, HasSubstr("a-z A-Z 0-9 . _ -"));
}

TEST_F(ClientProducer, KeysChooseThePartition) {
    open(3, 4);
    start();
    for (int i = 0; i < 40; ++i) {
        const std::string key = "key" + std::to_string(i % 8);
        ASSERT_TRUE(producer->send({key, std::to_string(i)}));
    }
    ASSERT_TRUE(finish(2s));
    std::size_t total = 0;
    for (std::uint32_t partition = 0; partition < 4; ++partition) {
        total += cluster->log(partition).size();
        for (const auto& stored : cluster->log(partition)) EXPECT_EQ(partition_of_key(*stored.key, 4), partition);
    }
    EXPECT_EQ(total, 40U);
}

TEST_F(ClientProducer, NamedProducerGoesOnAfterWhatIsThere) {
    open(3, 2);
    ProducerOptions options;
    options.name = "import";
    options.resumes = true;
    start(options);
    EXPECT_EQ(producer->sent_before(0).count(), 0);
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(producer->send({{}, std::to_string(i), i % 2}));
    ASSERT_TRUE(finish(2s));
    producer.reset();
    ready.reset();
    start(options);
    ASSERT_TRUE(*ready);
    EXPECT_EQ(producer->sent_before(0).count(), 5);
    EXPECT_EQ(producer->sent_before(1).count(), 5);
    for (int i = 10; i < 14; ++i) ASSERT_TRUE(producer->send({{}, std::to_string(i), i % 2}));
    ASSERT_TRUE(finish(2s));
    EXPECT_THAT(cluster->values(0), ElementsAre("0", "2", "4", "6", "8", "10", "12"));
    EXPECT_EQ(cluster->produced.back().base_sequence, 6);
    EXPECT_EQ(cluster->produced.back().epoch, 1);
}

TEST_F(ClientProducer, NamedProducerThatDoesNotResumeBeginsAnew) {
    open(1);
    ProducerOptions options;
    options.name = "import";
    start(options);
    send(1, 5);
    ASSERT_TRUE(finish(2s));
    producer.reset();
    ready.reset();
    start(options);
    EXPECT_EQ(producer->sent_before(0).count(), 0);
    EXPECT_FALSE(producer->sent_before(0).has(0));
    send(6, 6);
    ASSERT_TRUE(finish(2s));
    EXPECT_EQ(cluster->produced.back().base_sequence, 5);
}

// What is missing gets the sequences that are missing, a batch never more than one hole.
TEST_F(ClientProducer, NamedProducerFillsTheHolesFirst) {
    open(1);
    ProducerOptions options;
    options.batch_bytes = 10'000;
    options.name = "import";
    start(options);
    send(1, 20);
    ASSERT_TRUE(finish(2s));
    producer.reset();
    ready.reset();
    options.resumes = true;
    cluster->missing = {{3, 5}, {9, 9}};
    cluster->produced.clear();
    start(options);
    const SentBefore& sent = producer->sent_before(0);
    EXPECT_EQ(sent.count(), 20);
    for (const int number : {0, 2, 6, 8, 10, 19}) EXPECT_TRUE(sent.has(number)) << number;
    for (const int number : {3, 5, 9, 20}) EXPECT_FALSE(sent.has(number)) << number;
    send(100, 106);
    ASSERT_TRUE(finish(2s));
    std::vector<std::pair<int, int>> sequences;  // first, count
    for (const auto& batch : cluster->produced) sequences.emplace_back(batch.base_sequence, batch.records);
    EXPECT_THAT(sequences, ElementsAre(std::pair(3, 3), std::pair(9, 1), std::pair(20, 3)));
}

TEST_F(ClientProducer, OneThatLooksTakesNothingOver) {
    open(1);
    ProducerOptions options;
    options.name = "import";
    start(options);
    send(1, 5);
    ASSERT_TRUE(finish(2s));
    options.topic = "t";
    options.resumes = true;
    options.topic = "t";
    std::optional<Result<void>> seen;
    Producer second(*router, options, [](const BatchReport&) {});
    second.look([&seen](Result<void> result) { seen = std::move(result); });
    ASSERT_TRUE(env.run_until([&] { return seen.has_value(); }, 2s));
    ASSERT_TRUE(*seen) << seen->error().message;
    EXPECT_EQ(second.sent_before(0).count(), 5);
    send(6, 7);
    ASSERT_TRUE(finish(2s)) << "the first one is not fenced";
    seen.reset();
    second.take_over([&seen](Result<void> result) { seen = std::move(result); });
    ASSERT_TRUE(env.run_until([&] { return seen.has_value(); }, 2s));
    EXPECT_EQ(second.sent_before(0).count(), 7);
    send(8, 8);
    ASSERT_TRUE(finish(2s));
    ASSERT_EQ(failures.size(), 1U);
    EXPECT_EQ(failures[0].code, ErrorCode::kFenced);
}

// Without acknowledgements it can't know what is there; what the owner alone acknowledged may be missing in the middle.
TEST_F(ClientProducer, NamedProducerNeedsAQuorum) {
    open(1);
    for (const proto::Acks acks : {proto::NONE, proto::OWNER}) {
        ProducerOptions options;
        options.name = "import";
        options.acks = acks;
        producer.reset();
        ready.reset();
        start(options);
        ASSERT_FALSE(*ready);
        EXPECT_EQ(ready->error().code, ErrorCode::kInvalid);
    }
}

TEST_F(ClientProducer, AcksNoneAsksForNoAnswer) {
    open(1);
    ProducerOptions options;
    options.acks = proto::NONE;
    start(options);
    send(1, 10);
    ASSERT_TRUE(finish(1s));
    bool settled = false;
    producer->settle(1s, [&] { settled = true; });
    ASSERT_TRUE(env.run_until([&] { return settled; }, 2s));
    EXPECT_EQ(cluster->values(), numbers(1, 10));
}

TEST_F(ClientProducer, NoBrokerIsAClearError) {
    open(1);
    cluster->kill(1);
    start();
    ASSERT_FALSE(*ready);
    EXPECT_THAT(ready->error().message, HasSubstr("netdiag"));
    EXPECT_THAT(ready->error().message, HasSubstr("--brokers"));
}

TEST_F(ClientProducer, MemoryIsBounded) {
    open(1);
    ProducerOptions options;
    options.buffer_bytes = 10'000;
    start(options);
    cluster->quorum = false;
    while (producer->has_room()) ASSERT_TRUE(producer->send({{}, std::string(100, 'x')}));
    EXPECT_LT(producer->buffered_bytes(), 11'000U);
    bool progress = false;
    producer->on_progress([&] { progress = producer->has_room(); });
    cluster->quorum = true;
    EXPECT_TRUE(env.run_until([&] { return progress; }, 2s));
}

TEST_F(ClientProducer, FailureSaysWhetherTheOutcomeIsKnown) {
    open(3);
    ProducerOptions options;
    options.timeout = 500ms;
    start(options);
    cluster->quorum = false;  // refused before the append: known
    send(1, 1);
    ASSERT_TRUE(finish(5s));
    ASSERT_EQ(failures.size(), 1U);
    EXPECT_EQ(failures[0].message.find("not known"), std::string::npos);
    cluster->quorum = true;
    cluster->answers = [](const auto&) { return false; };
    send(2, 2);
    ASSERT_TRUE(finish(5s));
    ASSERT_EQ(failures.size(), 2U);
    EXPECT_THAT(failures[1].message, HasSubstr("whether it stands in the log is not known"));
    EXPECT_EQ(failures[1].code, ErrorCode::kUnknown);
    for (int broker = 1; broker <= 3; ++broker) cluster->kill(broker);
    env.run_for(10ms);
    send(3, 3);  // nobody ever got it
    ASSERT_TRUE(finish(5s));
    ASSERT_EQ(failures.size(), 3U);
    EXPECT_EQ(failures[2].message.find("not known"), std::string::npos);
}

// A thousand small disasters: whatever the brokers do, the log ends as the input was.
TEST_F(ClientProducer, ChaosKeepsOrderAndOnce) {
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        FakeEnv world;
        FakeCluster brokers(world, 4);
        Bootstrap bootstrap;
        bootstrap.brokers = brokers.endpoints();
        Router route(world, bootstrap);
        ProducerOptions options;
        options.topic = "t";
        options.batch_bytes = 150;
        std::uint32_t done = 0;
        bool failed = false;
        Producer chaotic(route, options, [&](const BatchReport& report) {
            done += report.records;
            failed |= !report.outcome;
        });
        for (std::uint64_t i = 0; i < seed; ++i) world.random();
        const auto chance = [&world](std::uint64_t percent) { return (world.random() >> 20) % 100 < percent; };
        bool calm = false;
        brokers.refuse = [&](int, const protocol::BatchView&) -> std::optional<Error> {
            if (calm || !chance(10)) return std::nullopt;
            return Error{chance(50) ? ErrorCode::kBusy : ErrorCode::kNoQuorum, "not now"};
        };
        brokers.answers = [&](const protocol::BatchView&) { return calm || !chance(3); };
        bool started = false;
        route.start();
        chaotic.start([&](const Result<void>& result) { started = result.has_value(); });
        ASSERT_TRUE(world.run_until([&] { return started; }, 5s));
        int sent = 0;
        int killed = 0;
        for (int round = 0; round < 60; ++round) {
            for (int i = 0; i < 5; ++i) ASSERT_TRUE(chaotic.send({{}, std::to_string(sent++)}));
            world.run_for(Duration(static_cast<std::int64_t>(world.random() % 20'000'000)));
            if (chance(4) && killed < 3) {
                const int victim = brokers.owner();
                chance(50) ? brokers.kill(victim) : brokers.silence(victim);
                world.run_for(200ms);
                brokers.remove(victim);
                ++killed;
            }
        }
        calm = true;
        chaotic.flush();
        ASSERT_TRUE(world.run_until([&] { return chaotic.idle(); }, 60s)) << "seed " << seed;
        EXPECT_FALSE(failed) << "seed " << seed;
        ASSERT_EQ(brokers.values(), numbers(0, sent - 1)) << "seed " << seed;
        EXPECT_EQ(done, static_cast<std::uint32_t>(sent));
    }
}

}  // namespace
}  // namespace logstream::client::test
