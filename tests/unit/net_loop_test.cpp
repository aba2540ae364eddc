#include <csignal>
#include <thread>

#include "tests/unit/net_fixture.h"

namespace logstream::net {
namespace {

TEST(Loop, PostedTasksRunInOrderOnTheLoopThread) {
    Loop loop;
    std::vector<int> ran;
    const auto loop_thread = std::this_thread::get_id();
    std::thread other([&] {
        for (int i = 0; i < 1000; ++i)
            loop.post([&, i] {
                EXPECT_EQ(std::this_thread::get_id(), loop_thread);
                ran.push_back(i);
            });
        loop.stop();
    });
    loop.run();
    other.join();
    ASSERT_EQ(ran.size(), 1000u);
    EXPECT_TRUE(std::ranges::is_sorted(ran));
}

TEST(Loop, ManyThreadsLoseNothing) {
    Loop loop;
    std::size_t ran = 0;
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < 5000; ++i) loop.post([&] { ++ran; });
        });
    EXPECT_TRUE(loop.run_until([&] { return ran == 20000; }, kDeadline));
}

TEST(Loop, StopBeforeRunReturnsAndTheNextRunRunsAgain) {
    Loop loop;
    loop.stop();
    loop.run();
    bool ran = false;
    loop.post([&] {
        ran = true;
        loop.stop();
    });
    loop.run();
    EXPECT_TRUE(ran);
}

TEST(Loop, RunUntilGivesUpAtItsLimit) {
    Loop loop;
    const auto start = loop.now();
    EXPECT_FALSE(loop.run_until([] { return false; }, 30ms));
    EXPECT_GE(loop.now() - start, 29ms);
}

TEST(Loop, TheWallClockGoesOnWithEveryTurn) {
    Loop loop;
    std::vector<std::int64_t> read;
    loop.post([&] {
        read.push_back(loop.wall_clock_ms());
        const auto start = loop.now();
        while (loop.now() - start < 5ms) std::this_thread::yield();
        read.push_back(loop.wall_clock_ms());
    });
    EXPECT_FALSE(loop.run_until([] { return false; }, 50ms));
    loop.post([&] { read.push_back(loop.wall_clock_ms()); });
    EXPECT_TRUE(loop.run_until([&] { return read.size() == 3; }, kDeadline));
    EXPECT_EQ(read[1], read[0]);
    EXPECT_GE(read[2], read[0] + 40);
}

TEST(Loop, TasksLeftAtTheEndAreDropped) {
    const auto held = std::make_shared<int>(1);
    {
        Loop loop;
        loop.post([held] {});
    }
    EXPECT_EQ(held.use_count(), 1);
}

TEST(Loop, SignalsComeAsCallsFromTheLoop) {
    Loop loop;
    std::vector<int> got;
    loop.on_signal(SIGUSR1, [&](int) { got.push_back(-1); });
    loop.on_signal(SIGUSR1, [&](int n) { got.push_back(n); });  // replaces
    loop.on_signal(SIGUSR2, [&](int n) { got.push_back(n); });
    std::raise(SIGUSR1);
    EXPECT_TRUE(loop.run_until([&] { return got.size() == 1; }, kDeadline));
    std::raise(SIGUSR2);
    EXPECT_TRUE(loop.run_until([&] { return got.size() == 2; }, kDeadline));
    EXPECT_THAT(got, ::testing::ElementsAre(SIGUSR1, SIGUSR2));
}

TEST(Deferred, RunsOncePerTurnHoweverOftenItIsScheduled) {
    Loop loop;
    int ran = 0;
    Deferred deferred(loop, [&] { ++ran; });
    loop.post([&] {
        for (int i = 0; i < 10; ++i) deferred.schedule();
        EXPECT_EQ(ran, 0);
    });
    EXPECT_TRUE(loop.run_until([&] { return ran > 0; }, kDeadline));
    EXPECT_EQ(ran, 1);
}

TEST(Deferred, ThatSchedulesItselfForEverDoesNotStarveTheLoop) {
    Loop loop;
    int ran = 0;
    std::function<void()> again;
    Deferred deferred(loop, [&] {
        ++ran;
        again();
    });
    again = [&] { deferred.schedule(); };
    deferred.schedule();
    bool posted = false;
    loop.post([&] { posted = true; });
    EXPECT_TRUE(loop.run_until([&] { return posted && ran > 100; }, kDeadline));
}

TEST(Deferred, DestroyedBeforeItsTurnDoesNotRun) {
    Loop loop;
    int ran = 0;
    auto second = std::make_unique<Deferred>(loop, [&] { ran += 100; });
    Deferred first(loop, [&] {
        ++ran;
        second.reset();
    });
    first.schedule();
    second->schedule();
    EXPECT_TRUE(loop.run_until([&] { return ran > 0; }, kDeadline));
    EXPECT_FALSE(loop.run_until([] { return false; }, 5ms));
    EXPECT_EQ(ran, 1);
}

}  // namespace
}  // namespace logstream::net
