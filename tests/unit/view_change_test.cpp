// Exchange, merge and install of one attempt.
#include <gmock/gmock.h>

#include "tests/unit/view_cases.h"

namespace logstream::view {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(ViewExchange, IsOverWhenEverybodyAnsweredRefusedOrIsOutOfReach) {
    const View v1 = view_of(1, "ABC");
    Change next = change(2, "ABC", {answer('A', v1, v1)});
    EXPECT_FALSE(next.all_heard());
    EXPECT_THAT(next.silent(), ElementsAre(node('B'), node('C')));
    next.on_unreachable(node('B'));
    EXPECT_FALSE(next.all_heard());
    next.on_refusal(node('C'), ViewNumber{7});
    EXPECT_TRUE(next.all_heard());
    next.on_answer(answer('B', v1, v1));  // late, and welcome
    EXPECT_TRUE(next.has_quorum());
}

TEST(ViewExchange, RefusalSaysWhatToBeat) {
    Change next = change(2, "AB", {answer('A')});
    EXPECT_FALSE(next.refused());
    EXPECT_EQ(next.greatest_number_seen(), ViewNumber{2});
    next.on_refusal(node('B'), ViewNumber{9});
    EXPECT_TRUE(next.refused());
    EXPECT_EQ(next.greatest_number_seen(), ViewNumber{9});
    next.on_refusal(node('B'), ViewNumber{4});
    EXPECT_EQ(next.greatest_number_seen(), ViewNumber{9});
}

TEST(ViewExchange, NumbersInAnswersAreSeen) {
    Change next = change(2, "AB", {answer('A')});
    next.on_answer(answer('B', {}, view_of(12, "BC")));
    EXPECT_EQ(next.greatest_number_seen(), ViewNumber{12});
}

TEST(ViewExchange, StrangersAndLateAnswersChangeNothing) {
    const View v1 = view_of(1, "ABC");
    Change next = change(2, "AB", {answer('A', v1, v1)});
    next.on_answer(answer('C', v1, v1));
    next.on_refusal(node('C'), ViewNumber{50});
    EXPECT_FALSE(next.has_quorum()) << "C was not invited";
    EXPECT_FALSE(next.refused());
    next.on_answer(answer('B', v1, v1));
    const View planned = next.plan().view;
    next.on_answer(answer('B', view_of(3, "BC", {v1}), v1));
    EXPECT_EQ(next.plan().view, planned) << "a number has one content";
}

TEST(ViewExchange, UnreachableAfterItsAnswerStillCounts) {
    const View v1 = view_of(1, "ABC");
    Change next = change(2, "AB", {answer('A', v1, v1), answer('B', v1, v1)});
    next.on_unreachable(node('B'));
    EXPECT_TRUE(next.has_quorum());
}

// Who was being taken into a cluster may hold some of its records and no view. They are no one else's.
TEST(ViewExchange, RecordsOfAnUnknownLineageFoundNone) {
    Change founding = change(1, "ABC", {answer('A'), answer('B'), answer('C', {}, {}, {holding(5, {{1, 0}})})});
    EXPECT_FALSE(founding.has_quorum());
    EXPECT_EQ(founding.what_is_missing(), "no quorum: C holds records but does not know its last view");
    Change without = change(1, "ABC", {answer('A'), answer('B')});
    EXPECT_TRUE(without.has_quorum());
    const View v1 = view_of(1, "A");
    Change old = change(2, "ABC", {answer('A', v1, v1), answer('B'), answer('C', {}, {}, {holding(5, {{1, 0}})})});
    EXPECT_TRUE(old.has_quorum()) << "somebody knows the view";
}

const StreamPlan& only_stream(Change& change) {
    EXPECT_THAT(change.plan().streams, SizeIs(1));
    return change.plan().streams.front();
}

TEST(ViewMerge, TakesTheLongestLogOfTheGreatestAcceptedView) {
    const View v1 = view_of(1, "ABC");
    Change next = change(2, "ABC",
                         {answer('A', v1, v1, {holding(5, {{1, 0}})}), answer('B', v1, v1, {holding(8, {{1, 0}})}),
                          answer('C', v1, v1, {holding(8, {{1, 0}})})});
    const StreamPlan& base = only_stream(next);
    EXPECT_EQ(base.log_end, Offset{8});
    EXPECT_THAT(base.sources, ElementsAre(node('B'), node('C')));
    EXPECT_THAT(base.epochs, ElementsAre(EpochStart{ViewNumber{1}, Offset{0}}));
}

TEST(ViewMerge, LongerTailOfAStaleMemberReplacesNothing) {
    const View v1 = view_of(1, "ABC");
    const View v2 = view_of(2, "BC", {v1});
    // A went on appending alone after 10 while 2 committed other records there.
    Change next =
        change(3, "ABC",
               {answer('A', v1, v1, {holding(99, {{1, 0}})}), answer('B', v2, v2, {holding(12, {{1, 0}, {2, 10}})}),
                answer('C', v2, v2, {holding(11, {{1, 0}, {2, 10}})})});
    const StreamPlan& base = only_stream(next);
    EXPECT_EQ(base.log_end, Offset{12});
    EXPECT_THAT(base.sources, ElementsAre(node('B')));
    EXPECT_THAT(base.epochs, SizeIs(2));
}

// View 2 wrote a record on A alone. View 3, of B and C, passed it over and committed others, but wrote nothing yet to
// the log of whoever answers now. The last record's epoch says A; the accepted view says C.
TEST(ViewMerge, GreatestAcceptedViewIsNotTheGreatestEpoch) {
    const View v2 = view_of(2, "ABC", {view_of(1, "ABC")});
    const View v3 = view_of(3, "BC", {v2});
    Change next = change(4, "CAB",
                         {answer('A', v2, v2, {holding(11, {{1, 0}, {2, 10}})}),
                          answer('C', v3, v3, {holding(10, {{1, 0}})}), answer('B', v3, v3, {holding(10, {{1, 0}})})});
    const StreamPlan& base = only_stream(next);
    EXPECT_EQ(base.log_end, Offset{10});
    EXPECT_THAT(base.sources, ElementsAre(node('B'), node('C')));
}

TEST(ViewMerge, AcceptorsOfALeftOutViewStillGiveTheBaseLog) {
    const View v1 = view_of(1, "ABC");
    const View v2 = view_of(2, "ABC", {v1});
    Change next = change(3, "ABC",
                         {answer('A', v2, v1, {holding(7, {{1, 0}})}), answer('B', v1, v1, {holding(9, {{1, 0}})}),
                          answer('C', v1, v1, {holding(7, {{1, 0}})})});
    EXPECT_THAT(numbers_of(next.plan().view.bases), ElementsAre(1)) << "two of three never accepted 2";
    EXPECT_EQ(only_stream(next).log_end, Offset{7}) << "B's tail becomes orphans";
}

StreamHolding damaged(StreamHolding log, std::int64_t from, std::int64_t to) {
    log.damaged_from = Offset{from};
    log.damaged_to = Offset{to};
    return log;
}

// View 3 began at 28, within the damage of A's log, which takes it to have begun behind.
TEST(ViewMerge, ADamagedLogIsNoBaseWhileOthersMakeAQuorum) {
    const View v3 = view_of(3, "ABC", {view_of(2, "ABC")});
    Change next = change(
        4, "ABC",
        {without_vote(answer('A', v3, v3, {damaged(holding(70, {{2, 0}, {3, 32}}), 28, 32)})),
         answer('B', v3, v3, {holding(63, {{2, 0}, {3, 28}})}), answer('C', v3, v3, {holding(53, {{2, 0}, {3, 28}})})});
    const StreamPlan& base = only_stream(next);
    EXPECT_EQ(base.log_end, Offset{63});
    EXPECT_EQ(base.epochs, (std::vector<EpochStart>{{ViewNumber{2}, Offset{0}}, {ViewNumber{3}, Offset{28}}}));
    EXPECT_THAT(base.sources, ElementsAre(node('B')));
}

// A served alone, so nobody else has what lies behind its damage; what the damage hid of its views is known elsewhere.
TEST(ViewMerge, TheViewsOfADamagedBaseLogComeFromOneThatIsWhole) {
    const View v3 = view_of(3, "ABC", {view_of(2, "ABC")});
    const View v4 = view_of(4, "A", {v3});
    Change next =
        change(5, "ABC",
               {without_vote(answer('A', v4, v4, {damaged(holding(70, {{2, 0}, {3, 32}, {4, 60}}), 28, 32)})),
                answer('B', v3, v3, {holding(55, {{2, 0}, {3, 28}})}), answer('C', v3, v3, {holding(20, {{2, 0}})})});
    EXPECT_TRUE(next.plan().counted_without_vote);
    const StreamPlan& base = only_stream(next);
    EXPECT_EQ(base.log_end, Offset{70});
    EXPECT_EQ(base.epochs, (std::vector<EpochStart>{
                               {ViewNumber{2}, Offset{0}}, {ViewNumber{3}, Offset{28}}, {ViewNumber{4}, Offset{60}}}));
    EXPECT_THAT(base.sources, ElementsAre(node('A')));
}

// A served alone, and the end of its log is damaged: what it acknowledged may be nowhere but there, and may be at B,
// which has not been heard. It waits, unless what lacks may as well be what was never flushed.
TEST(ViewMerge, ADamagedEndThatNobodyInReachHoldsIsNotGivenUp) {
    const View v1 = view_of(1, "AB");
    const View v2 = view_of(2, "A", {v1});
    const Answer a = without_vote(answer('A', v2, v2, {damaged(holding(5, {{1, 0}}), 5, 8)}));
    const Change alone = change(3, "A", {a});
    EXPECT_FALSE(alone.has_quorum());
    EXPECT_THAT(alone.what_is_missing(), HasSubstr("is damaged at A from offset 5 on, and nobody in reach holds"));
    const auto with_b = [&](std::int64_t end) {
        return change(3, "AB", {a, answer('B', v1, v1, {holding(end, {{1, 0}})})});
    };
    EXPECT_FALSE(with_b(7).has_quorum());
    Change mended = with_b(8);
    ASSERT_TRUE(mended.has_quorum());
    EXPECT_EQ(only_stream(mended).log_end, Offset{8});
    EXPECT_THAT(only_stream(mended).sources, ElementsAre(node('B')));

    Answer unflushed = a;
    unflushed.acknowledges_unflushed = true;
    EXPECT_TRUE(change(3, "A", {unflushed}).has_quorum());
    // A record that one of two members had is not committed, so nothing is lost with it.
    Answer of_two = a;
    of_two.accepted = of_two.chosen = v1;
    EXPECT_TRUE(change(3, "AB", {of_two, answer('B', v1, v1, {holding(7, {{1, 0}})})}).has_quorum());
}

// What survivors hold is the base log, though all of them may have lost some of it.
TEST(ViewMerge, SurvivorsWithoutAVoteGiveWhatTheyHold) {
    const View v2 = view_of(2, "ABC");
    Change::Options recovered;
    recovered.lineage = Change::Lineage::kRecovered;
    const Answer a = without_vote(answer('A', v2, v2, {damaged(holding(5, {{2, 0}}), 5, 8)}));
    Change alone = change(3, "A", {a}, recovered);
    ASSERT_TRUE(alone.has_quorum());
    EXPECT_EQ(only_stream(alone).log_end, Offset{5});
    EXPECT_THAT(only_stream(alone).sources, ElementsAre(node('A')));
    Change both = change(3, "AB", {a, answer('B', v2, v2, {holding(7, {{2, 0}})})}, recovered);
    EXPECT_EQ(only_stream(both).log_end, Offset{7});
}

// Two survivors end at one offset, and the view of that number is another one at each: only one has the base log.
TEST(ViewMerge, SurvivorsWithAnotherHistoryAreNoSources) {
    const View v2 = view_of(2, "ABC");
    Change::Options recovered;
    recovered.lineage = Change::Lineage::kRecovered;
    const auto of_view = [](std::uint64_t id) {
        StreamHolding out = holding(7, {{1, 0}, {2, 5}});
        out.epochs.back().id = ViewId{id};
        return out;
    };
    Change both = change(3, "AB", {answer('A', v2, v2, {of_view(11)}), answer('B', v2, v2, {of_view(12)})}, recovered);
    ASSERT_TRUE(both.has_quorum());
    const ViewId base = only_stream(both).epochs.back().id;
    EXPECT_THAT(only_stream(both).sources, ElementsAre(node(base == ViewId{11} ? 'A' : 'B')));
}

// Retention has removed at B and C what is damaged at A. Nobody could mend it, and nobody has to.
TEST(ViewMerge, AWholeLogTellsWhereTheBaseLogBegins) {
    const View v1 = view_of(1, "ABC");
    const auto from = [](std::int64_t start, StreamHolding out) {
        out.log_start = Offset{start};
        return out;
    };
    const Answer a = without_vote(answer('A', v1, v1, {damaged(from(10, holding(70, {{1, 0}})), 20, 30)}));
    Change with_votes = change(2, "ABC",
                               {a, answer('B', v1, v1, {from(40, holding(70, {{1, 0}}))}),
                                answer('C', v1, v1, {from(50, holding(70, {{1, 0}}))})});
    EXPECT_EQ(only_stream(with_votes).log_start, Offset{40});
    const View v2 = view_of(2, "AB", {v1});
    Answer a2 = a;
    a2.accepted = a2.chosen = v2;
    Change of_two = change(3, "AB", {a2, answer('B', v2, v2, {from(40, holding(70, {{1, 0}}))})});
    EXPECT_EQ(only_stream(of_two).log_start, Offset{40});
    Change only_damaged = change(3, "AB", {a2, answer('B', v2, v2, {from(40, holding(60, {{1, 0}}))})});
    EXPECT_EQ(only_stream(only_damaged).log_start, Offset{10}) << "the end is nowhere else";
}

TEST(ViewMerge, EveryStreamHasItsOwnSource) {
    const StreamId other{protocol::TopicId{17}, 3};
    const View v1 = view_of(1, "ABC");
    StreamHolding trimmed = holding(8, {{1, 0}});
    trimmed.log_start = Offset{3};
    Change next = change(2, "AB",
                         {answer('A', v1, v1, {holding(8, {{1, 0}}), holding(1, {{1, 0}}, other)}),
                          answer('B', v1, v1, {trimmed, holding(2, {{1, 0}}, other)})});
    const std::vector<StreamPlan>& streams = next.plan().streams;
    ASSERT_THAT(streams, SizeIs(2));
    EXPECT_EQ(streams[0].stream, kStream);
    EXPECT_EQ(streams[0].log_start, Offset{0}) << "the least among the sources";
    EXPECT_THAT(streams[0].sources, ElementsAre(node('A'), node('B')));
    EXPECT_THAT(streams[1].sources, ElementsAre(node('B')));
}

TEST(ViewMerge, StreamThatOnlyStaleMembersHoldIsNotInTheBaseLog) {
    const View v1 = view_of(1, "ABC");
    const View v2 = view_of(2, "BC", {v1});
    Change next =
        change(3, "BCA", {answer('A', v1, v1, {holding(4, {{1, 0}})}), answer('B', v2, v2), answer('C', v2, v2)});
    EXPECT_THAT(next.plan().streams, IsEmpty());
}

TEST(ViewMembers, BlankJoinerIsTakenIn) {
    const View v1 = view_of(1, "AB");
    Change next =
        change(2, "ABD",
               {answer('A', v1, v1, {holding(5, {{1, 0}})}), answer('B', v1, v1, {holding(5, {{1, 0}})}), answer('D')});
    EXPECT_EQ(members_of(next.plan().view), nodes("ABD"));
    EXPECT_EQ(next.plan().view.coordinator, node('A'));
    EXPECT_THAT(next.plan().view.bases, ElementsAre(v1.base()));
}

TEST(ViewMembers, NewRunOfAMemberReplacesTheOld) {
    const View v1 = view_of(1, "AB");
    Answer restarted = answer('B', v1, v1);
    restarted.member = member('B', 2);
    Change next = change(2, "AB", {answer('A', v1, v1), restarted});
    EXPECT_TRUE(next.plan().view.has(node('B'), run_of('B', 2)));
    EXPECT_FALSE(next.plan().view.has(node('B'), run_of('B', 1)));
}

TEST(ViewMembers, LeavingMemberGivesWhatItHoldsAndGoes) {
    const View v1 = view_of(1, "ABC");
    Change next = change(2, "ABC",
                         {answer('A', v1, v1, {holding(4, {{1, 0}})}), answer('B', v1, v1, {holding(4, {{1, 0}})}),
                          leaving(answer('C', v1, v1, {holding(6, {{1, 0}})}))});
    EXPECT_EQ(members_of(next.plan().view), nodes("AB"));
    EXPECT_EQ(only_stream(next).log_end, Offset{6});
    EXPECT_THAT(only_stream(next).sources, ElementsAre(node('C')));
    EXPECT_THAT(next.plan().holders, SizeIs(3)) << "it can still be fetched from";
}

TEST(ViewMembers, LeavingMemberStaysWhenTheQuorumNeedsIt) {
    const View v1 = view_of(1, "CBA");
    Change next = change(2, "AB", {answer('A', v1, v1), leaving(answer('B', v1, v1))});
    EXPECT_EQ(members_of(next.plan().view), nodes("AB"));
}

TEST(ViewMembers, LeavingCoordinatorIsAMember) {
    const View v1 = view_of(1, "ABC");
    Change next = change(2, "ABC", {leaving(answer('A', v1, v1)), answer('B', v1, v1), answer('C', v1, v1)});
    EXPECT_EQ(members_of(next.plan().view), nodes("ABC"));
}

TEST(ViewMembers, FarBehindMemberIsLeftOutUnlessNeeded) {
    const View v1 = view_of(1, "ABC");
    const Change::Options options{.max_behind_bytes = 1000};
    const Answer near = answer('B', v1, v1, {holding(95, {{1, 0}})});
    const Answer far = answer('C', v1, v1, {holding(10, {{1, 0}})});
    const Answer full = answer('A', v1, v1, {holding(100, {{1, 0}})});
    Change next = change(2, "ABC", {full, near, far}, options);
    EXPECT_EQ(members_of(next.plan().view), nodes("AB"));
    Change needed = change(2, "AC", {full, far}, options);
    EXPECT_EQ(members_of(needed.plan().view), nodes("AC"));
    Change blank = change(2, "ABD", {full, near, answer('D')}, options);
    EXPECT_EQ(members_of(blank.plan().view), nodes("AB")) << "who holds nothing lacks everything";
    // A log that begins where retention has come to is not as far away as its offsets say.
    StreamHolding trimmed = holding(100, {{1, 0}});
    trimmed.log_start = Offset{95};
    trimmed.bytes = 500;
    Change young = change(2, "AD", {answer('A', view_of(1, "A"), view_of(1, "A"), {trimmed}), answer('D')}, options);
    EXPECT_EQ(members_of(young.plan().view), nodes("AD"));
}

TEST(ViewMembers, WithoutAVoteDoesNotSpareALeavingMember) {
    const View v1 = view_of(1, "ABC");
    // A and the leaving B are the voters; C gives what it holds and cannot stand in for B.
    Change next =
        change(2, "ABC", {answer('A', v1, v1), leaving(answer('B', v1, v1)), without_vote(answer('C', v1, v1))});
    EXPECT_EQ(members_of(next.plan().view), nodes("ABC"));
}

std::vector<NodeId> ids(std::string_view letters) {
    const NodeSet set = nodes(letters);
    return {set.begin(), set.end()};
}

TEST(ViewTransport, MulticastOnlyWhenEveryMemberHearsEveryOther) {
    Answer a = answer('A');
    Answer b = answer('B');
    Answer c = answer('C');
    a.multicast_heard = ids("BC");
    b.multicast_heard = ids("AC");
    c.multicast_heard = ids("AB");
    EXPECT_TRUE(change(1, "ABC", {a, b, c}).plan().view.multicast);
    c.multicast_heard = ids("A");
    EXPECT_FALSE(change(1, "ABC", {a, b, c}).plan().view.multicast);
    EXPECT_TRUE(change(1, "ABC", {a, b, c}, {.multicast_required = true}).plan().view.multicast);
    c.multicast_heard = ids("AB");
    EXPECT_FALSE(change(1, "ABC", {a, b, c}, {.multicast_allowed = false}).plan().view.multicast);
    EXPECT_TRUE(change(1, "ABC", {a, b, leaving(answer('C'))}).plan().view.multicast) << "members count, others do not";
    EXPECT_TRUE(change(1, "A", {answer('A')}).plan().view.multicast);
}

TEST(ViewTransport, LeastWindowFrameAndVersionOfTheMembers) {
    Answer a = answer('A');
    a.member.version = 3;
    Answer b = answer('B');
    b.member.window_bytes = 4096;
    b.member.version = 2;
    Answer c = answer('C');
    c.member.frame_bytes = 576;
    c.member.version = 3;
    Change first = change(1, "ABC", {a, b, c});
    EXPECT_EQ(first.plan().view.window_bytes, 4096u);
    EXPECT_EQ(first.plan().view.frame_bytes, 576u);
    EXPECT_EQ(first.plan().view.version, 2u);
}

TEST(ViewInstall, NeedsAMajorityOfItsOwnMembers) {
    const View v1 = view_of(1, "A");
    Change next = change(2, "ABCD", {answer('A', v1, v1), answer('B'), answer('C'), answer('D')});
    ASSERT_TRUE(next.has_quorum());
    next.on_accepted(node('A'));
    EXPECT_FALSE(next.is_chosen()) << "nothing is planned yet";
    (void)next.plan();
    accept(next, "AB");
    EXPECT_FALSE(next.is_chosen()) << "half with the coordinator is a quorum, but no majority";
    accept(next, "BX");
    EXPECT_FALSE(next.is_chosen()) << "duplicates and strangers do not count";
    accept(next, "D");
    EXPECT_TRUE(next.is_chosen());
    EXPECT_TRUE(next.accepted_by(node('D')));
    EXPECT_FALSE(next.accepted_by(node('C')));
}

TEST(ViewInstall, NeedsAQuorumOfEveryBase) {
    const View v1 = view_of(1, "ABC");
    const View v2 = view_of(2, "BCD", {v1});
    // 2 may have been chosen: C of it is silent.
    Change next =
        change(3, "ABDEF", {answer('A', v1, v1), answer('B', v2, v1), answer('D', v2), answer('E'), answer('F')});
    ASSERT_TRUE(next.has_quorum());
    ASSERT_THAT(numbers_of(next.plan().view.bases), ElementsAre(1, 2));
    accept(next, "AEF");
    EXPECT_FALSE(next.is_chosen()) << "a majority of its own, a quorum of neither base";
    accept(next, "B");
    EXPECT_FALSE(next.is_chosen()) << "A and B of 1, but only B of 2";
    accept(next, "D");
    EXPECT_TRUE(next.is_chosen());
}

TEST(ViewInstall, IsLostWhenTooFewAreLeftToAccept) {
    const View v1 = view_of(1, "ABC");
    Change next = change(2, "ABC", {answer('A', v1, v1), answer('B', v1, v1), answer('C', v1, v1)});
    EXPECT_FALSE(next.can_be_chosen()) << "nothing is planned yet";
    (void)next.plan();
    next.on_not_accepted(node('B'));
    EXPECT_TRUE(next.can_be_chosen());
    accept(next, "A");
    next.on_not_accepted(node('A'));
    EXPECT_TRUE(next.can_be_chosen()) << "who has accepted has";
    next.on_not_accepted(node('C'));
    EXPECT_FALSE(next.can_be_chosen());
    accept(next, "C");
    EXPECT_TRUE(next.is_chosen()) << "its answer was only late";
}

TEST(ViewInstall, PlanNamesWhatIsChosen) {
    const View v1 = view_of(1, "ABC");
    const View v2 = view_of(2, "ABC", {v1});
    Change next = change(3, "AB", {answer('A', v2, v2), answer('B', v2, v1)});
    EXPECT_EQ(next.plan().chosen, v2);
    EXPECT_EQ(next.plan().view.bases.front(), v2.base());
    EXPECT_EQ(next.plan().view.number, ViewNumber{3});
}

}  // namespace
}  // namespace logstream::view
