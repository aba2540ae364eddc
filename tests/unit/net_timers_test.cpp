#include "internal/net/timers.h"
#include "tests/unit/net_fixture.h"

namespace logstream::net {
namespace {

class TimersTest : public ::testing::Test {
protected:
    Loop loop;
    std::unique_ptr<Timers> timers = std::move(*Timers::open(loop));
};

TEST_F(TimersTest, RunInOrderOfDeadlineThenOfSetting) {
    std::vector<int> ran;
    timers->set(2ms, [&] { ran.push_back(3); });
    timers->set(1ms, [&] { ran.push_back(2); });
    timers->set(0ms, [&] { ran.push_back(0); });
    timers->set(-5s, [&] { ran.push_back(1); });
    EXPECT_TRUE(ran.empty()) << "a timer runs from the loop only";
    EXPECT_TRUE(loop.run_until([&] { return ran.size() == 4; }, kDeadline));
    EXPECT_THAT(ran, ::testing::ElementsAre(0, 1, 2, 3));
    EXPECT_EQ(timers->size(), 0u);
}

TEST_F(TimersTest, NeverEarlyAndFinerThanAMillisecond) {
    const auto start = loop.now();
    protocol::TimePoint ran_at{};
    int under_a_millisecond = 0;
    for (int i = 0; i < 50; ++i) {
        const auto set_at = loop.now();
        ran_at = {};
        timers->set(200us, [&] { ran_at = loop.now(); });
        ASSERT_TRUE(loop.run_until([&] { return ran_at > start; }, kDeadline));
        EXPECT_GE(ran_at - set_at, 200us);
        if (ran_at - set_at < 1ms) ++under_a_millisecond;
    }
    EXPECT_GT(under_a_millisecond, 0) << "even on a busy machine one of fifty is on time";
}

TEST_F(TimersTest, ACancelledTimerNeverRuns) {
    int ran = 0;
    const auto first = timers->set(1ms, [&] { ++ran; });
    env::TimerId third;
    timers->set(2ms, [&] { timers->cancel(third); });  // due in the same turn
    third = timers->set(2ms, [&] { ++ran; });
    bool last = false;
    timers->set(3ms, [&] { last = true; });
    timers->cancel(first);
    timers->cancel(first);
    timers->cancel(env::TimerId{12345});
    timers->cancel({});
    EXPECT_TRUE(loop.run_until([&] { return last; }, kDeadline));
    EXPECT_EQ(ran, 0);
}

TEST_F(TimersTest, CancellingTheFirstDoesNotDelayTheOthers) {
    bool ran = false;
    const auto start = loop.now();
    const auto first = timers->set(5ms, [] { FAIL(); });
    timers->set(10ms, [&] { ran = true; });
    timers->cancel(first);
    EXPECT_TRUE(loop.run_until([&] { return ran; }, kDeadline));
    EXPECT_GE(loop.now() - start, 10ms);
}

TEST_F(TimersTest, AnEarlierOneSetLaterComesFirst) {
    std::vector<int> ran;
    timers->set(5ms, [&] { ran.push_back(2); });
    bool posted = false;
    loop.post([&] { posted = true; });
    EXPECT_TRUE(loop.run_until([&] { return posted; }, kDeadline));
    timers->set(1ms, [&] { ran.push_back(1); });
    EXPECT_TRUE(loop.run_until([&] { return ran.size() == 2; }, kDeadline));
    EXPECT_THAT(ran, ::testing::ElementsAre(1, 2));
}

TEST_F(TimersTest, ThatSetEachOtherWithoutDelayDoNotStarveTheLoop) {
    std::function<void()> again;
    int ran = 0;
    again = [&] {
        ++ran;
        timers->set(0ns, [&] { again(); });
    };
    again();
    bool posted = false;
    loop.post([&] { posted = true; });
    EXPECT_TRUE(loop.run_until([&] { return posted && ran > 1000; }, kDeadline));
}

TEST_F(TimersTest, AnEndlessTimerDoesNotOverflow) {
    timers->set(protocol::Duration::max(), [] { FAIL(); });
    bool ran = false;
    timers->set(1ms, [&] { ran = true; });
    EXPECT_TRUE(loop.run_until([&] { return ran; }, kDeadline));
    EXPECT_EQ(timers->size(), 1u);
}

// Against a model that is obviously right: what was set and not cancelled runs, once, sorted by deadline.
TEST_F(TimersTest, RandomSetsAndCancelsMatchTheModel) {
    std::mt19937 random(7);
    std::map<int, env::TimerId> live;
    std::vector<int> ran;
    std::vector<std::pair<int, int>> expected;  // delay, name
    for (int name = 0; name < 2000; ++name) {
        const int delay = static_cast<int>(random() % 20);
        // One start for all would be needed to compare deadlines exactly: whole milliseconds are far enough apart.
        live[name] = timers->set(std::chrono::milliseconds(delay * 20), [&ran, name] { ran.push_back(name); });
        expected.emplace_back(delay, name);
        if (random() % 3 == 0) {
            auto victim = live.begin();
            std::advance(victim, random() % live.size());
            timers->cancel(victim->second);
            std::erase_if(expected, [&](const auto& e) { return e.second == victim->first; });
            live.erase(victim);
        }
    }
    EXPECT_TRUE(loop.run_until([&] { return timers->size() == 0; }, kDeadline));
    ASSERT_EQ(ran.size(), expected.size());
    std::ranges::stable_sort(expected);
    for (std::size_t i = 0; i < ran.size(); ++i) EXPECT_EQ(ran[i], expected[i].second) << i;
}

}  // namespace
}  // namespace logstream::net
