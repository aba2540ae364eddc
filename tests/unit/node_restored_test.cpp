// Disks that are of an older moment: a folder restored from a backup, a copied machine. What such a broker promised and
// acknowledged since is not there, and nothing of it may be given up without a word.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/sim/cluster.h"
#include "tests/unit/node_expectations.h"

namespace logstream::sim {
namespace {

using namespace std::chrono_literals;
using storage::FakeDisk;

class Restored : public testing::TestWithParam<std::uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Node, Restored, testing::Range<std::uint64_t>(1, 11));

void crash(Cluster& cluster, std::initializer_list<std::size_t> machines) {
    for (std::size_t i : machines)
        if (cluster[i].running()) cluster[i].crash(FakeDisk::Crash::kProcess);
}

void append_some(Cluster& cluster, protocol::StreamId stream, const std::string& prefix) {
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(cluster.append_soon(stream, prefix + std::to_string(i)));
}

// Of two machines of three, from before there was anything to remember.
class TwoImages {
public:
    explicit TwoImages(Cluster& cluster) {
        cluster.start_all();
        LS_ASSERT(cluster.wait_for_one_view());
        cluster.world().run_for(1s);
        for (std::size_t i : {0, 1}) images_.push_back(cluster[i].disk().image());
    }
    // All three are down; the two come back without the third, as they were.
    void restore(Cluster& cluster) const {
        crash(cluster, {0, 1, 2});
        for (std::size_t i : {0, 1}) {
            cluster[i].restore_disk(images_[i]);
            cluster[i].start();
        }
        cluster.look_at({0, 1});
        LS_ASSERT(cluster.wait_for_one_view());
    }

private:
    std::vector<FakeDisk::Image> images_;
};

// It ended itself, and does so no more when it is started again.
void expect_stopped(Cluster& cluster, std::size_t machine) {
    ASSERT_TRUE(cluster.world().run_until([&] { return !cluster[machine].fatal().empty(); }, 20s));
    cluster.world().run_for(10ms);
    cluster[machine].clear_fatal();
    cluster[machine].start();
    cluster.world().run_for(10s);
    EXPECT_TRUE(cluster[machine].running());
    EXPECT_EQ(cluster[machine].fatal(), "");
    EXPECT_TRUE(cluster[machine].node().core().condemned());
    EXPECT_FALSE(cluster[machine].node().serving());
    EXPECT_TRUE(cluster[machine].node().refusal());
}

// Two brokers acknowledge; one of them goes, the other comes back as it was before. With a third one, that was away, it
// would make a majority of the last view that those two know.
TEST_P(Restored, AMemberThatForgotItsPromiseHasNoVote) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    append_some(cluster, stream, "early");
    const auto image = cluster[0].disk().image();
    crash(cluster, {1});
    cluster[1].start();
    ASSERT_TRUE(cluster.world().run_until(
        [&] { return cluster.one_view() && cluster[0].node().current_view()->number > protocol::ViewNumber{2}; }, 20s));
    cluster.isolate(2);
    cluster.look_at({0, 1});
    ASSERT_TRUE(cluster.wait_for_one_view());
    append_some(cluster, stream, "late");
    crash(cluster, {0, 1});
    cluster[0].restore_disk(image);
    cluster.world().heal();
    cluster[0].start();
    cluster.world().run_for(15s);
    EXPECT_FALSE(cluster[0].node().serving()) << "its records and its promises of the last view are gone";
    EXPECT_FALSE(cluster[2].node().serving());
    cluster[1].start();
    cluster.look_at({0, 1, 2});
    ASSERT_TRUE(cluster.wait_for_one_view());
    expect_everything_everywhere(cluster, stream);
}

// Two of three come back as they were before they acknowledged, beside the third, which has never stopped: it has
// promised more than they know, so it refuses what they ask first. They must not go on without it for that.
TEST_P(Restored, TwoThatForgotDoNotOutvoteAThirdThatRefuses) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    append_some(cluster, stream, "early");
    crash(cluster, {0, 1});
    const std::vector images{cluster[0].disk().image(), cluster[1].disk().image()};
    cluster[0].start();
    cluster[1].start();
    ASSERT_TRUE(cluster.wait_for_one_view());
    append_some(cluster, stream, "late");
    crash(cluster, {0, 1});
    cluster.world().run_for(std::chrono::milliseconds(1000 * (GetParam() % 5)));
    for (std::size_t i : {0, 1}) {
        cluster[i].restore_disk(images[i]);
        cluster[i].start();
    }
    ASSERT_TRUE(cluster.wait_for_one_view(60s));
    expect_everything_everywhere(cluster, stream);
}

// The only one that kept what was acknowledged stops when it meets the others, stays stopped when it is started again,
// and still has all of it.
TEST_P(Restored, TheWholeMemberOfAClusterThatForgotKeepsItsRecords) {
    Cluster cluster(GetParam(), 3);
    const TwoImages images(cluster);
    const auto stream = cluster.make_topic("t");
    append_some(cluster, stream, "kept");
    cluster.world().run_for(8s);
    images.restore(cluster);
    cluster[2].start();
    expect_stopped(cluster, 2);
    EXPECT_EQ(cluster.read(2, stream).size(), 10u);
    EXPECT_TRUE(cluster.one_view()) << "the others go on";
}

// The same where nobody remembers how much was committed (the process was killed right after): what the others do not
// know stays in the folder, since no topic was deleted.
TEST_P(Restored, RecordsOfATopicThatNobodyDeletedAreNotDropped) {
    Cluster cluster(GetParam(), 3);
    const TwoImages images(cluster);
    const auto stream = cluster.make_topic("t");
    append_some(cluster, stream, "kept");
    images.restore(cluster);
    cluster[2].start();
    cluster.world().run_for(30s);
    const auto in_orphans = [&](const std::string& path) { return path.ends_with(".orphans"); };
    const bool stopped = !cluster[2].fatal().empty() || cluster[2].node().core().condemned();
    EXPECT_TRUE(stopped || std::ranges::any_of(cluster[2].disk().files(), in_orphans));
}

// The first one is of n0 and n1, with 20 records; then n0 is restored, and n0 and n2 make another one, with 11. n1 is
// down.
void make_two_histories(Cluster& cluster, protocol::StreamId& stream) {
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    stream = cluster.make_topic("t");
    append_some(cluster, stream, "shared");
    cluster.world().run_for(1s);
    const auto image = cluster[0].disk().image();
    cluster.isolate(2);
    cluster.look_at({0, 1});
    ASSERT_TRUE(cluster.wait_for_one_view());
    append_some(cluster, stream, "first");
    cluster.world().run_for(8s);
    crash(cluster, {0, 1});
    cluster[0].restore_disk(image);
    cluster.world().heal();
    cluster[0].start();
    cluster.look_at({0, 2});
    ASSERT_TRUE(cluster.wait_for_one_view());
    ASSERT_TRUE(cluster.append_soon(stream, "second"));
}

// A broker restored to before the last view makes another one with a member that had missed it: two views, perhaps of
// one number. Who comes with the first one afterwards is told at once, and nothing is merged.
TEST_P(Restored, AnotherHistoryOfTheSameClusterIsFoundOut) {
    Cluster cluster(GetParam(), 3);
    protocol::StreamId stream;
    ASSERT_NO_FATAL_FAILURE(make_two_histories(cluster, stream));
    cluster[1].start();
    expect_stopped(cluster, 1);
    EXPECT_EQ(cluster.read(1, stream).size(), 20u);
    EXPECT_EQ(cluster.read(0, stream).size(), 11u);
}

// A person decides: the survivors of both histories make a new lineage, and all records of both are in it.
TEST_P(Restored, TwoHistoriesOfTheSameClusterAreRecovered) {
    Cluster cluster(GetParam(), 3);
    protocol::StreamId stream;
    ASSERT_NO_FATAL_FAILURE(make_two_histories(cluster, stream));
    const std::size_t lost = cluster.leader()->index();
    const std::size_t other = lost == 0 ? 2 : 0;
    cluster[1].start();
    expect_stopped(cluster, 1);
    cluster[lost].crash(FakeDisk::Crash::kProcess);
    cluster.world().run_for(5s);

    proto::Admin recover;
    recover.set_action(proto::Admin::RECOVER);
    recover.set_cluster_id(4711);
    for (const std::size_t i : {std::size_t{1}, other}) recover.add_survivors(cluster[i].node().id().value);
    for (const std::size_t i : {std::size_t{1}, other})
        ASSERT_EQ(cluster[i].node().on_admin(recover).error().message(), "");
    cluster.look_at({1, other});
    ASSERT_TRUE(cluster.wait_for_one_view());
    std::set<std::string> values;
    const auto whole = [&] {
        values.clear();
        for (const auto& [offset, value] : cluster.read(other, stream)) values.insert(value);
        return values.size() == 21 && cluster.read(other, stream) == cluster.read(1, stream);
    };
    EXPECT_TRUE(cluster.world().run_until(whole, 20s)) << values.size() << " records";
}

// What a broker knows to be committed it knows after a restart too, before it has heard anybody.
TEST_P(Restored, AHighWatermarkOutlivesTheProcess) {
    Cluster cluster(GetParam(), 1);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    append_some(cluster, stream, "x");
    cluster.world().run_for(8s);
    crash(cluster, {0});
    cluster[0].start();
    EXPECT_EQ(cluster[0].node().core().streams.find(stream)->high_watermark.value, 10);
}

}  // namespace
}  // namespace logstream::sim
