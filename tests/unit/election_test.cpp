#include <gmock/gmock.h>

#include <vector>

#include "internal/election/lcr.h"

// One node's part: a message in, messages and an outcome out. election_ring_test.cpp lets whole rings play.
namespace logstream::election {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Kind = Message::Kind;

constexpr NodeId node(std::uint64_t value) { return NodeId{value}; }

std::vector<NodeId> ring_of(std::initializer_list<std::uint64_t> values) {
    std::vector<NodeId> ring;
    for (const auto value : values) ring.emplace_back(value);
    return ring;
}

TEST(Election, ARingOfOneWinsAtOnce) {
    for (const auto& reachable : {ring_of({}), ring_of({5}), ring_of({5, 0, 5})}) {
        Election election(node(5));
        const Output output = election.start(ElectionId{1}, reachable);
        EXPECT_EQ(output.outcome, Outcome::kWon);
        EXPECT_EQ(output.winner, node(5));
        EXPECT_THAT(output.sends, IsEmpty());
        EXPECT_FALSE(election.running());
    }
}

TEST(Election, TheInitiatorMakesTheRingOfTheReachableAndItself) {
    Election election(node(5));
    const Output output = election.start(ElectionId{1}, ring_of({9, 2, 7, 2}));
    EXPECT_EQ(output.outcome, Outcome::kRunning);
    EXPECT_THAT(output.sends,
                ElementsAre(Send{node(7), {Kind::kElection, ElectionId{1}, node(5), node(5), ring_of({2, 5, 7, 9})}}));
}

TEST(Election, ALesserCandidateIsReplacedOnceAndThenSwallowed) {
    Election election(node(5));
    Message message{Kind::kElection, ElectionId{1}, node(2), node(2), ring_of({2, 4, 5, 9})};
    Output output = election.receive(message);
    ASSERT_THAT(output.sends, SizeIs(1));
    EXPECT_EQ(output.sends[0].to, node(9));
    EXPECT_EQ(output.sends[0].message.candidate, node(5));
    message.candidate = node(4);
    output = election.receive(message);
    EXPECT_THAT(output.sends, IsEmpty());
    EXPECT_EQ(output.outcome, Outcome::kRunning);
}

TEST(Election, AGreaterCandidateIsForwardedUnchanged) {
    Election election(node(5));
    const Message message{Kind::kElection, ElectionId{1}, node(2), node(9), ring_of({2, 4, 5, 9})};
    EXPECT_THAT(election.receive(message).sends, ElementsAre(Send{node(9), message}));
}

TEST(Election, ADeadSuccessorEndsAllElectionsThroughItAndBeginsOne) {
    Election election(node(5));
    election.start(ElectionId{1}, ring_of({2, 7, 9}));
    election.receive({Kind::kElection, ElectionId{2}, node(2), node(2), ring_of({2, 4, 5, 7})});
    const Output output = election.successor_failed(node(7), ElectionId{3});
    EXPECT_EQ(output.outcome, Outcome::kRunning);
    EXPECT_THAT(output.sends,
                ElementsAre(Send{node(9), {Kind::kElection, ElectionId{3}, node(5), node(5), ring_of({2, 4, 5, 9})}}));
    // The second of the two sends fails, too.
    EXPECT_EQ(election.successor_failed(node(7), ElectionId{4}).outcome, Outcome::kNone);
    // What comes of the given-up elections changes nothing.
    EXPECT_EQ(election.receive({Kind::kElection, ElectionId{2}, node(2), node(7), ring_of({2, 4, 5, 7})}).outcome,
              Outcome::kNone);
    EXPECT_TRUE(election.running());
}

TEST(Election, LosingTheLastOtherMemberWinsAtOnce) {
    Election election(node(5));
    election.start(ElectionId{1}, ring_of({7}));
    const Output output = election.successor_failed(node(7), ElectionId{2});
    EXPECT_EQ(output.outcome, Outcome::kWon);
    EXPECT_EQ(output.winner, node(5));
}

TEST(Election, ADeadNodeThatIsNotNextOnTheRingRestartsNothing) {
    Election election(node(5));
    election.start(ElectionId{1}, ring_of({2, 7, 9}));
    EXPECT_EQ(election.successor_failed(node(9), ElectionId{2}).outcome, Outcome::kNone);
    EXPECT_TRUE(election.running());
}

TEST(Election, AVictoryThatCannotBeDeliveredRestartsNothing) {
    Election election(node(9));
    election.start(ElectionId{1}, ring_of({2, 5}));
    ASSERT_EQ(election.receive({Kind::kElection, ElectionId{1}, node(9), node(9), ring_of({2, 5, 9})}).outcome,
              Outcome::kWon);
    const Output output = election.successor_failed(node(2), ElectionId{2});
    EXPECT_EQ(output.outcome, Outcome::kNone);
    EXPECT_THAT(output.sends, IsEmpty());
}

TEST(Election, AnAbandonedElectionIsDeadAndANewOneRuns) {
    Election election(node(9));
    const Message back{Kind::kElection, ElectionId{1}, node(9), node(9), ring_of({2, 9})};
    election.start(ElectionId{1}, ring_of({2}));
    EXPECT_TRUE(election.running());
    EXPECT_EQ(election.abandon().outcome, Outcome::kNone);
    EXPECT_FALSE(election.running());
    EXPECT_EQ(election.receive(back).outcome, Outcome::kNone);
    EXPECT_EQ(election.start(ElectionId{2}, ring_of({2})).outcome, Outcome::kRunning);
}

TEST(Election, StartingAnewGivesUpOnesOwnOpenElectionOnly) {
    Election election(node(9));
    const Message others{Kind::kElection, ElectionId{7}, node(2), node(2), ring_of({2, 9})};
    election.start(ElectionId{1}, ring_of({2}));
    election.receive(others);
    election.start(ElectionId{2}, ring_of({2}));
    const auto back = [](ElectionId id, NodeId initiator) {
        return Message{Kind::kElection, id, initiator, node(9), ring_of({2, 9})};
    };
    EXPECT_EQ(election.receive(back(ElectionId{1}, node(9))).outcome, Outcome::kNone);
    EXPECT_EQ(election.receive(back(ElectionId{7}, node(2))).outcome, Outcome::kWon);
    EXPECT_EQ(election.receive(back(ElectionId{2}, node(9))).outcome, Outcome::kWon);
}

TEST(Election, AnIdInUseStartsNothing) {
    Election election(node(9));
    election.start(ElectionId{1}, ring_of({2}));
    const Output output = election.start(ElectionId{1}, ring_of({2, 3}));
    EXPECT_EQ(output.outcome, Outcome::kNone);
    EXPECT_THAT(output.sends, IsEmpty());
}

TEST(Election, AnOverlongRingKeepsTheGreatestAndSelf) {
    std::vector<NodeId> reachable;
    for (std::uint64_t i = 1; i <= 100; ++i) reachable.emplace_back(i);
    Election election(node(3));
    const Output output = election.start(ElectionId{1}, reachable);
    ASSERT_THAT(output.sends, SizeIs(1));
    const auto& ring = output.sends[0].message.ring;
    EXPECT_THAT(ring, SizeIs(kMaxRing));
    EXPECT_EQ(ring.front(), node(3));
    EXPECT_EQ(ring[1], node(38));
    EXPECT_EQ(ring.back(), node(100));
}

TEST(Election, MalformedMessagesAreIgnored) {
    const Message good{Kind::kElection, ElectionId{1}, node(2), node(2), ring_of({2, 5, 9})};
    std::vector<Message> bad;
    const auto with_ring = [&](std::vector<NodeId> ring) {
        bad.push_back(good);
        bad.back().ring = std::move(ring);
    };
    with_ring({});
    with_ring(ring_of({5}));           // nobody but us
    with_ring(ring_of({2, 7, 9}));     // without us
    with_ring(ring_of({5, 2, 9}));     // unsorted
    with_ring(ring_of({2, 5, 5, 9}));  // twice
    with_ring(ring_of({0, 2, 5, 9}));  // nobody
    with_ring(ring_of({5, 9}));        // without its initiator
    std::vector<NodeId> overlong;
    for (std::uint64_t i = 1; i <= kMaxRing + 1; ++i) overlong.emplace_back(i);
    with_ring(overlong);
    bad.push_back(good);
    bad.back().candidate = node(7);  // stands outside the ring
    bad.push_back(good);
    bad.back().kind = static_cast<Kind>(200);
    bad.push_back(good);
    bad.back().kind = Kind::kVictory;  // of an election that we never saw
    for (const Message& message : bad) {
        Election election(node(5));
        const Output output = election.receive(message);
        EXPECT_EQ(output.outcome, Outcome::kNone);
        EXPECT_THAT(output.sends, IsEmpty());
        EXPECT_FALSE(election.running());
    }
    overlong.pop_back();
    Election election(node(5));
    with_ring(overlong);
    EXPECT_EQ(election.receive(bad.back()).outcome, Outcome::kRunning) << "a ring of the greatest length is fine";
}

TEST(Election, MessagesThatContradictTheElectionAreIgnored) {
    Election election(node(5));
    const Message good{Kind::kElection, ElectionId{1}, node(2), node(2), ring_of({2, 5, 9})};
    ASSERT_THAT(election.receive(good).sends, SizeIs(1));
    Message other_ring = good;
    other_ring.ring = ring_of({2, 5, 7});
    other_ring.candidate = node(5);
    EXPECT_EQ(election.receive(other_ring).outcome, Outcome::kNone);
    Message other_initiator = good;
    other_initiator.initiator = node(9);
    EXPECT_EQ(election.receive(other_initiator).outcome, Outcome::kNone);
    Message false_victory = good;
    false_victory.kind = Kind::kVictory;
    for (const NodeId candidate : good.ring) {  // none of them passed us and is the greatest
        false_victory.candidate = candidate;
        EXPECT_EQ(election.receive(false_victory).outcome, Outcome::kNone);
    }
    Message greater = good;
    greater.candidate = node(9);
    ASSERT_THAT(election.receive(greater).sends, SizeIs(1));
    Message own = good;
    own.candidate = node(5);
    EXPECT_EQ(election.receive(own).outcome, Outcome::kRunning) << "our own id cannot have passed the greater one";
    EXPECT_TRUE(election.running());
}

TEST(Election, OwnCandidacyFromAnUnknownElectionIsNoVictory) {
    Election election(node(9));  // as if restarted after it sent its candidacy
    for (const NodeId initiator : {node(2), node(9)}) {
        const Output output = election.receive({Kind::kElection, ElectionId{1}, initiator, node(9), ring_of({2, 9})});
        EXPECT_EQ(output.outcome, Outcome::kNone);
        EXPECT_THAT(output.sends, IsEmpty());
    }
}

TEST(Election, OldestElectionsAreForgotten) {
    Election election(node(5));
    const auto message = [](std::uint64_t id) {
        return Message{Kind::kElection, ElectionId{id}, node(2), node(2), ring_of({2, 5, 9})};
    };
    for (std::uint64_t id = 1; id <= kMaxElections; ++id) ASSERT_THAT(election.receive(message(id)).sends, SizeIs(1));
    EXPECT_THAT(election.receive(message(1)).sends, IsEmpty()) << "still known";
    EXPECT_THAT(election.receive(message(kMaxElections + 1)).sends, SizeIs(1));
    EXPECT_THAT(election.receive(message(2)).sends, IsEmpty()) << "still known";
    EXPECT_THAT(election.receive(message(1)).sends, SizeIs(1)) << "forgotten: joined anew, with one message";
}

}  // namespace
}  // namespace logstream::election
