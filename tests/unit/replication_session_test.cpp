// A whole session under faults: every part of the room at once, from seeds (tests/unit/replication_cluster.h).
#include "tests/unit/replication_cluster.h"

namespace logstream::replication::testing {
namespace {

Plan plan_of(std::uint64_t seed) {
    Random random{seed};
    Plan plan;
    plan.seed = seed;
    plan.receivers = random.between(1, 4);
    plan.messages = random.between(50, 300);
    plan.frame_bytes = std::array{256, 1472, 8972}[random.below(3)];
    plan.max_message_bytes = random.chance(0.3) ? 60'000 : 5'000;
    plan.window.frames = random.between(2, 80);
    plan.window.bytes = random.between(1, 60) * plan.frame_bytes;  // often less than the largest message
    plan.max_flush = std::array<Duration, 3>{0ms, 1ms, 8ms}[random.below(3)];
    plan.faults.loss = random.chance(0.2) ? 0 : 0.25 * static_cast<double>(random.below(1000)) / 1000;
    plan.faults.duplicate = random.chance(0.5) ? 0 : 0.2;
    plan.faults.damage = random.chance(0.5) ? 0 : 0.02;
    plan.faults.max_delay = plan.faults.min_delay + std::array<Duration, 3>{0us, 300us, 5ms}[random.below(3)];
    return plan;
}

class Session : public ::testing::TestWithParam<std::uint64_t> {};

// Eight ranges, so that one that fails is soon run again alone.
INSTANTIATE_TEST_SUITE_P(Seeds, Session, ::testing::Range<std::uint64_t>(0, 8));

TEST_P(Session, EverythingArrivesOnceInOrderWhateverTheNetworkDoes) {
    constexpr std::uint64_t kSeeds = 50;
    for (std::uint64_t seed = GetParam() * kSeeds; seed < (GetParam() + 1) * kSeeds; ++seed) {
        SCOPED_TRACE(::testing::Message() << "seed " << seed);
        Cluster cluster(plan_of(seed));
        ASSERT_TRUE(cluster.run_until_done())
            << "sent " << cluster.sender.ring.last_sent().value << ", own " << cluster.sender.acks.own().value
            << ", receivers " << cluster.positions();
        ASSERT_NO_FATAL_FAILURE(cluster.check_logs());
        ASSERT_EQ(cluster.sender.committed_messages, cluster.plan.messages);
        ASSERT_EQ(cluster.sender.acks.slowest(cluster.world.now), std::nullopt);
    }
}

TEST(SessionOnAQuietNetwork, NothingIsAskedForOrSentTwice) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        Plan plan = plan_of(seed);
        plan.faults = {};
        Cluster cluster(plan);
        ASSERT_TRUE(cluster.run_until_done());
        EXPECT_EQ(cluster.nacks, 0u);
        EXPECT_EQ(cluster.sender.retransmit.counters().resent_frames, 0u);
        for (const auto& receiver : cluster.receivers) EXPECT_EQ(receiver->window.counters().duplicates, 0u);
    }
}

TEST(SessionUnderLoss, ResendsAreFewMoreThanLosses) {
    Plan plan{.messages = 5000, .faults = {.loss = 0.02}};
    Cluster cluster(plan);
    ASSERT_TRUE(cluster.run_until_done());
    const auto frames = static_cast<double>(cluster.sender.ring.last_sent().value);
    const auto resent = static_cast<double>(cluster.sender.retransmit.counters().resent_frames);
    EXPECT_GT(resent, 0.02 * frames);
    EXPECT_LT(resent, 3 * 0.02 * 2 * frames) << "two receivers";
}

TEST(SessionThatFallsSilent, LostTailIsFoundByHeartbeat) {
    Cluster cluster({.messages = 100});
    bool tail = false;
    cluster.heartbeats = false;
    cluster.swallow = [&](const Bytes& datagram) {
        tail = tail || protocol::decode_frame(datagram.span())->header.sequence >= Sequence{20};
        return tail;
    };
    EXPECT_FALSE(cluster.run_until_done(2s));
    EXPECT_EQ(cluster.nacks, 0u) << "without heartbeats nobody knows";
    for (const auto& receiver : cluster.receivers) EXPECT_FALSE(receiver->window.has_gap());

    cluster.swallow = nullptr;
    cluster.heartbeats = true;
    EXPECT_TRUE(cluster.run_until_done(2s));
    EXPECT_GT(cluster.nacks, 0u);
    cluster.check_logs();
}

TEST(SessionWithADeadMember, StableStopsCommitGoesOnToTheEndOfTheWindow) {
    Plan plan{.messages = 2000, .window = {64u << 10, 64}};
    Cluster cluster(plan);
    cluster.run_for(20ms);
    Receiver& dead = *cluster.receivers[1];
    dead.dead = true;
    cluster.run_for(3s);
    const Sequence stable = cluster.sender.acks.stable();
    EXPECT_EQ(stable, dead.acknowledged);
    EXPECT_EQ(cluster.sender.acks.committed(), cluster.sender.ring.last_sent()) << "the majority has what was sent";
    EXPECT_FALSE(cluster.sender.ring.can_send(plan.frame_bytes)) << "full: it holds back";
    EXPECT_LE(cluster.sender.ring.bytes_in_flight(), plan.window.bytes);
    EXPECT_LT(cluster.sender.committed_messages, plan.messages);

    const auto slow = cluster.sender.acks.slowest(cluster.world.now);
    ASSERT_TRUE(slow);
    EXPECT_EQ(slow->node, dead.node);
    EXPECT_GT(slow->behind_for, 2900ms);
}

// A member that was deaf for less than it takes to be removed catches up out of the ring.
TEST(SessionWithADeafMember, CatchesUpWhenItHearsAgain) {
    Cluster cluster({.messages = 1000});
    cluster.run_for(10ms);
    cluster.receivers[0]->dead = true;
    cluster.run_for(500ms);
    cluster.receivers[0]->dead = false;
    EXPECT_TRUE(cluster.run_until_done());
    cluster.check_logs();
}

TEST(SessionWhoseSenderIgnoresNacks, NeverEnds) {
    Cluster cluster({.messages = 200, .faults = {.loss = 0.05}});
    cluster.sender.heeds_nacks = false;
    EXPECT_FALSE(cluster.run_until_done(5s));
    EXPECT_GT(cluster.nacks, 10u) << "they go on asking";
    EXPECT_LT(cluster.nacks, 1000u) << "but ever more slowly";
}

TEST(SessionWithAMessageLargerThanTheWindow, ItPassesInPieces) {
    Plan plan{.messages = 30, .max_message_bytes = 200'000, .frame_bytes = 1472, .window = {16u << 10, 16}};
    Cluster cluster(plan);
    ASSERT_TRUE(cluster.run_until_done());
    cluster.check_logs();
}

}  // namespace
}  // namespace logstream::replication::testing
