#include <ranges>

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

// Against a model that is obviously right: what was set and not cancelled runs, once, sorted by deadline. A deadline
// counts from a moment within set(), so it is known to lie between two readings of the clock, however slow the machine.
TEST_F(TimersTest, RandomSetsAndCancelsMatchTheModel) {
    struct Set {
        env::TimerId id;
        int delay;
        protocol::TimePoint earliest;
        protocol::TimePoint latest;
    };
    std::mt19937 random(7);
    std::map<int, Set> expected;
    std::vector<int> ran;
    for (int name = 0; name < 2000; ++name) {
        const int delay = static_cast<int>(random() % 20);
        const auto after = std::chrono::milliseconds(delay * 20);
        const auto before_set = loop.now();
        const auto id = timers->set(after, [&ran, name] { ran.push_back(name); });
        expected[name] = {id, delay, before_set + after, loop.now() + after};
        if (random() % 3 == 0) {
            auto victim = expected.begin();
            std::advance(victim, random() % expected.size());
            timers->cancel(victim->second.id);
            expected.erase(victim);
        }
    }
    EXPECT_TRUE(loop.run_until([&] { return timers->size() == 0; }, kDeadline));

    auto names = ran;
    std::ranges::sort(names);
    ASSERT_TRUE(std::ranges::equal(names, std::views::keys(expected)));
    protocol::TimePoint not_before{};
    std::map<int, int> last_with_delay;
    for (const int name : ran) {
        const auto& [id, delay, earliest, latest] = expected.at(name);
        EXPECT_GE(latest, not_before) << name << " ran behind one whose deadline is later";
        not_before = std::max(not_before, earliest);
        const auto [last, first_of_its_delay] = last_with_delay.try_emplace(delay, name);
        EXPECT_TRUE(first_of_its_delay || last->second < name) << name << " ran behind one that was set later";
        last->second = name;
    }
}

}  // namespace
}  // namespace logstream::net
