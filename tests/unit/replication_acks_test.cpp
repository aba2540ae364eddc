// Acknowledgements: who has what, what is committed, who is answered, and when a receiver says so.
#include <gmock/gmock.h>

#include <algorithm>

#include "internal/replication/ack_coalescer.h"
#include "internal/replication/ack_tracker.h"
#include "internal/replication/commit_queue.h"
#include "internal/replication/pending_acks.h"
#include "tests/unit/replication_samples.h"

namespace logstream::replication {
namespace {

using namespace samples;
using testing::ElementsAre;
using Update = AckTracker::Update;

std::vector<NodeId> nodes(std::size_t n) {
    std::vector<NodeId> out;
    for (std::uint64_t i = 1; i <= n; ++i) out.push_back(NodeId{i});
    return out;
}

// Node 1 is the owner; `sent` frames are out.
AckTracker tracker(std::size_t members, std::uint64_t sent) {
    AckTracker out(nodes(members), NodeId{1}, Sequence{1});
    out.sent(Sequence{sent}, kStart);
    return out;
}

Update ack(AckTracker& tracker, std::uint64_t node, std::uint64_t durable, TimePoint now = kStart) {
    return tracker.update(NodeId{node}, Sequence{durable}, Sequence{durable}, now);
}

TEST(AckTracker, CommitsWhatAMajorityHas) {
    AckTracker t = tracker(5, 100);
    ack(t, 2, 50);
    ack(t, 3, 60);
    EXPECT_EQ(t.committed(), Sequence{0}) << "two of five";
    t.own_durable(Sequence{55}, kStart);
    EXPECT_EQ(t.committed(), Sequence{50}) << "the own log counts like any other";
    ack(t, 4, 100);
    EXPECT_EQ(t.committed(), Sequence{55});
    EXPECT_EQ(t.stable(), Sequence{0});
    ack(t, 5, 10);
    EXPECT_EQ(t.stable(), Sequence{10});
}

TEST(AckTracker, HalfIsNoMajority) {
    AckTracker two = tracker(2, 10);
    two.own_durable(Sequence{10}, kStart);
    EXPECT_EQ(two.committed(), Sequence{0});
    ack(two, 2, 4);
    EXPECT_EQ(two.committed(), Sequence{4});

    AckTracker four = tracker(4, 10);
    four.own_durable(Sequence{10}, kStart);
    ack(four, 2, 9);
    EXPECT_EQ(four.committed(), Sequence{0});
    ack(four, 3, 8);
    EXPECT_EQ(four.committed(), Sequence{8});
}

TEST(AckTracker, AloneTheOwnDiskCommits) {
    AckTracker t = tracker(1, 0);
    t.own_durable(Sequence{3}, kStart);
    EXPECT_EQ(t.committed(), Sequence{3});
    EXPECT_EQ(t.stable(), Sequence{3});
    EXPECT_EQ(t.slowest(kStart + 1h), std::nullopt);
}

TEST(AckTracker, OldAndImpossibleAcknowledgementsChangeNothing) {
    AckTracker t = tracker(3, 10);
    t.own_durable(Sequence{10}, kStart);
    EXPECT_EQ(ack(t, 2, 5), Update::kAdvanced);
    EXPECT_EQ(ack(t, 2, 5), Update::kOld);
    EXPECT_EQ(ack(t, 2, 4), Update::kOld);
    EXPECT_EQ(ack(t, 2, 11), Update::kInvalid) << "not sent yet";
    EXPECT_EQ(ack(t, 9, 6), Update::kInvalid) << "no member";
    EXPECT_EQ(ack(t, 1, 6), Update::kInvalid) << "ourselves, from the network";
    EXPECT_EQ(t.update(NodeId{3}, Sequence{6}, Sequence{5}, kStart), Update::kInvalid) << "durable before received";
    EXPECT_EQ(t.committed(), Sequence{5});
    EXPECT_EQ(t.invalid(), 4u);
}

TEST(AckTracker, DeadMemberIsTheSlowestSinceItWasFirstBehind) {
    AckTracker t = tracker(3, 0);
    t.sent(Sequence{1}, kStart);
    t.own_durable(Sequence{1}, kStart + 1s);
    ack(t, 2, 1, kStart + 1s);
    t.sent(Sequence{2}, kStart + 2s);
    const auto slow = t.slowest(kStart + 3s);
    ASSERT_TRUE(slow);
    EXPECT_EQ(slow->node, NodeId{3});
    EXPECT_EQ(slow->durable, Sequence{0});
    EXPECT_EQ(slow->behind_for, 3s);
}

TEST(AckTracker, MemberThatKeepsUpUnderLoadIsNeverLongBehind) {
    AckTracker t = tracker(2, 0);
    TimePoint now = kStart;
    for (std::uint64_t s = 1; s <= 1000; ++s, now += 1ms) {
        t.sent(Sequence{s}, now);
        t.own_durable(Sequence{s}, now);
        if (s > 5) ack(t, 2, s - 5, now);  // always five behind
        const auto slow = t.slowest(now);
        ASSERT_TRUE(slow);
        EXPECT_LE(slow->behind_for, 5ms);
    }
}

TEST(AckTracker, MemberThatCreepsIsSeenAsSlow) {
    AckTracker t = tracker(2, 1000);
    for (std::uint64_t s = 1; s <= 500; ++s) ack(t, 2, s, kStart + s * 10ms);
    EXPECT_EQ(t.slowest(kStart + 5s)->behind_for, 5s);
}

TEST(AckTracker, IdleSessionHasNoSlowMember) {
    AckTracker t = tracker(3, 0);
    EXPECT_EQ(t.slowest(kStart + 1h), std::nullopt);
    t.sent(Sequence{1}, kStart + 1h);
    EXPECT_EQ(t.slowest(kStart + 1h)->behind_for, 0s);
}

TEST(AckTracker, AgreesWithCountingByHand) {
    Random random{5};
    for (int round = 0; round < 200; ++round) {
        const std::size_t n = random.between(1, 7);
        AckTracker t = tracker(n, 1000);
        std::vector<std::uint64_t> durable(n, 0);
        for (int i = 0; i < 50; ++i) {
            const std::size_t who = random.below(n);
            const std::uint64_t to = random.below(1000);
            if (who == 0) {
                t.own_durable(Sequence{to}, kStart);
            } else {
                ack(t, who + 1, to);
            }
            durable[who] = std::max(durable[who], to);
            std::uint64_t committed = 0;
            for (const std::uint64_t candidate : durable) {
                const auto holders = std::ranges::count_if(durable, [&](std::uint64_t d) { return d >= candidate; });
                if (2 * static_cast<std::size_t>(holders) > n) committed = std::max(committed, candidate);
            }
            ASSERT_EQ(t.committed(), Sequence{committed});
            ASSERT_EQ(t.stable(), Sequence{std::ranges::min(durable)});
        }
    }
}

std::vector<std::pair<std::uint64_t, std::int64_t>> advance(CommitQueue& queue, std::uint64_t committed) {
    std::vector<std::pair<std::uint64_t, std::int64_t>> out;
    queue.advance(Sequence{committed},
                  [&](StreamId s, Offset end) { out.emplace_back(s.topic.value - 100, end.value); });
    return out;
}

TEST(CommitQueue, GivesHighWatermarksInOrderUpToTheFrame) {
    CommitQueue queue(10);
    EXPECT_TRUE(queue.push(Sequence{1}, stream(1), Offset{10}));
    EXPECT_TRUE(queue.push(Sequence{1}, stream(2), Offset{5}));
    EXPECT_TRUE(queue.push(Sequence{4}, stream(1), Offset{20}));
    EXPECT_THAT(advance(queue, 0), ElementsAre());
    EXPECT_THAT(advance(queue, 3), ElementsAre(std::pair(1, 10), std::pair(2, 5))) << "inside a fragmented message";
    EXPECT_THAT(advance(queue, 1), ElementsAre());
    EXPECT_THAT(advance(queue, 4), ElementsAre(std::pair(1, 20)));
    EXPECT_TRUE(queue.empty());
}

TEST(CommitQueue, MessagesOfOneStreamInOneFrameAreOneEntry) {
    CommitQueue queue(2);
    for (std::int64_t end = 1; end <= 100; ++end) EXPECT_TRUE(queue.push(Sequence{1}, stream(1), Offset{end}));
    EXPECT_EQ(queue.size(), 1u);
    EXPECT_THAT(advance(queue, 1), ElementsAre(std::pair(1, 100)));
}

TEST(CommitQueue, IsBounded) {
    CommitQueue queue(2);
    EXPECT_TRUE(queue.push(Sequence{1}, stream(1), Offset{1}));
    EXPECT_TRUE(queue.push(Sequence{2}, stream(1), Offset{2}));
    EXPECT_TRUE(queue.full());
    EXPECT_FALSE(queue.push(Sequence{3}, stream(1), Offset{3}));
    EXPECT_EQ(queue.size(), 2u);
}

std::vector<std::uint64_t> values(const std::vector<Cookie>& cookies) {
    std::vector<std::uint64_t> out;
    for (const Cookie c : cookies) out.push_back(c.value);
    return out;
}

TEST(PendingAcks, EachLevelWaitsForItsOwn) {
    PendingAcks pending(10);
    EXPECT_TRUE(pending.add(AckLevel::kAll, Sequence{1}, Cookie{1}));
    EXPECT_TRUE(pending.add(AckLevel::kQuorum, Sequence{1}, Cookie{2}));
    EXPECT_TRUE(pending.add(AckLevel::kOwner, Sequence{1}, Cookie{3}));
    EXPECT_THAT(values(pending.take_ready(Sequence{0}, Sequence{0}, Sequence{0})), ElementsAre());
    EXPECT_THAT(values(pending.take_ready(Sequence{1}, Sequence{0}, Sequence{0})), ElementsAre(3));
    EXPECT_THAT(values(pending.take_ready(Sequence{1}, Sequence{1}, Sequence{0})), ElementsAre(2));
    EXPECT_THAT(values(pending.take_ready(Sequence{1}, Sequence{1}, Sequence{1})), ElementsAre(1));
}

TEST(PendingAcks, AnswersComeInTheOrderOfTheRequestsWhateverTheLevels) {
    PendingAcks pending(10);
    EXPECT_TRUE(pending.add(AckLevel::kQuorum, Sequence{1}, Cookie{1}));
    EXPECT_TRUE(pending.add(AckLevel::kOwner, Sequence{1}, Cookie{2}));
    EXPECT_TRUE(pending.add(AckLevel::kAll, Sequence{2}, Cookie{3}));
    EXPECT_TRUE(pending.add(AckLevel::kOwner, Sequence{3}, Cookie{4}));
    EXPECT_THAT(values(pending.take_ready(Sequence{3}, Sequence{3}, Sequence{3})), ElementsAre(1, 2, 3, 4));
}

TEST(PendingAcks, RetryIsAnsweredWhenTheOriginalIs) {
    PendingAcks pending(10);
    EXPECT_TRUE(pending.add(AckLevel::kQuorum, Sequence{4}, Cookie{1}));
    EXPECT_TRUE(pending.add(AckLevel::kQuorum, Sequence{9}, Cookie{2}));
    EXPECT_TRUE(pending.add(AckLevel::kQuorum, Sequence{4}, Cookie{3}));
    EXPECT_THAT(values(pending.take_ready(Sequence{9}, Sequence{4}, Sequence{0})), ElementsAre(1, 3));
}

TEST(PendingAcks, FreezeTakesAll) {
    PendingAcks pending(10);
    EXPECT_TRUE(pending.add(AckLevel::kAll, Sequence{1}, Cookie{1}));
    EXPECT_TRUE(pending.add(AckLevel::kOwner, Sequence{2}, Cookie{2}));
    const auto all = pending.take_all();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0].level, AckLevel::kAll);
    EXPECT_EQ(all[0].cookie, Cookie{1});
    EXPECT_EQ(all[1].sequence, Sequence{2});
    EXPECT_EQ(pending.size(), 0u);
}

TEST(PendingAcks, IsBounded) {
    PendingAcks pending(2);
    EXPECT_TRUE(pending.add(AckLevel::kAll, Sequence{1}, Cookie{1}));
    EXPECT_TRUE(pending.add(AckLevel::kOwner, Sequence{1}, Cookie{2}));
    EXPECT_FALSE(pending.add(AckLevel::kQuorum, Sequence{1}, Cookie{3}));
}

constexpr AckCoalescer::Options kCoalescing{.frames = 10, .max_delay = 1ms};

std::optional<std::uint64_t> poll(AckCoalescer& coalescer, TimePoint now) {
    const auto ack = coalescer.poll(now);
    return ack ? std::optional(ack->durable.value) : std::nullopt;
}

// All frames are whole messages.
void receive(AckCoalescer& coalescer, std::uint64_t received, std::uint64_t highest, TimePoint now = kStart) {
    coalescer.received(Sequence{received}, Sequence{received}, Sequence{highest}, now);
}

TEST(AckCoalescer, AtOnceWhenNothingMoreIsInFlight) {
    AckCoalescer c(kCoalescing);
    EXPECT_EQ(poll(c, kStart), std::nullopt);
    receive(c, 3, 3);
    EXPECT_EQ(poll(c, kStart), std::nullopt) << "not durable yet";
    c.durable(Sequence{3}, kStart);
    EXPECT_EQ(poll(c, kStart), 3);
    EXPECT_EQ(poll(c, kStart + 1s), std::nullopt) << "said once";
    EXPECT_EQ(c.next_deadline(), TimePoint::max());
}

TEST(AckCoalescer, OtherwiseByTime) {
    AckCoalescer c(kCoalescing);
    receive(c, 5, 8);
    c.durable(Sequence{2}, kStart);
    c.durable(Sequence{4}, kStart + 500us);
    EXPECT_EQ(poll(c, kStart + 900us), std::nullopt);
    EXPECT_EQ(c.next_deadline(), kStart + 1ms);
    EXPECT_EQ(poll(c, kStart + 1ms), 4);
}

TEST(AckCoalescer, OrByCount) {
    AckCoalescer c(kCoalescing);
    receive(c, 50, 60);
    c.durable(Sequence{9}, kStart);
    EXPECT_EQ(poll(c, kStart), std::nullopt);
    c.durable(Sequence{10}, kStart);
    EXPECT_EQ(poll(c, kStart), 10);
}

// A message larger than the window: its frames are acknowledged while it is incomplete, as soon as all before is
// durable.
TEST(AckCoalescer, FramesOfAnIncompleteMessageCountWithWhatIsDurableBefore) {
    AckCoalescer c(kCoalescing);
    c.received(Sequence{7}, Sequence{2}, Sequence{7}, kStart);
    EXPECT_EQ(poll(c, kStart), std::nullopt) << "the message before is not durable";
    c.durable(Sequence{2}, kStart);
    EXPECT_EQ(poll(c, kStart), 7);
    c.received(Sequence{9}, Sequence{9}, Sequence{9}, kStart);
    EXPECT_EQ(poll(c, kStart + 1s), std::nullopt) << "complete now, so it needs the disk";
    EXPECT_EQ(c.position(), Sequence{7}) << "never falls";
    c.durable(Sequence{9}, kStart + 1s);
    EXPECT_EQ(poll(c, kStart + 1s), 9);
}

TEST(AckCoalescer, NewConnectionHearsThePositionAgain) {
    AckCoalescer c(kCoalescing);
    receive(c, 3, 3);
    c.durable(Sequence{3}, kStart);
    EXPECT_EQ(poll(c, kStart), 3);
    c.repeat();
    EXPECT_EQ(poll(c, kStart), 3);
    EXPECT_EQ(poll(c, kStart), std::nullopt);
}

}  // namespace
}  // namespace logstream::replication
