// Retention by time, on brokers whose clocks are set.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/sim/cluster.h"

namespace logstream::sim {
namespace {

using namespace std::chrono_literals;
using protocol::Offset;
using storage::FakeDisk;

constexpr std::int64_t kDayMs = 24 * 3600 * 1000;
constexpr int kRecords = 20;

class Retention : public testing::TestWithParam<std::uint64_t> {
protected:
    explicit Retention(std::size_t machines = 3) : cluster_(GetParam(), machines) {
        for (std::size_t i = 0; i < cluster_.size(); ++i) cluster_[i].options().settings.retention_ms = 60'000;
        cluster_.start_all();
        LS_ASSERT(cluster_.wait_for_one_view());
        stream_ = cluster_.make_topic("t");
        owner_ = cluster_.owner(stream_)->index();
    }
    void append_all() {
        for (int i = 0; i < kRecords; ++i) ASSERT_TRUE(cluster_.append_soon(stream_, std::to_string(i)));
        // The others' heartbeats say what is committed.
        cluster_.world().run_for(1s);
    }
    void set_clock(std::size_t machine, std::int64_t off_ms) { cluster_[machine].host().clock.wall_off_ms = off_ms; }
    void restart(std::size_t machine) {
        cluster_[machine].crash(FakeDisk::Crash::kProcess);
        cluster_.world().run_for(500ms);
        LS_ASSERT(cluster_[machine].start());
        LS_ASSERT(cluster_.wait_for_one_view());
    }
    Offset log_start(std::size_t machine) { return log(machine).log_start(); }
    storage::StreamLog& log(std::size_t machine) { return *cluster_[machine].node().core().streams.find(stream_)->log; }
    void expect_all_there() {
        for (std::size_t i = 0; i < cluster_.size(); ++i) EXPECT_EQ(log_start(i), Offset(0)) << "machine " << i;
    }
    void expect_all_gone() {
        for (std::size_t i = 0; i < cluster_.size(); ++i) {
            EXPECT_EQ(log_start(i), Offset(kRecords)) << "machine " << i;
            EXPECT_EQ(log(i).log_end(), Offset(kRecords)) << "machine " << i;
        }
    }
    nlohmann::json clocks(std::size_t machine) {
        return nlohmann::json::parse(cluster_[machine].node().status_json())["clocks"];
    }

    Cluster cluster_;
    protocol::StreamId stream_;
    std::size_t owner_{};
};
INSTANTIATE_TEST_SUITE_P(Node, Retention, testing::Range<std::uint64_t>(1, 6));

TEST_P(Retention, RecordsGoWhenTheyAreOldAlsoAfterARestart) {
    append_all();
    cluster_.world().run_for(30s);
    expect_all_there();
    restart((owner_ + 1) % 3);
    EXPECT_TRUE(clocks(owner_)["agree"]);
    cluster_.world().run_for(35s);
    expect_all_gone();
    const auto next = cluster_.append_soon(stream_, "next");
    ASSERT_TRUE(next);
    EXPECT_EQ(*next, Offset(kRecords));
}

TEST_P(Retention, AClockADayAheadTakesNothingAndIsNamed) {
    append_all();
    set_clock(owner_, kDayMs);
    cluster_.world().run_for(5s);
    expect_all_there();
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_FALSE(clocks(i)["agree"]) << "machine " << i;
        EXPECT_NE(clocks(i).value("reason", "").find("1.0 days"), std::string::npos) << clocks(i).dump();
    }
    restart(owner_);  // after which it knows nothing but what its clock says
    cluster_.world().run_for(5s);
    expect_all_there();
    cluster_.world().run_for(120s);
    expect_all_there();
    set_clock(owner_, 0);
    cluster_.world().run_for(5s);
    expect_all_gone();
    EXPECT_TRUE(clocks(owner_)["agree"]);
}

// What the owner's clock said at the append would make them a day old as soon as it is right again.
TEST_P(Retention, AClockADayBehindMakesNothingOld) {
    set_clock(owner_, -kDayMs);
    cluster_.world().run_for(2s);
    append_all();
    set_clock(owner_, 0);
    cluster_.world().run_for(5s);
    for (std::size_t i = 0; i < 3; ++i) restart(i);
    cluster_.world().run_for(5s);
    expect_all_there();
    cluster_.world().run_for(60s);
    expect_all_gone();
}

// What the others said before the clock was set back confirms nothing: records would look as if they came from the
// future, be taken for a day old, and go as soon as the clock is right again.
TEST_P(Retention, AClockThatIsSetRightAfterTheOthersWereLostIsNotBelieved) {
    append_all();
    const std::size_t alone = GetParam() % cluster_.size();
    for (std::size_t i = 0; i < cluster_.size(); ++i)
        if (i != alone) cluster_[i].crash(FakeDisk::Crash::kProcess);
    cluster_.world().run_for(200ms);
    set_clock(alone, -kDayMs);
    cluster_.world().run_for(2500ms);
    set_clock(alone, 0);
    for (std::size_t i = 0; i < cluster_.size(); ++i) {
        if (i != alone) {
            ASSERT_TRUE(cluster_[i].start());
        }
    }
    ASSERT_TRUE(cluster_.wait_for_one_view());
    cluster_.world().run_for(20s);
    expect_all_there();
}

// A replica that fetches records which are old already keeps them no longer than the others.
TEST_P(Retention, ALearnerIsToldTheAge) {
    const std::size_t away = (owner_ + 1) % 3;
    cluster_[away].crash(FakeDisk::Crash::kMachine);
    cluster_.world().run_for(2s);
    append_all();
    cluster_.world().run_for(40s);
    LS_ASSERT(cluster_[away].start());
    ASSERT_TRUE(cluster_.wait_for_one_view());
    restart(away);
    expect_all_there();
    cluster_.world().run_for(25s);
    expect_all_gone();
}

class LoneRetention : public Retention {
protected:
    LoneRetention() : Retention(1) {}
};
INSTANTIATE_TEST_SUITE_P(Node, LoneRetention, testing::Range<std::uint64_t>(1, 3));

// Nobody can tell it that its clock is wrong, but it sees that it was set.
TEST_P(LoneRetention, AClockThatIsSetIsNotBelievedAtOnce) {
    append_all();
    cluster_.world().run_for(30s);
    set_clock(0, kDayMs);
    cluster_.world().run_for(10s);
    expect_all_there();
    EXPECT_FALSE(clocks(0)["agree"]);
    cluster_.world().run_for(11min);
    EXPECT_TRUE(clocks(0)["agree"]);
    expect_all_gone();
}

}  // namespace
}  // namespace logstream::sim
