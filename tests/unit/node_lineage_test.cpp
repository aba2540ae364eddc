// Brokers that know of different clusters, or of none: which they join, and which they found.
#include <gtest/gtest.h>

#include "tests/sim/cluster.h"
#include "tests/unit/node_expectations.h"

namespace logstream::sim {
namespace {

using namespace std::chrono_literals;
using storage::FakeDisk;

class Lineages : public testing::TestWithParam<std::uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Node, Lineages, testing::Range<std::uint64_t>(1, 21));

TEST_P(Lineages, TwoClustersWithoutRecordsBecomeOne) {
    Cluster cluster(GetParam(), 4);
    for (std::size_t a = 0; a < 2; ++a)
        for (std::size_t b = 2; b < 4; ++b) cluster.cut(a, b);
    cluster.start_all();
    ASSERT_TRUE(cluster.world().run_until(
        [&] {
            for (std::size_t i = 0; i < 4; ++i)
                if (!cluster[i].node().serving()) return false;
            return true;
        },
        5s));
    ASSERT_NE(cluster[0].node().core().record.cluster, cluster[2].node().core().record.cluster);
    cluster.world().heal();
    ASSERT_TRUE(cluster.wait_for_one_view(30s));
    EXPECT_EQ(cluster[0].node().core().record.cluster, cluster[2].node().core().record.cluster);
}

// It saved how much of its logs was committed there. Of the new lineage's logs, which are shorter, that says nothing.
TEST_P(Lineages, WhatWasCommittedInALineageThatWasLeftIsForgotten) {
    Cluster cluster(GetParam(), 3);
    cluster.isolate(0);
    cluster.start_all();
    const auto serving = [&](std::size_t i) { return cluster[i].running() && cluster[i].node().serving(); };
    ASSERT_TRUE(cluster.world().run_until([&] { return serving(0) && serving(1) && serving(2); }, 5s));
    cluster.look_at({0});
    for (int i = 0; i < 20; ++i) cluster.make_topic("left-" + std::to_string(i));
    cluster.look_at({1, 2});
    ASSERT_TRUE(cluster.append_soon(cluster.make_topic("t"), "a record"));
    cluster.world().run_for(8s);
    const auto lineage = cluster[1].node().core().record.cluster;
    cluster.world().heal();
    ASSERT_TRUE(cluster.world().run_until(
        [&] { return cluster[0].node().core().record.cluster == lineage && serving(0); }, 30s));
    cluster[0].crash(FakeDisk::Crash::kProcess);
    cluster[0].start();
    const node::Stream* metadata = cluster[0].node().core().streams.find(protocol::kMetadataStream);
    ASSERT_NE(metadata, nullptr);
    EXPECT_EQ(metadata->high_watermark, metadata->log->log_start());
    cluster.look_at({0, 1, 2});
    EXPECT_TRUE(cluster.wait_for_one_view());
}

// A broker that has lost the rest of its cluster is about; a new one must not take that cluster for the one whose
// member asks for its vote.
TEST_P(Lineages, ANewBrokerHelpsTheClusterThatAskedIt) {
    Cluster cluster(GetParam(), 4);
    for (std::size_t other = 1; other < 4; ++other) cluster.cut(0, other);
    for (std::size_t i = 0; i < 3; ++i) cluster[i].start();
    const auto serving = [&](std::size_t i) { return cluster[i].node().serving(); };
    ASSERT_TRUE(cluster.world().run_until([&] { return serving(0) && serving(1) && serving(2); }, 5s));
    ASSERT_TRUE(cluster.world().run_until([&] { return cluster[1].node().current_view()->members.size() == 2; }, 5s));
    const std::size_t founder = cluster[1].node().is_leader() ? 1 : 2;
    const std::size_t stuck = 3 - founder;
    cluster[founder].crash(FakeDisk::Crash::kProcess);
    cluster[0].crash(FakeDisk::Crash::kProcess);
    cluster.world().run_for(5s);
    ASSERT_TRUE(cluster[stuck].node().refusal().has_value());
    cluster.world().heal();
    cluster[3].start();
    cluster[0].start();
    EXPECT_TRUE(cluster.wait_for_one_view(10s));
}

// Two machines with new disks were being taken into a cluster when its last member died. A view that needs them may
// have been accepted there: they wait for it and found no cluster of their own.
TEST_P(Lineages, WhoPromisedInAnOldLineageFoundsNoOther) {
    Cluster cluster(GetParam(), 3);
    const auto serving = [&](std::size_t i) { return cluster[i].running() && cluster[i].node().serving(); };
    cluster[0].start();
    ASSERT_TRUE(cluster.world().run_until([&] { return serving(0); }, 5s));
    const auto lineage = cluster[0].node().core().record.cluster;
    cluster[0].crash(FakeDisk::Crash::kProcess);
    cluster.start_all();
    cluster[1].faults.reads_fail = cluster[2].faults.reads_fail = true;
    ASSERT_TRUE(cluster.world().run_until(
        [&] {
            const auto& accepted = cluster[0].node().core().record.accepted;
            return accepted && accepted->members.size() == 3;
        },
        5s));
    for (std::size_t i = 0; i < 3; ++i) cluster[i].crash(FakeDisk::Crash::kProcess);
    cluster[1].faults.reads_fail = cluster[2].faults.reads_fail = false;
    cluster[1].start();
    cluster[2].start();
    cluster.world().run_for(5s);
    EXPECT_FALSE(serving(1));
    EXPECT_FALSE(serving(2));
    cluster[0].start();
    ASSERT_TRUE(cluster.wait_for_one_view());
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(cluster[i].node().core().record.cluster, lineage);
}

// The same, when a cluster without records is there to join: the last member of its own would never have a quorum
// again.
TEST_P(Lineages, WhoPromisedInAnOldLineageJoinsNoEmptyOne) {
    Cluster cluster(GetParam(), 3);
    const auto serving = [&](std::size_t i) { return cluster[i].running() && cluster[i].node().serving(); };
    cluster.isolate(2);
    cluster[0].start();
    ASSERT_TRUE(cluster.world().run_until([&] { return serving(0); }, 5s));
    const auto stream = cluster.make_topic("t");
    ASSERT_TRUE(cluster.append_soon(stream, "a record"));
    cluster.world().run_for(1s);
    const auto lineage = cluster[0].node().core().record.cluster;
    cluster[2].start();
    ASSERT_TRUE(cluster.world().run_until([&] { return serving(2); }, 5s));
    cluster[0].crash(FakeDisk::Crash::kProcess);
    cluster[0].start();
    cluster[1].start();
    cluster[1].faults.reads_fail = true;
    ASSERT_TRUE(cluster.world().run_until(
        [&] {
            const auto& accepted = cluster[0].node().core().record.accepted;
            return accepted && accepted->members.size() == 2;
        },
        5s));
    cluster[0].crash(FakeDisk::Crash::kProcess);
    cluster[1].crash(FakeDisk::Crash::kProcess);
    cluster[1].faults.reads_fail = false;
    cluster.world().heal();
    cluster[1].start();
    cluster.world().run_for(5s);
    EXPECT_FALSE(serving(1));
    cluster[0].start();
    ASSERT_TRUE(cluster.wait_for_one_view());
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(cluster[i].node().core().record.cluster, lineage);
}

}  // namespace
}  // namespace logstream::sim
