// A broker that is told whom to ask, and who that is comes late or is of the other kind.
#include <gtest/gtest.h>

#include "tests/sim/cluster.h"

namespace logstream::sim {
namespace {

using namespace std::chrono_literals;

TEST(PendingSeeds, NoClusterBeginsBeforeTheyStandForSomebody) {
    Cluster cluster(1, 3);
    cluster[0].start();
    cluster[1].start();
    cluster.look_at({0, 1});
    ASSERT_TRUE(cluster.wait_for_one_view());

    cluster[2].options().settings.seeds_pending = true;
    cluster.isolate(2);  // broadcast does not reach it either
    cluster.look_at({2});
    cluster[2].start();
    cluster.world().run_for(10s);
    EXPECT_FALSE(cluster[2].node().serving());

    cluster.world().heal();
    cluster[2].node().set_seeds({cluster[0].address()});
    cluster.look_at({0, 1, 2});
    EXPECT_TRUE(cluster.wait_for_one_view());
}

TEST(PendingSeeds, ANewClusterBeginsWhenNobodyOfThemHasOne) {
    Cluster cluster(2, 1);
    cluster[0].options().settings.seeds_pending = true;
    cluster[0].start();
    cluster.world().run_for(10s);
    EXPECT_FALSE(cluster[0].node().serving());
    const TimePoint known = cluster.world().now();
    cluster[0].node().set_seeds({cluster[0].address()});
    ASSERT_TRUE(cluster.wait_for_one_view());
    EXPECT_GE(cluster.world().now() - known, 1s) << "it listens first";
}

TEST(PendingSeeds, AMemberThatKnowsItsViewNeedsNone) {
    Cluster cluster(3, 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    cluster[1].crash(storage::FakeDisk::Crash::kProcess);
    cluster.world().run_for(2s);
    cluster[1].options().settings.seeds_pending = true;
    cluster[1].start();
    EXPECT_TRUE(cluster.wait_for_one_view());
}

TEST(Families, ABrokerOfTheOtherOneIsLeftOut) {
    Cluster cluster(4, 1);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    proto::Join join;
    join.set_cluster("logstream");
    join.mutable_node()->set_id(99);
    join.mutable_node()->set_name("six");
    join.mutable_node()->set_port(8001);
    join.set_leader(true);
    join.set_cluster_id(7);
    join.set_members(9);
    const Endpoint six{protocol::IpAddress(0xfd00'0000'0000'0000, 6), 8001};
    protocol::put_ip(*join.mutable_node(), six.ip);
    cluster[0].node().on_join(join, six);
    cluster.world().run_for(5s);
    EXPECT_TRUE(cluster.one_view()) << "it did not follow where it can't go";

    proto::Learn learn;
    *learn.mutable_node() = join.node();
    learn.set_ready(true);
    const auto refused = cluster[0].node().on_learn(learn);
    EXPECT_NE(refused.error().message().find("this cluster's brokers have IPv4 addresses"), std::string::npos)
        << refused.error().message();
}

}  // namespace
}  // namespace logstream::sim
