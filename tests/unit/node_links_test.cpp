// Links that fail one by one, one way only, for multicast only, or again and again: who goes, and who comes back.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "internal/node/fetch_pace.h"
#include "tests/sim/cluster.h"
#include "tests/unit/node_expectations.h"

namespace logstream::sim {
namespace {

using namespace std::chrono_literals;
using storage::FakeDisk;

class Links : public testing::TestWithParam<std::uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Node, Links, testing::Range<std::uint64_t>(1, 21));

TEST_P(Links, ALinkBetweenTwoFollowersFailsAndOneOfThemGoesAndComesBack) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    std::vector<std::size_t> followers;
    for (std::size_t i = 0; i < 3; ++i)
        if (!cluster[i].node().is_leader()) followers.push_back(i);
    cluster.cut(followers[0], followers[1]);
    ASSERT_TRUE(cluster.world().run_until(
        [&] { return cluster.leader() != nullptr && cluster.leader()->node().current_view()->members.size() == 2; },
        3s));
    ASSERT_TRUE(cluster.append_soon(stream, "while one is out"));
    cluster.world().heal();
    ASSERT_TRUE(cluster.wait_for_one_view());
    ASSERT_TRUE(cluster.append_soon(stream, "with all again"));
    expect_everything_everywhere(cluster, stream);
}

// Of a member and two others that have lost each other the one goes that fewer members reach, whatever its id.
TEST_P(Links, OfLinksThatFailTheirCommonEndGoes) {
    Cluster cluster(GetParam(), 5);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    std::vector<Machine*> followers;
    for (Machine* machine : cluster.running())
        if (!machine->node().is_leader()) followers.push_back(machine);
    std::ranges::sort(followers, {}, [](Machine* machine) { return machine->node().id(); });
    Machine& common = *followers.back();
    cluster.cut(common.index(), followers[0]->index());
    cluster.cut(common.index(), followers[1]->index());
    ASSERT_TRUE(cluster.world().run_until(
        [&] { return cluster.leader() != nullptr && cluster.leader()->node().current_view()->members.size() < 5; },
        3s));
    const auto& view = *cluster.leader()->node().current_view();
    EXPECT_EQ(view.members.size(), 4u);
    EXPECT_FALSE(view.has(common.node().id()));
}

// As many members reach the one as the other: the one goes whose streams cost less to hand over, whatever its id.
TEST_P(Links, OfTwoThatLoseEachOtherTheOneGoesThatOwnsLess) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    std::vector<Machine*> followers;
    for (Machine* machine : cluster.running())
        if (!machine->node().is_leader()) followers.push_back(machine);
    std::map<Machine*, int> owned;
    const auto lead = [&] { return owned[followers[0]] - owned[followers[1]]; };
    for (int topic = 0; std::abs(lead()) < 2; ++topic) {
        const auto stream = cluster.make_topic(std::to_string(topic));
        ++owned[cluster.owner(stream)];
        ASSERT_TRUE(cluster.append(stream, "owned"));
    }
    const auto less = followers[lead() > 0 ? 1 : 0]->node().id();
    cluster.cut(followers[0]->index(), followers[1]->index());
    ASSERT_TRUE(cluster.world().run_until(
        [&] { return cluster.leader() != nullptr && cluster.leader()->node().current_view()->members.size() == 2; },
        3s));
    EXPECT_FALSE(cluster.leader()->node().current_view()->has(less));
}

// Its heartbeats arrive, and nothing that the leader sends reaches it.
TEST_P(Links, AMemberThatDoesNotHearItsLeaderIsLeftOut) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    Machine& leader = *cluster.leader();
    Machine& deaf = cluster[(leader.index() + 1) % 3];
    cluster.world().cut(leader.address(), deaf.address());
    ASSERT_TRUE(cluster.world().run_until([&] { return leader.node().current_view()->members.size() == 2; }, 5s));
    EXPECT_FALSE(leader.node().current_view()->has(deaf.node().id()));
    const auto view = leader.node().current_view()->number;
    cluster.world().run_for(10s);
    EXPECT_EQ(leader.node().current_view()->number, view) << "and stays out without further views";
    ASSERT_TRUE(cluster.append_soon(stream, "while one is out"));
    cluster.world().heal();
    ASSERT_TRUE(cluster.wait_for_one_view());
    ASSERT_TRUE(cluster.append_soon(stream, "with all again"));
    expect_everything_everywhere(cluster, stream);
}

// The view went on without it while it reaches only one of the two: it learns that, and freezes that one no more.
TEST_P(Links, WhoIsLeftOutDoesNotDisturbTheOthers) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    Machine& leader = *cluster.leader();
    Machine& out = cluster[(leader.index() + 1) % 3];
    Machine& other = cluster[(leader.index() + 2) % 3];
    cluster.isolate(out.index());
    cluster.look_at({leader.index(), other.index()});
    ASSERT_TRUE(cluster.wait_for_one_view());
    cluster.world().heal();
    cluster.world().cut(leader.address(), out.address());
    cluster.world().run_for(3s);
    for (int i = 0; i < 20; ++i) {
        ASSERT_TRUE(cluster.append(stream, std::to_string(i), 1s)) << "record " << i;
        cluster.world().run_for(200ms);
    }
}

TEST_P(Links, MulticastIsLostAndComesBack) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    const auto by_multicast = [&](bool wanted) {
        return cluster.one_view() && cluster.leader()->node().current_view()->multicast == wanted;
    };
    ASSERT_TRUE(by_multicast(true));
    for (std::size_t a = 0; a < 3; ++a)
        for (std::size_t b = 0; b < 3; ++b)
            if (a != b) cluster.world().deafen(cluster[a].address(), cluster[b].address());
    ASSERT_TRUE(cluster.world().run_until([&] { return by_multicast(false); }, 3s));
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(cluster.append_soon(stream, std::to_string(i)));
    const auto view = cluster.leader()->node().current_view()->number;
    cluster.world().run_for(10s);
    EXPECT_EQ(cluster.leader()->node().current_view()->number, view) << "nothing to change until it is back";
    cluster.world().heal();
    ASSERT_TRUE(cluster.world().run_until([&] { return by_multicast(true); }, 5s));
    for (int i = 10; i < 20; ++i) ASSERT_TRUE(cluster.append_soon(stream, std::to_string(i)));
    expect_everything_everywhere(cluster, stream);
}

TEST_P(Links, LossAndDuplicationOfDatagramsChangeNothing) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    cluster.world().faults.datagram_loss = 0.05;
    cluster.world().faults.datagram_duplication = 0.05;
    cluster.world().faults.max_delay = 3ms;
    for (int i = 0; i < 100; ++i)
        ASSERT_TRUE(cluster.append(stream, std::string(static_cast<std::size_t>(i) * 50, 'x'))) << i;
    cluster.world().faults = {};
    ASSERT_TRUE(cluster.wait_for_one_view());
    expect_everything_everywhere(cluster, stream);
}

// The leader is gone and the connections between the others hang while their heartbeats pass: the first elections find
// nobody, and there must be others.
TEST_P(Links, SurvivorsWhoseConnectionsHangElectOnceTheyPass) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const std::size_t leader = cluster.leader()->index();
    const Endpoint a = cluster[(leader + 1) % 3].address();
    const Endpoint b = cluster[(leader + 2) % 3].address();
    cluster.world().hang(a, b);
    cluster.world().hang(b, a);
    cluster[leader].crash(FakeDisk::Crash::kProcess);
    cluster.world().run_for(3s);
    cluster.world().unhang(a, b);
    cluster.world().unhang(b, a);
    EXPECT_TRUE(cluster.wait_for_one_view(5s));
}

// One view, and heartbeats that came at such different times that the detectors' patience differs.
void start_with_jitter(Cluster& cluster) {
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    cluster.world().faults.max_delay = 40ms;
    cluster.world().run_for(5s);
}

// The leader stands still for 0.8 s, the others go on and take it back: one view of all, and no other after it.
void expect_one_change_back(Cluster& cluster) {
    Machine& leader = *cluster.leader();
    leader.pause(800ms, Machine::Clock::kGoesOn);
    ASSERT_TRUE(cluster.world().run_until(
        [&] {
            return cluster.leader() != nullptr && cluster.leader() != &leader &&
                   cluster.leader()->node().current_view()->members.size() == 2;
        },
        3s));
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto view = cluster.leader()->node().current_view()->number;
    cluster.world().run_for(3s);
    ASSERT_TRUE(cluster.one_view());
    EXPECT_EQ(cluster.leader()->node().current_view()->number, view);
}

// It has not heard the others since it fell asleep; that is nothing to suspect them for in a view that they promised.
TEST_P(Links, WhoComesBackAfterAPauseSuspectsNobody) {
    Cluster cluster(GetParam(), 3);
    ASSERT_NO_FATAL_FAILURE(start_with_jitter(cluster));
    cluster.world().faults = {};
    expect_one_change_back(cluster);  // while one detector has given up and the other one is about to
}

// It finds the leader before it hears that the view which takes it back is chosen: it is a learner no more then.
TEST_P(Links, WhoComesBackOverASlowNetworkIsTakenInOnce) {
    Cluster cluster(GetParam(), 3);
    ASSERT_NO_FATAL_FAILURE(start_with_jitter(cluster));
    expect_one_change_back(cluster);
}

// Nothing flaps for ever, and nobody is kept out for long once its link has stayed.
TEST_P(Links, ALinkThatFailsAgainAndAgainKeepsNobodyOutForLong) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    std::vector<std::size_t> followers;
    for (std::size_t i = 0; i < 3; ++i)
        if (!cluster[i].node().is_leader()) followers.push_back(i);
    for (int round = 0; round < 8; ++round) {
        cluster.cut(followers[0], followers[1]);
        ASSERT_TRUE(cluster.world().run_until(
            [&] { return cluster.leader() != nullptr && cluster.leader()->node().current_view()->members.size() == 2; },
            3s));
        cluster.world().heal();
        ASSERT_TRUE(cluster.wait_for_one_view(10s)) << "round " << round;
    }
}

// A link carries so many bytes a second, and each broker that catches up over it gets something whole in time.
TEST(FetchPace, FindsWhatALinkCarries) {
    using node::FetchPace;
    for (const double link : {20e3, 100e3, 500e3, 5e6, 1e9}) {
        FetchPace pace;
        protocol::TimePoint now{1h};
        std::size_t fetched = 0;
        int in_vain = 0;
        for (int i = 0; i < 40; ++i) {
            const FetchPace::Ask ask = pace.ask(now);
            const auto after = std::chrono::duration_cast<protocol::Duration>(
                std::chrono::duration<double>(static_cast<double>(ask.bytes) / link + 0.001));
            if (after > pace.patience()) {
                ++in_vain;
                now += pace.patience();
                pace.timed_out(ask, now);
            } else {
                now += after;
                fetched += ask.bytes;
                pace.answered(ask, now, ask.bytes);
            }
        }
        EXPECT_LE(in_vain, 3) << link;
        EXPECT_GE(fetched, 30 * FetchPace::kLeast) << link;
        EXPECT_EQ(pace.ask(now).bytes == FetchPace::kMost, link > 40e6) << link;
    }
}

TEST(FetchPace, LearnsNothingFromWhatIsSmall) {
    using node::FetchPace;
    FetchPace pace;
    const protocol::TimePoint now{1h};
    for (int i = 0; i < 20; ++i) pace.answered(pace.ask(now), now + 1ms, 1000);
    EXPECT_EQ(pace.ask(now).bytes, FetchPace::kFirst);
    pace.answered(pace.ask(now), now + 3s, 1000);
    EXPECT_EQ(pace.ask(now).bytes, FetchPace::kFirst);
}

TEST(FetchPace, TakesTimeOutsThatComeTogetherForOne) {
    using node::FetchPace;
    FetchPace pace;
    const protocol::TimePoint now{1h};
    const std::vector<FetchPace::Ask> asked(16, pace.ask(now));
    for (const FetchPace::Ask& ask : asked) pace.timed_out(ask, now + 2s);
    EXPECT_EQ(pace.patience(), 2 * FetchPace::kLeastPatience);
    pace.timed_out(pace.ask(now + 3s), now + 7s);
    EXPECT_EQ(pace.patience(), 4 * FetchPace::kLeastPatience);
    pace.answered(pace.ask(now + 8s), now + 8s + 1ms, FetchPace::kLeast);
    EXPECT_EQ(pace.patience(), 2 * FetchPace::kLeastPatience);
}

}  // namespace
}  // namespace logstream::sim
