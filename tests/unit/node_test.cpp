// Whole clusters of the real broker code on virtual time.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/sim/cluster.h"
#include "tests/unit/node_expectations.h"

namespace logstream::sim {
namespace {

using namespace std::chrono_literals;
using storage::FakeDisk;

class Seeds : public testing::TestWithParam<std::uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Node, Seeds, testing::Range<std::uint64_t>(1, 21));

TEST_P(Seeds, SimultaneousStartsEndInOneCluster) {
    for (std::size_t machines = 1; machines <= 7; ++machines) {
        Cluster cluster(GetParam() * 100 + machines, machines);
        cluster.start_all();
        ASSERT_TRUE(cluster.wait_for_one_view()) << machines << " machines";
        for (std::size_t i = 1; i < machines; ++i)
            EXPECT_EQ(cluster[i].node().core().record.cluster, cluster[0].node().core().record.cluster);
    }
}

TEST_P(Seeds, StaggeredStartsEndInOneCluster) {
    Cluster cluster(GetParam(), 4);
    for (std::size_t i = 0; i < cluster.size(); ++i) {
        cluster[i].start();
        cluster.world().run_for(std::chrono::milliseconds(cluster.world().random() % 1500));
    }
    ASSERT_TRUE(cluster.wait_for_one_view());
}

TEST_P(Seeds, AKilledLeaderIsReplacedByTheGreatestIdAndNothingIsLost) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(cluster.append(stream, std::to_string(i)));
    cluster.leader()->crash(FakeDisk::Crash::kProcess);
    const TimePoint killed = cluster.world().now();
    ASSERT_TRUE(cluster.wait_for_one_view());
    EXPECT_LT(cluster.world().now() - killed, 200ms);
    for (std::size_t i = 0; i < 3; ++i) {
        if (!cluster[i].running()) continue;
        EXPECT_LE(cluster[i].node().id(), cluster.leader()->node().id());
    }
    for (int i = 20; i < 40; ++i) ASSERT_TRUE(cluster.append(stream, std::to_string(i)));
    expect_everything_everywhere(cluster, stream);
}

// All survivors elect at once, and some of their elections end when the view is chosen already and the disk is not
// done.
TEST_P(Seeds, AKilledLeaderCostsOneViewChange) {
    Cluster cluster(GetParam(), 5);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto before = cluster.leader()->node().current_view()->number;
    const auto by_id = [](Machine* machine) { return machine->node().id(); };
    cluster.leader()->crash(FakeDisk::Crash::kProcess);
    const std::vector<Machine*> left = cluster.running();
    Machine* heir = *std::ranges::max_element(left, {}, by_id);
    heir->faults.slower = 5ms;
    for (Machine* a : left)
        for (Machine* b : left)
            if (a != heir && b != heir)
                cluster.world().slow(a->address(), b->address(), std::chrono::milliseconds(GetParam()));
    ASSERT_TRUE(cluster.wait_for_one_view());
    EXPECT_EQ(cluster.leader()->node().current_view()->number, before + 1);
}

TEST_P(Seeds, AnElectedLeaderThatDiesBeforeItAsksAnybodyIsReplaced) {
    Cluster cluster(GetParam(), 5);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto by_id = [](Machine* machine) { return machine->node().id(); };
    cluster.leader()->crash(FakeDisk::Crash::kProcess);
    const std::vector<Machine*> left = cluster.running();
    Machine* heir = *std::ranges::max_element(left, {}, by_id);
    heir->faults.slower = 100ms;
    cluster.world().run_for(50ms);  // elected, and its promise is not on disk
    heir->crash(FakeDisk::Crash::kProcess);
    const TimePoint killed = cluster.world().now();
    ASSERT_TRUE(cluster.wait_for_one_view());
    EXPECT_LT(cluster.world().now() - killed, 200ms);
}

TEST_P(Seeds, AReturningMemberCatchesUp) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(cluster.append(stream, std::to_string(i)));
    cluster[1].crash(FakeDisk::Crash::kMachine);
    ASSERT_TRUE(cluster.wait_for_one_view());
    for (int i = 10; i < 30; ++i) ASSERT_TRUE(cluster.append(stream, std::to_string(i)));
    cluster[1].start();
    ASSERT_TRUE(cluster.wait_for_one_view());
    for (int i = 30; i < 40; ++i) ASSERT_TRUE(cluster.append(stream, std::to_string(i)));
    expect_everything_everywhere(cluster, stream);
}

// Each attempt to take it in freezes the others until they give it up.
TEST_P(Seeds, ALearnerTooSlowToPromiseDoesNotHoldUpTheOthers) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    cluster[2].crash(FakeDisk::Crash::kProcess);
    ASSERT_TRUE(cluster.wait_for_one_view());
    cluster[2].faults.slower = 1s;
    cluster[2].start();
    cluster.look_at({0, 1});
    cluster.world().run_for(10s);
    int refusals = 0;
    for (int i = 0; i < 2000; ++i) {
        cluster.world().run_for(10ms);
        refusals += cluster[0].node().refusal() ? 1 : 0;
    }
    EXPECT_GT(refusals, 0);
    EXPECT_LT(refusals, 250);
    cluster[2].faults.slower = {};
    cluster.look_at({0, 1, 2});
    EXPECT_TRUE(cluster.wait_for_one_view(10s));
}

TEST_P(Seeds, PowerCutOfAllMachinesLosesNothingAcknowledged) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 20; ++i) ASSERT_TRUE(cluster.append(stream, std::to_string(round * 100 + i)));
        for (std::size_t i = 0; i < 3; ++i) cluster[i].crash(FakeDisk::Crash::kMachine);
        cluster.world().run_for(100ms);
        cluster.start_all();
        ASSERT_TRUE(cluster.wait_for_one_view());
    }
    expect_everything_everywhere(cluster, stream);
}

// It has accepted the next view, of which nobody knows yet that it is chosen: it takes nothing, and sends nobody on to
// the leader of the old one, which is itself.
TEST_P(Seeds, ALeaderRefusesUntilItsNextViewIsChosen) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    node::Node& leader = cluster.leader()->node();
    cluster[(cluster.leader()->index() + 1) % 3].crash(FakeDisk::Crash::kProcess);
    ASSERT_TRUE(cluster.world().run_until(
        [&] {
            return !leader.participant().frozen() &&
                   leader.participant().installed()->number > leader.current_view()->number;
        },
        2s));
    EXPECT_TRUE(leader.refusal().has_value());
}

TEST_P(Seeds, MinorityRefusesWritesAndComesBack) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(cluster.append(stream, std::to_string(i)));
    const std::size_t alone = GetParam() % 3;
    const auto view = cluster[alone].node().current_view()->number;
    cluster.isolate(alone);
    ASSERT_TRUE(cluster.world().run_until([&] { return cluster[alone].node().refusal().has_value(); }, 2s));
    cluster.world().run_until([&] { return cluster[alone].node().refusal()->message.starts_with("no quorum"); }, 2s);
    EXPECT_EQ(cluster[alone].node().refusal()->message,
              "no quorum: view " + std::to_string(view.value) + " has 1 of 3 members in reach");
    // The other side goes on.
    ASSERT_TRUE(cluster.world().run_until(
        [&] {
            Machine* owner = cluster.owner(stream);
            return owner != nullptr && owner != &cluster[alone] && !owner->node().refusal() &&
                   owner->node().current_view()->members.size() == 2;
        },
        3s));
    for (int i = 10; i < 20; ++i) ASSERT_TRUE(cluster.append(stream, std::to_string(i)));
    cluster.world().run_for(3s);
    EXPECT_TRUE(cluster[alone].node().refusal().has_value());
    cluster.world().heal();
    ASSERT_TRUE(cluster.wait_for_one_view());
    for (int i = 20; i < 30; ++i) ASSERT_TRUE(cluster.append(stream, std::to_string(i)));
    expect_everything_everywhere(cluster, stream);
}

TEST_P(Seeds, MembersLeaveInOrderOneAfterAnother) {
    Cluster cluster(GetParam(), 4);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    for (std::size_t i = 0; i < 2; ++i) {
        ASSERT_TRUE(cluster.append(stream, std::to_string(i)));
        cluster.leader()->leave();
        ASSERT_TRUE(cluster.world().run_until(
            [&] { return cluster.one_view() && cluster.leader()->node().current_view()->members.size() == 3 - i; },
            3s));
    }
    ASSERT_TRUE(cluster.append(stream, "last"));
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    expect_everything_everywhere(cluster, stream);
}

// Restarts at any moment after a view was installed, also while its news are still on their way.
TEST_P(Seeds, ARestartInOrderIsNotNoticed) {
    Cluster cluster(GetParam(), 3);
    World& world = cluster.world();
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    for (int i = 0; i < 12; ++i) {
        Machine& machine = cluster[world.random() % 3];
        machine.leave();
        const TimePoint began = world.now();
        ASSERT_TRUE(world.run_until([&] { return cluster.owner(stream) && cluster.owner(stream) != &machine; }, 3s));
        EXPECT_LT(world.now() - began, 50ms) << "restart " << i;
        ASSERT_TRUE(cluster.append_soon(stream, std::to_string(i)));
        ASSERT_TRUE(world.run_until([&] { return !machine.running(); }, 3s));
        machine.start();
        ASSERT_TRUE(cluster.wait_for_one_view());
        world.run_for(std::chrono::microseconds(world.random() % 40000));
    }
    expect_everything_everywhere(cluster, stream);
}

// A start waits for room to write its state: whoever is told to stop meanwhile stops, and does not start after all.
TEST_P(Seeds, WhoWaitsForRoomToStartCanLeave) {
    for (const bool room_comes : {false, true}) {
        Cluster cluster(GetParam(), 3);
        cluster.start_all();
        ASSERT_TRUE(cluster.wait_for_one_view());
        Machine& full = cluster[0];
        full.crash(FakeDisk::Crash::kProcess);
        full.disk().set_capacity(1ull << 40);
        full.disk().set_capacity(full.disk().capacity_bytes() - full.disk().free_bytes() + 100);
        ASSERT_TRUE(full.start());
        cluster.world().run_for(500ms);
        full.leave();
        if (room_comes) full.disk().set_capacity(1ull << 40);
        EXPECT_TRUE(cluster.world().run_until([&] { return !full.running(); }, 10s)) << room_comes;
    }
}

TEST_P(Seeds, ATopicAskedForByAllAtOnceIsMadeOnce) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    int created = 0;
    for (int i = 0; i < 9; ++i) {
        node::Node& node = cluster[static_cast<std::size_t>(i) % 3].node();
        node.create_topic("t", node.core().settings.topic_defaults,
                          [&](const protocol::Result<void>& r) { created += r.has_value() ? 1 : 0; });
    }
    cluster.world().run_for(1s);
    EXPECT_GE(created, 3);
    node::Stream* metadata = cluster[0].node().core().streams.find(protocol::kMetadataStream);
    EXPECT_EQ(metadata->log->log_end().value, 1);
    for (std::size_t i = 1; i < 3; ++i)
        EXPECT_EQ(cluster[i].node().topics().find("t")->topic(), cluster[0].node().topics().find("t")->topic());
}

// Crashes, power cuts, restarts, partitions, one-way cuts and loss at random while records are appended; then
// everything heals, and within ten seconds there is one view that has every acknowledged record.
class Chaos : public testing::TestWithParam<std::uint64_t> {};
// LOGSTREAM_CHAOS_SEEDS=N tries more.
std::uint64_t chaos_seeds() {
    const char* asked = std::getenv("LOGSTREAM_CHAOS_SEEDS");
    return asked != nullptr ? std::strtoull(asked, nullptr, 10) : 200;
}
INSTANTIATE_TEST_SUITE_P(Node, Chaos, testing::Range<std::uint64_t>(1, chaos_seeds() + 1));

TEST_P(Chaos, HealsAndKeepsWhatWasAcknowledged) {
    std::mt19937_64 random(GetParam());
    Cluster cluster(GetParam(), 2 + random() % 4);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    int value = 0;
    for (int step = 0; step < 40; ++step) {
        Machine& machine = cluster[random() % cluster.size()];
        switch (random() % 8) {
            case 0:
                if (machine.running())
                    machine.crash(random() % 2 == 0 ? FakeDisk::Crash::kProcess : FakeDisk::Crash::kMachine);
                break;
            case 1:
            case 2:
                if (!machine.running()) machine.start();
                break;
            case 3:
                cluster.cut(random() % cluster.size(), random() % cluster.size());
                break;
            case 4:
                cluster.world().cut(machine.address(), cluster[random() % cluster.size()].address());
                break;
            case 5:
                cluster.world().heal();
                break;
            case 6:
                cluster.world().faults.datagram_loss = random() % 2 == 0 ? 0.0 : 0.2;
                break;
            default:
                cluster.world().run_for(std::chrono::milliseconds(random() % 1000));
        }
        for (int i = 0; i < 3; ++i)
            (void)cluster.append(stream, std::to_string(value++), std::chrono::milliseconds(random() % 300));
        cluster.world().run_for(std::chrono::milliseconds(random() % 50));
    }
    cluster.world().heal();
    cluster.world().faults = {};
    cluster.start_all();
    const TimePoint healed = cluster.world().now();
    while (!cluster.append(stream, "last", 1s) || !cluster.one_view()) {
        ASSERT_LT(cluster.world().now() - healed, 10s);
        cluster.world().run_for(20ms);
    }
    cluster.world().run_for(2s);  // orphans come back
    expect_everything_everywhere(cluster, stream);
}

}  // namespace
}  // namespace logstream::sim
