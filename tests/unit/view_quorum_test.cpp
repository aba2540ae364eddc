// Which views' quorums a change needs, and when it has them.
#include <gmock/gmock.h>

#include "tests/unit/view_cases.h"

namespace logstream::view {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(ViewQuorum, IsAMajority) {
    const Base base = view_of(1, "ABCDE").base();
    EXPECT_FALSE(is_quorum(base, nodes("AB")));
    EXPECT_TRUE(is_quorum(base, nodes("CDE")));
    EXPECT_TRUE(is_majority(base, nodes("CDE")));
    EXPECT_EQ(count_members(base, nodes("DEXYZ")), 2u) << "strangers do not count";
}

TEST(ViewQuorum, ExactlyHalfNeedsTheCoordinator) {
    const Base four = view_of(1, "ABCD").base();
    EXPECT_TRUE(is_quorum(four, nodes("AD")));
    EXPECT_FALSE(is_quorum(four, nodes("BC")));
    EXPECT_FALSE(is_majority(four, nodes("AD"))) << "a record needs more than a quorum";
    const Base two = view_of(1, "BA").base();
    EXPECT_TRUE(is_quorum(two, nodes("B")));
    EXPECT_FALSE(is_quorum(two, nodes("A")));
}

// The claim that all rests on, tried on every pair of subsets of views of one to six.
TEST(ViewQuorum, TwoQuorumsShareAMemberAndOneSharesOneWithEveryMajority) {
    for (std::size_t size = 1; size <= 6; ++size) {
        const Base base = view_of(1, std::string_view("ABCDEF").substr(0, size)).base();
        const auto subset = [](std::size_t mask) {
            NodeSet out;
            for (char letter = 'A'; letter <= 'F'; ++letter)
                if ((mask >> (letter - 'A')) & 1) out.insert(node(letter));
            return out;
        };
        for (std::size_t a = 0; a < (1u << size); ++a)
            for (std::size_t b = 0; b < (1u << size); ++b)
                if ((a & b) == 0 && is_quorum(base, subset(a))) {
                    EXPECT_FALSE(is_quorum(base, subset(b)));
                    EXPECT_FALSE(is_majority(base, subset(b)));
                }
    }
}

TEST(ViewBases, NothingReportedMeansNoBases) {
    const Bases bases = bases_of({answer('A'), answer('B')});
    EXPECT_FALSE(bases.chosen);
    EXPECT_THAT(bases.all, IsEmpty());
}

TEST(ViewBases, NewestChosenViewReportedByAnybodyIsC) {
    const View v1 = view_of(1, "ABC");
    const View v4 = view_of(4, "BC", {v1});
    // A learner knows only what is chosen: it accepted nothing.
    const Bases bases = bases_of({answer('A', v1, v1), answer('D', {}, v4), answer('B', v4, v1)});
    ASSERT_TRUE(bases.chosen);
    EXPECT_EQ(*bases.chosen, v4);
    EXPECT_THAT(numbers_of(bases.all), ElementsAre(4));
}

TEST(ViewBases, AcceptedViewIsLeftOutWhenTooFewCanHaveAcceptedIt) {
    const View v1 = view_of(1, "ABC");
    const View v2 = view_of(2, "ABC", {v1});
    EXPECT_THAT(numbers_of(bases_of({answer('A', v2, v1), answer('B', v1, v1), answer('C', v1, v1)}).all),
                ElementsAre(1));
}

TEST(ViewBases, AcceptedViewIsKeptWhenAMemberDidNotAnswer) {
    const View v1 = view_of(1, "ABC");
    const View v2 = view_of(2, "ABC", {v1});
    EXPECT_THAT(numbers_of(bases_of({answer('A', v2, v1), answer('B', v1, v1)}).all), ElementsAre(1, 2));
}

TEST(ViewBases, AcceptedViewIsKeptWhenAMemberHasANewerOne) {
    const View v1 = view_of(1, "ABC");
    const View v2 = view_of(2, "ABC", {v1});
    const View v3 = view_of(3, "BCD", {v1, v2});
    // B may have accepted 2 before 3. 3 itself can have B alone.
    EXPECT_THAT(
        numbers_of(bases_of({answer('A', v2, v1), answer('B', v3, v1), answer('C', v1, v1), answer('D', {}, v1)}).all),
        ElementsAre(1, 2));
}

TEST(ViewBases, BasesOfAnAcceptedViewAreRemembered) {
    const View v1 = view_of(1, "ABCDE");
    const View v2 = view_of(2, "ABCDE", {v1});
    const View v3 = view_of(3, "CDE", {v1, v2});
    // Nobody here accepted 2, but A and B are silent, and C went on to 3: these three may have chosen it.
    const Bases bases = bases_of({answer('C', v3, v1), answer('D', v1, v1), answer('E', v1, v1)});
    EXPECT_THAT(numbers_of(bases.all), ElementsAre(1, 2));
    EXPECT_EQ(bases.all.back(), v2.base());
}

TEST(ViewBases, AnswersThatProveAViewChosenMakeItC) {
    const View v1 = view_of(1, "ABC");
    const View v2 = view_of(2, "AB", {v1});
    // The coordinator of 2 may have died before it knew. Its base is needed no more, whatever becomes of C.
    const Bases bases = bases_of({answer('A', v2, v1), answer('B', v2, v1)});
    EXPECT_EQ(bases.chosen, v2);
    EXPECT_THAT(numbers_of(bases.all), ElementsAre(2));
}

TEST(ViewBases, MajorityOfItsOwnMembersDoesNotProveAViewChosen) {
    const View v1 = view_of(1, "BA");
    const View v2 = view_of(2, "ABCD", {v1});
    const Bases bases = bases_of({answer('A', v2, v1), answer('C', v2), answer('D', v2)});
    EXPECT_EQ(bases.chosen, v1);
    EXPECT_THAT(numbers_of(bases.all), ElementsAre(1, 2)) << "B may have accepted 2 as well";
}

// Else every failed attempt would add a base for ever: B, whose disk is full, promises and never accepts.
TEST(ViewBases, ViewThatLacksAQuorumOfItsBaseIsLeftOut) {
    const View v1 = view_of(1, "BA");
    View last = view_of(2, "ABCD", {v1});
    for (std::uint64_t number = 3; number < 200; ++number) {
        Change next =
            change(number, "ABCD", {answer('A', last, v1), answer('B', v1, v1), answer('C', last), answer('D', last)});
        ASSERT_TRUE(next.has_quorum());
        EXPECT_THAT(numbers_of(next.plan().view.bases), ElementsAre(1));
        accept(next, "ACD");
        EXPECT_FALSE(next.is_chosen());
        last = next.plan().view;
    }
}

TEST(ViewChange, FiveLoseThreeOneAfterAnother) {
    std::vector<View> views{view_of(1, "ABCDE")};
    // Each shrunken view is the base of the next quorum. Two of five make a quorum only because the five became three.
    for (const std::string_view left : {"ABCD", "ABC", "AB"}) {
        const View last = views.back();
        Change next({last.number + 1, ViewId{}}, node('A'), nodes(left), {});
        for (char letter : left) next.on_answer(answer(letter, last, last));
        ASSERT_TRUE(next.has_quorum()) << left;
        EXPECT_EQ(members_of(next.plan().view), nodes(left));
        accept(next, left);
        EXPECT_TRUE(next.is_chosen());
        views.push_back(next.plan().view);
    }
    // Of the last two, the coordinator may go on alone, the other may not.
    EXPECT_TRUE(change(9, "A", {answer('A', views[3], views[3])}).has_quorum());
    EXPECT_FALSE(change(9, "B", {answer('B', views[3], views[3])}).has_quorum());
    // And those that went have no say any more, though they are three of the first five.
    EXPECT_FALSE(
        change(9, "CDE",
               {answer('C', views[2], views[2]), answer('D', views[1], views[1]), answer('E', views[0], views[0])})
            .has_quorum());
}

TEST(ViewChange, HalfWithTheCoordinatorGoesOnHalfWithoutDoesNot) {
    const View v1 = view_of(1, "ABCD");
    EXPECT_TRUE(change(2, "AB", {answer('A', v1, v1), answer('B', v1, v1)}).has_quorum());
    const Change other = change(2, "CD", {answer('C', v1, v1), answer('D', v1, v1)});
    EXPECT_FALSE(other.has_quorum());
    EXPECT_THAT(other.what_is_missing(), HasSubstr("view 1 has 2 of 4"));
}

TEST(ViewChange, NeedsAQuorumOfEveryBase) {
    const View v1 = view_of(1, "ABC");
    const View v2 = view_of(2, "ACDEF", {v1});
    // B and C are a quorum of 1. But 2 may have been chosen, by C and those that are silent.
    Change next = change(3, "BCDE", {answer('B', v1, v1), answer('C', v2, v1)});
    EXPECT_FALSE(next.has_quorum());
    EXPECT_THAT(next.what_is_missing(), HasSubstr("view 2"));
    next.on_answer(answer('D', v2, v1));
    EXPECT_FALSE(next.has_quorum());
    next.on_answer(answer('E', {}, v1));
    EXPECT_TRUE(next.has_quorum());
}

TEST(ViewChange, NoQuorumWithoutTheCoordinatorsOwnAnswer) {
    const View v1 = view_of(1, "ABC");
    const Change next = change(2, "ABC", {answer('B', v1, v1), answer('C', v1, v1)});
    EXPECT_FALSE(next.has_quorum());
    EXPECT_THAT(next.what_is_missing(), HasSubstr("the coordinator itself"));
}

TEST(ViewChange, BeginsALineageFromNothing) {
    Change first = change(1, "ABC", {answer('A'), answer('B')});
    ASSERT_TRUE(first.has_quorum());
    const Plan& plan = first.plan();
    EXPECT_FALSE(plan.chosen);
    EXPECT_THAT(plan.view.bases, IsEmpty());
    EXPECT_THAT(plan.streams, IsEmpty());
    EXPECT_EQ(members_of(plan.view), nodes("AB"));
    accept(first, "A");
    EXPECT_FALSE(first.is_chosen()) << "a majority of its own members is needed all the same";
    accept(first, "B");
    EXPECT_TRUE(first.is_chosen());
}

TEST(ViewChange, SilenceBeginsNothingInAnOldLineage) {
    const Change again = change(1, "C", {answer('C')}, {.lineage = Change::Lineage::kOld});
    EXPECT_FALSE(again.has_quorum());
    EXPECT_THAT(again.what_is_missing(), HasSubstr("nobody in reach knows"));
}

// A and B accepted the first view, nobody knows it chosen. Of two later attempts one begins with A, one with B; both
// can prove the first view dead. If that left no base at all, {A} and {B, C, D, E} would both be chosen.
TEST(ViewChange, FirstViewOfALineageTiesLaterAttemptsTogether) {
    const View v1 = view_of(1, "ABCDE");
    Change one = change(2, "ACDE", {answer('A', v1), leaving(answer('C')), leaving(answer('D')), leaving(answer('E'))},
                        {.lineage = Change::Lineage::kOld});
    ASSERT_TRUE(one.has_quorum());
    EXPECT_THAT(numbers_of(one.plan().view.bases), ElementsAre(1));
    accept(one, "A");
    EXPECT_FALSE(one.is_chosen());
}

TEST(ViewChange, MembersWithoutAVoteMakeNoQuorum) {
    const View v1 = view_of(1, "ABC");
    Change next = change(2, "ABC", {answer('A', v1, v1), without_vote(answer('B', v1, v1))});
    EXPECT_FALSE(next.has_quorum());
    next.on_answer(answer('C', v1, v1));
    ASSERT_TRUE(next.has_quorum());
    EXPECT_FALSE(next.plan().counted_without_vote);
}

TEST(ViewChange, MembersWithoutAVoteCountOnlyWhenAllAnswered) {
    const View v1 = view_of(1, "ABC");
    const View v2 = view_of(2, "ABD", {v1});
    Change next =
        change(3, "ABCD", {answer('A', v2, v1), without_vote(answer('B', v2, v1)), without_vote(answer('C', v1, v1))});
    EXPECT_FALSE(next.has_quorum()) << "all of view 1 answered, but D of view 2 did not";
    next.on_answer(without_vote(answer('D', {}, v1)));
    ASSERT_TRUE(next.has_quorum()) << "all members of the one needed view answered";
    EXPECT_TRUE(next.plan().counted_without_vote);
    EXPECT_EQ(members_of(next.plan().view), nodes("ABCD"));
}

}  // namespace
}  // namespace logstream::view
