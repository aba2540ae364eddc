// Disks that lose or garble what a broker had, in clusters that have it elsewhere.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/sim/cluster.h"
#include "tests/unit/node_expectations.h"

namespace logstream::sim {
namespace {

using namespace std::chrono_literals;
using storage::FakeDisk;

std::string log_of(protocol::StreamId stream) {
    return fmt::format("/data/streams/{:016x}-0/00000000000000000000.log", stream.topic.value);
}

// Forty records in segments of a few each, so that there is something for retention to drop.
protocol::StreamId start_with_many_segments(Cluster& cluster) {
    for (std::size_t i = 0; i < cluster.size(); ++i) cluster[i].options().store.segment_bytes = 4096;
    cluster.start_all();
    EXPECT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    for (int i = 0; i < 40; ++i) EXPECT_TRUE(cluster.append_soon(stream, std::string(500, 'x') + std::to_string(i)));
    cluster.world().run_for(1s);
    return stream;
}

// The only record of the only broker, which is killed and starts again.
protocol::StreamId restart_with_a_damaged_end(Cluster& cluster) {
    cluster.start_all();
    EXPECT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    EXPECT_TRUE(cluster.append_soon(stream, "lost"));
    cluster[0].crash(FakeDisk::Crash::kProcess);
    cluster[0].disk().flip(log_of(stream), 50 * 8);
    cluster[0].start();
    return stream;
}

class Damage : public testing::TestWithParam<std::uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Node, Damage, testing::Range<std::uint64_t>(1, 21));

// A batch in the middle of one member's log rots, the one with which its view began: what that member says of its log
// must not make the others cut theirs.
TEST_P(Damage, ADamagedLogIsNoBaseForTheOthers) {
    for (std::size_t damaged = 0; damaged < 3; ++damaged) {
        Cluster cluster(GetParam(), 3);
        cluster.start_all();
        ASSERT_TRUE(cluster.wait_for_one_view());
        const auto stream = cluster.make_topic("t");
        for (int i = 0; i < 10; ++i) ASSERT_TRUE(cluster.append_soon(stream, std::to_string(i)));
        cluster[damaged].crash(FakeDisk::Crash::kProcess);
        ASSERT_TRUE(cluster.wait_for_one_view());
        cluster[damaged].start();
        ASSERT_TRUE(cluster.wait_for_one_view());
        for (int i = 10; i < 20; ++i) ASSERT_TRUE(cluster.append_soon(stream, std::to_string(i)));
        cluster.world().run_for(1s);
        const std::string log = log_of(stream);
        const std::size_t place = cluster[damaged].disk().content(log).size() / 2 + 100;
        for (std::size_t i = 0; i < 3; ++i) cluster[i].crash(FakeDisk::Crash::kProcess);
        cluster[damaged].disk().flip(log, place * 8);
        cluster.start_all();
        ASSERT_TRUE(cluster.wait_for_one_view());
        ASSERT_TRUE(cluster.append_soon(stream, "after"));
        expect_everything_everywhere(cluster, stream);
    }
}

// The same, and its end has rotted as well: until that is mended it does not know where its views began, and must not
// take for an orphan what is not.
TEST_P(Damage, ALogIsCutWhenItsViewsAreKnown) {
    Cluster cluster(GetParam(), 3);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(cluster.append_soon(stream, std::to_string(i)));
    const std::size_t damaged = GetParam() % 3;
    const std::size_t place = cluster[damaged].node().core().streams.find(stream)->log->size_bytes() + 50;
    cluster[(damaged + 1) % 3].crash(FakeDisk::Crash::kProcess);
    ASSERT_TRUE(cluster.wait_for_one_view());
    for (int i = 10; i < 20; ++i) ASSERT_TRUE(cluster.append_soon(stream, std::to_string(i)));
    cluster[(damaged + 1) % 3].start();
    ASSERT_TRUE(cluster.wait_for_one_view());
    cluster.world().run_for(1s);
    const std::size_t end = cluster[damaged].node().core().streams.find(stream)->log->size_bytes();
    for (std::size_t i = 0; i < 3; ++i) cluster[i].crash(FakeDisk::Crash::kProcess);
    cluster[damaged].disk().flip(log_of(stream), place * 8);
    cluster[damaged].disk().flip(log_of(stream), (end - 10) * 8);
    cluster.start_all();
    ASSERT_EQ(cluster[damaged].node().core().streams.find(stream)->log->damages().size(), 2u);
    EXPECT_FALSE(cluster.world().run_until([&] { return !cluster[damaged].store().orphans().streams().empty(); }, 3s));
    ASSERT_TRUE(cluster.wait_for_one_view());
    ASSERT_TRUE(cluster.append_soon(stream, "after"));
    expect_everything_everywhere(cluster, stream);
}

// A view shrinks to one member, and that one's log rots where only those outside have the records still: they are
// asked.
TEST_P(Damage, ALoneMemberIsRepairedByThoseWhoWaitOutside) {
    Cluster cluster(GetParam(), 2);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(cluster.append_soon(stream, std::to_string(i)));
    const std::size_t lone = cluster.leader()->index();
    cluster[1 - lone].crash(FakeDisk::Crash::kProcess);
    ASSERT_TRUE(cluster.wait_for_one_view());
    ASSERT_TRUE(cluster.append_soon(stream, "alone"));
    cluster.world().run_for(1s);
    cluster[lone].leave();
    ASSERT_TRUE(cluster.world().run_until([&] { return !cluster[lone].running(); }, 5s));
    const std::string log = log_of(stream);
    cluster[lone].disk().flip(log, cluster[lone].disk().content(log).size() / 2 * 8);
    cluster[lone].start();
    ASSERT_TRUE(cluster.wait_for_one_view()) << "nobody has read what is damaged";
    storage::StreamLog& damaged = *cluster[lone].node().core().streams.find(stream)->log;
    for (protocol::Offset at; at < damaged.log_end(); ++at) damaged.read(at, damaged.log_end(), 1, [](const auto&) {});
    ASSERT_TRUE(cluster.world().run_until([&] { return damaged.damage().has_value(); }, 1s));
    cluster[1 - lone].start();
    ASSERT_TRUE(cluster.wait_for_one_view());
    ASSERT_TRUE(cluster.append_soon(stream, "together"));
    expect_everything_everywhere(cluster, stream);
}

// The same, and the other comes a moment later than the one whose log has rotted.
TEST_P(Damage, ALoneMemberWithoutAVoteWaitsForThoseOutside) {
    Cluster cluster(GetParam(), 2);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    ASSERT_TRUE(cluster.append_soon(stream, "the last record"));
    cluster.world().run_for(1s);
    const std::size_t lone = cluster.leader()->index();
    cluster[1 - lone].crash(FakeDisk::Crash::kProcess);
    ASSERT_TRUE(cluster.wait_for_one_view());
    cluster[lone].crash(FakeDisk::Crash::kProcess);
    cluster[lone].disk().flip(log_of(stream), 50 * 8);
    cluster[lone].start();
    ASSERT_TRUE(cluster[lone].store().damaged());
    cluster.world().run_for(1s);
    EXPECT_FALSE(cluster[lone].node().serving());
    cluster[1 - lone].start();
    ASSERT_TRUE(cluster.wait_for_one_view());
    ASSERT_TRUE(cluster.append_soon(stream, "together"));
    expect_everything_everywhere(cluster, stream);
}

// What lies at the end of its log, and nobody in reach has, it does not give up by itself.
TEST_P(Damage, ALoneMemberGivesNoEndUp) {
    Cluster cluster(GetParam(), 1);
    restart_with_a_damaged_end(cluster);
    cluster.world().run_for(20s);
    EXPECT_FALSE(cluster[0].node().serving());
    EXPECT_THAT(cluster[0].node().refusal()->message, testing::HasSubstr("is damaged at n0 from offset 0 on"));
}

// Nor when there is damage before it, and who comes back can mend that one only.
TEST_P(Damage, ALoneMemberGivesNoEndUpBehindOtherDamage) {
    Cluster cluster(GetParam(), 2);
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(cluster.append_soon(stream, std::string(100, 'x')));
    const std::size_t lone = cluster.leader()->index();
    cluster[1 - lone].crash(FakeDisk::Crash::kProcess);
    ASSERT_TRUE(cluster.wait_for_one_view());
    ASSERT_TRUE(cluster.append_soon(stream, "alone"));
    cluster.world().run_for(1s);
    const auto damages = [&] { return cluster[lone].node().core().streams.find(stream)->log->damages(); };
    const std::uint64_t end = cluster[lone].node().core().streams.find(stream)->log->size_bytes();
    cluster[lone].crash(FakeDisk::Crash::kProcess);
    cluster[lone].disk().flip(log_of(stream), end / 2 * 8);
    cluster[lone].disk().flip(log_of(stream), (end - 10) * 8);
    cluster.start_all();
    cluster.world().run_for(20s);
    for (std::size_t i = 0; i < 2; ++i) EXPECT_FALSE(cluster[i].node().serving());
    EXPECT_EQ(damages().size(), 2u);
}

// With a policy that acknowledges what is not flushed its members may lose more than that, and go on in the end.
TEST_P(Damage, AnUnflushedEndIsGivenUpInTheEnd) {
    Cluster cluster(GetParam(), 1);
    cluster[0].options().settings.loses_unflushed = true;
    const auto stream = restart_with_a_damaged_end(cluster);
    cluster.world().run_for(2s);
    EXPECT_FALSE(cluster[0].node().serving());
    ASSERT_TRUE(cluster.world().run_until([&] { return cluster[0].node().serving(); }, 3s));
    ASSERT_TRUE(cluster.append_soon(stream, "after"));
}

// Ten records that each of three acknowledged, and none has flushed.
protocol::StreamId start_unflushed(Cluster& cluster) {
    for (std::size_t i = 0; i < 3; ++i) {
        cluster[i].options().settings.loses_unflushed = true;
        cluster[i].options().store.fsync = storage::FsyncPolicy::kNever;
    }
    cluster.start_all();
    EXPECT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(cluster.append_soon(stream, "v" + std::to_string(i)));
    EXPECT_TRUE(cluster.world().run_until(
        [&] { return cluster[2].node().core().streams.find(stream)->high_watermark == protocol::Offset(10); }, 5s));
    return stream;
}

// Two of three, without the third, go on and lose the power, and with it all the records.
protocol::StreamId lose_what_the_third_holds(Cluster& cluster) {
    const auto stream = start_unflushed(cluster);
    cluster.isolate(2);
    cluster.look_at({0, 1});
    EXPECT_TRUE(cluster.wait_for_one_view());
    for (const std::size_t i : {0, 1}) cluster[i].crash(FakeDisk::Crash::kMachine);
    return stream;
}

// That a topic is in no base log does not mean there that it was deleted: what may be the last copy stays on the disk.
TEST_P(Damage, WhatTheOthersLostUnflushedIsNotTakenForDeleted) {
    Cluster cluster(GetParam(), 3);
    const auto stream = lose_what_the_third_holds(cluster);
    for (const std::size_t i : {0, 1}) cluster[i].start();
    ASSERT_TRUE(cluster.wait_for_one_view());
    cluster.world().heal();
    ASSERT_TRUE(cluster.world().run_until([&] { return !cluster[2].running(); }, 20s));
    EXPECT_THAT(cluster[2].fatal(), testing::HasSubstr("other brokers have lost what they acknowledged"));
    EXPECT_FALSE(cluster[2].disk().content(log_of(stream)).empty());
}

// Turning to the safe policy after the power cut brings nothing back: two who lost all they had are no quorum.
TEST_P(Damage, WhoLostWhatWasNotFlushedHasNoVoteUnderASaferPolicy) {
    Cluster cluster(GetParam(), 3);
    const auto stream = start_unflushed(cluster);
    for (std::size_t i = 0; i < 3; ++i)
        cluster[i].crash(i == 2 ? FakeDisk::Crash::kProcess : FakeDisk::Crash::kMachine);
    for (const std::size_t i : {0, 1}) {
        cluster[i].options().settings.loses_unflushed = false;
        cluster[i].options().store.fsync = storage::FsyncPolicy::kGroup;
        cluster[i].start();
    }
    cluster.world().run_for(20s);
    for (const std::size_t i : {0, 1}) EXPECT_FALSE(cluster[i].node().serving());
    cluster[2].start();
    ASSERT_TRUE(cluster.wait_for_one_view());
    EXPECT_EQ(cluster.read(0, stream).size(), 10u);
    expect_everything_everywhere(cluster, stream);
}

// A person names as survivors one that lost what was not flushed and one of an older view that still has it.
TEST_P(Damage, RecoverKeepsWhatTheOtherSurvivorHolds) {
    Cluster cluster(GetParam(), 3);
    const auto stream = lose_what_the_third_holds(cluster);
    cluster.world().heal();
    cluster[0].start();
    cluster.look_at({0, 2});
    cluster.world().run_for(5s);
    ASSERT_FALSE(cluster[0].node().serving());

    proto::Admin recover;
    recover.set_action(proto::Admin::RECOVER);
    recover.set_cluster_id(GetParam());
    for (const std::size_t i : {0, 2}) recover.add_survivors(cluster[i].node().id().value);
    for (const std::size_t i : {0, 2}) ASSERT_EQ(cluster[i].node().on_admin(recover).error().code(), 0);
    ASSERT_TRUE(cluster.wait_for_one_view());
    cluster.world().run_for(1s);
    for (const std::size_t i : {0, 2}) EXPECT_EQ(cluster.read(i, stream).size(), 10u);
}

// Damage to records that retention has removed everywhere else: nobody can mend it, so that member catches up anew.
TEST_P(Damage, WhatNobodyHoldsAnyMoreIsLearntAnew) {
    Cluster cluster(GetParam(), 3);
    const auto stream = start_with_many_segments(cluster);
    const auto log_at = [&](std::size_t i) { return cluster[i].node().core().streams.find(stream)->log; };
    const std::size_t damaged = GetParam() % 3;
    for (std::size_t i = 0; i < 3; ++i)
        if (i != damaged) log_at(i)->retain(protocol::Offset{30}, {.max_bytes = 4096});
    cluster[damaged].leave();
    ASSERT_TRUE(cluster.world().run_until([&] { return !cluster[damaged].running(); }, 5s));
    cluster[damaged].disk().flip(log_of(stream), 300 * 8);
    cluster[damaged].start();
    ASSERT_TRUE(cluster.wait_for_one_view()) << "nobody has read what is damaged";
    log_at(damaged)->read(protocol::Offset{}, protocol::Offset{40}, 1u << 20, [](const auto&) {});
    ASSERT_TRUE(cluster.world().run_until([&] { return log_at(damaged)->damage().has_value(); }, 1s));
    ASSERT_TRUE(
        cluster.world().run_until([&] { return !cluster[damaged].store().damaged() && cluster.one_view(); }, 20s));
    const std::size_t whole = (damaged + 1) % 3;
    EXPECT_EQ(log_at(damaged)->log_start(), log_at(whole)->log_start());
    EXPECT_GT(log_at(whole)->log_start(), protocol::Offset{0});
    ASSERT_TRUE(cluster.append_soon(stream, "after"));
    cluster.world().run_for(1s);
    EXPECT_EQ(cluster.read(damaged, stream), cluster.read(whole, stream));
    EXPECT_EQ(cluster.read(damaged, stream).rbegin()->second, "after");
}

// The same at two of three, of which each finds the records damaged at the other one, too.
TEST_P(Damage, TwoThatAreDamagedAlikeDoNotWaitForEachOther) {
    Cluster cluster(GetParam(), 3);
    const auto stream = start_with_many_segments(cluster);
    const auto log_at = [&](std::size_t i) { return cluster[i].node().core().streams.find(stream)->log; };
    const std::size_t whole = GetParam() % 3;
    log_at(whole)->retain(protocol::Offset{30}, {.max_bytes = 4096});
    cluster.world().run_for(1s);
    for (std::size_t i = 0; i < 3; ++i) {
        if (i == whole) continue;
        cluster[i].leave();
        ASSERT_TRUE(cluster.world().run_until([&] { return !cluster[i].running(); }, 5s));
        cluster[i].disk().flip(log_of(stream), 300 * 8);
        cluster[i].start();
        ASSERT_TRUE(cluster.wait_for_one_view()) << "nobody has read what is damaged";
    }
    for (std::size_t i = 0; i < 3; ++i)
        if (i != whole) log_at(i)->read(protocol::Offset{}, protocol::Offset{40}, 1u << 20, [](const auto&) {});
    const auto damaged_at = [&](std::size_t i) { return log_at(i)->damage().has_value(); };
    ASSERT_TRUE(
        cluster.world().run_until([&] { return damaged_at((whole + 1) % 3) && damaged_at((whole + 2) % 3); }, 1s));
    ASSERT_TRUE(cluster.world().run_until(
        [&] {
            return cluster.one_view() &&
                   std::ranges::none_of(cluster.running(), [](Machine* machine) { return machine->store().damaged(); });
        },
        20s));
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(log_at(i)->log_start(), log_at(whole)->log_start());
    ASSERT_TRUE(cluster.append_soon(stream, "after"));
    cluster.world().run_for(1s);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(cluster.read(i, stream), cluster.read(whole, stream));
}

// The same, and the tables that such a log would be cut by have rotted, too.
TEST_P(Damage, ALogThatCannotBeCutIsLearntAnewAsAWhole) {
    Cluster cluster(GetParam(), 3);
    const auto stream = start_with_many_segments(cluster);
    const auto log_at = [&](std::size_t i) { return cluster[i].node().core().streams.find(stream)->log; };
    const std::size_t damaged = GetParam() % 3;
    for (std::size_t i = 0; i < 3; ++i)
        log_at(i)->retain(protocol::Offset{i == damaged ? 15 : 30}, {.max_bytes = 4096});
    cluster.world().run_for(1s);
    const auto start = log_at(damaged)->log_start();
    ASSERT_GT(start, protocol::Offset{0});
    ASSERT_LT(start, protocol::Offset{15});
    cluster[damaged].leave();
    ASSERT_TRUE(cluster.world().run_until([&] { return !cluster[damaged].running(); }, 5s));
    const std::string stem = fmt::format("/data/streams/{:016x}-0/{:020}", stream.topic.value, start.value);
    cluster[damaged].disk().flip(stem + ".log", 300 * 8);
    cluster[damaged].disk().flip(stem + ".tables", 40 * 8);
    cluster[damaged].start();
    ASSERT_TRUE(cluster.wait_for_one_view()) << "nobody has read what is damaged";
    log_at(damaged)->read(start, protocol::Offset{40}, 1u << 20, [](const auto&) {});
    ASSERT_TRUE(cluster.world().run_until([&] { return log_at(damaged)->damage().has_value(); }, 1s));
    ASSERT_TRUE(
        cluster.world().run_until([&] { return !cluster[damaged].store().damaged() && cluster.one_view(); }, 20s));
    const std::size_t whole = (damaged + 1) % 3;
    EXPECT_EQ(log_at(damaged)->log_start(), log_at(whole)->log_start());
    ASSERT_TRUE(cluster.append_soon(stream, "after"));
    cluster.world().run_for(1s);
    EXPECT_EQ(cluster.read(damaged, stream), cluster.read(whole, stream));
    EXPECT_EQ(cluster.read(damaged, stream).rbegin()->second, "after");
}

// Retention is each broker's own. A learner that heard of a log from the leader, and then has to take it from another
// member, may find more there than it asked for.
TEST_P(Damage, ALearnerBeginsWhereItsSourceDoes) {
    Cluster cluster(GetParam(), 3);
    const auto stream = start_with_many_segments(cluster);
    const auto log_at = [&](std::size_t i) { return cluster[i].node().core().streams.find(stream)->log; };
    const std::size_t leader = cluster.leader()->index(), learner = (leader + 1) % 3, other = (leader + 2) % 3;
    log_at(leader)->retain(protocol::Offset{30}, {.max_bytes = 4096});
    log_at(other)->retain(protocol::Offset{15}, {.max_bytes = 4096});
    cluster[learner].crash(FakeDisk::Crash::kMachine);
    cluster[learner].replace_disk();
    ASSERT_TRUE(cluster.wait_for_one_view());
    ASSERT_EQ(cluster.leader()->index(), leader);
    const auto start = log_at(other)->log_start();
    EXPECT_LT(start, log_at(leader)->log_start());
    cluster[learner].start();
    const auto begun = [&] { return cluster[learner].node().core().streams.find(stream) != nullptr; };
    ASSERT_TRUE(cluster.world().run_until(begun, 5s));
    cluster.cut(learner, leader);
    ASSERT_TRUE(cluster.world().run_until([&] { return log_at(learner)->log_end() >= protocol::Offset{40}; }, 5s));
    cluster.world().heal();
    ASSERT_TRUE(cluster.wait_for_one_view());
    EXPECT_EQ(log_at(learner)->log_start(), start);
    EXPECT_EQ(log_at(learner)->epochs(), log_at(other)->epochs());
}

// Who has lost its state and kept its records waits for the cluster that has them, and joins no empty one meanwhile.
TEST_P(Damage, RecordsWithoutAStateGoToNoEmptyCluster) {
    Cluster cluster(GetParam(), 3);
    for (std::size_t i = 0; i < 2; ++i) cluster.cut(i, 2);
    cluster.start_all();
    const auto serving = [&](std::size_t i) { return cluster[i].node().serving(); };
    ASSERT_TRUE(cluster.world().run_until([&] { return serving(0) && serving(1) && serving(2); }, 5s));
    cluster[2].crash(FakeDisk::Crash::kProcess);
    ASSERT_TRUE(cluster.wait_for_one_view());
    const auto stream = cluster.make_topic("t");
    ASSERT_TRUE(cluster.append_soon(stream, "a record"));
    cluster.world().run_for(1s);
    const auto lineage = cluster[0].node().core().record.cluster;
    const std::size_t leader = cluster.leader()->index();
    const std::size_t lost = 1 - leader;
    cluster[0].crash(FakeDisk::Crash::kProcess);
    cluster[1].crash(FakeDisk::Crash::kProcess);
    for (const std::string& path : cluster[lost].disk().files())
        if (path.starts_with("/data/state.")) cluster[lost].disk().flip(path, 8 * 20);
    cluster.world().heal();
    cluster[2].start();
    ASSERT_TRUE(cluster.world().run_until([&] { return serving(2); }, 5s));
    cluster[lost].start();
    cluster.world().run_for(3s);
    EXPECT_FALSE(serving(lost));
    cluster[leader].start();
    ASSERT_TRUE(cluster.wait_for_one_view());
    EXPECT_EQ(cluster[lost].node().core().record.cluster, lineage);
    expect_everything_everywhere(cluster, stream);
}

}  // namespace
}  // namespace logstream::sim
