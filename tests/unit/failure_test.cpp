#include <gmock/gmock.h>

#include <cmath>
#include <random>
#include <vector>

#include "internal/failure/phi_detector.h"

namespace logstream::failure {
namespace {

using namespace std::chrono_literals;
using ::testing::DoubleNear;

constexpr TimePoint kStart{1'000'000s};

// Heartbeats at the expected pace until the window holds nothing else.
PhiDetector steady(const PhiDetector::Options& options) {
    PhiDetector detector(options, kStart);
    for (std::size_t i = 0; i < options.window; ++i) {
        detector.heartbeat(detector.last_heartbeat() + options.expected_interval);
    }
    return detector;
}

TimePoint failure_time(const PhiDetector& detector) {
    TimePoint t = detector.last_heartbeat();
    while (detector.verdict(t) != Verdict::kFailed) t = detector.next_change(t);
    return t;
}

Duration silence_to_failure(const PhiDetector& detector) { return failure_time(detector) - detector.last_heartbeat(); }

// -log10 of the normal tail, computed with mpmath at 40 digits: -log10(erfc(z / sqrt(2)) / 2).
struct Known {
    int z;
    double phi;
};
constexpr Known kKnown[] = {
    {0, 0.301029995663981195}, {1, 0.7995455414919705},   {2, 1.64301608014093705},  {5, 6.5426456723906545},
    {6, 9.00586432747670421},  {10, 23.1180534054860759}, {20, 88.5600953430755919}, {28, 172.090237063241388},
    {30, 197.309209261660949}, {40, 349.437006459345842}, {60, 783.90742916411071},
};

TEST(PhiDetector, PhiIsTheNormalTailOfTheSilence) {
    const PhiDetector detector = steady({});  // mean 100 ms, deviation at its floor of 50 ms
    for (const auto& [z, phi] : kKnown) {
        EXPECT_THAT(detector.phi(detector.last_heartbeat() + 100ms + z * 50ms), DoubleNear(phi, phi * 1e-10))
            << "z " << z;
    }
}

TEST(PhiDetector, MeanAndDeviationAreThoseOfTheWindow) {
    PhiDetector detector({.window = 4, .min_deviation = 1ms}, kStart);
    for (const Duration interval : {100ms, 200ms, 300ms, 400ms})
        detector.heartbeat(detector.last_heartbeat() + interval);
    EXPECT_EQ(detector.mean(), 250ms);
    EXPECT_EQ(detector.deviation(), Duration(111'803'399));  // sqrt(12500) ms
    for (const auto& [z, phi] : kKnown) {
        const Duration silence = 250ms + Duration(std::llround(z * 111'803'398.874989));
        EXPECT_THAT(detector.phi(detector.last_heartbeat() + silence), DoubleNear(phi, phi * 1e-6)) << "z " << z;
    }
}

TEST(PhiDetector, TheWindowSlides) {
    PhiDetector detector({.window = 3, .min_deviation = 1ms}, kStart);
    const std::vector<Duration> intervals = {70ms, 110ms, 90ms, 130ms, 250ms, 10ms, 40ms};
    for (std::size_t i = 0; i < intervals.size(); ++i) {
        detector.heartbeat(detector.last_heartbeat() + intervals[i]);
        if (i < 2) continue;
        EXPECT_NEAR(static_cast<double>(detector.mean().count()),
                    static_cast<double>((intervals[i] + intervals[i - 1] + intervals[i - 2]).count()) / 3, 1);
    }
}

TEST(PhiDetector, BeginsAtTheExpectedInterval) {
    const PhiDetector detector({.expected_interval = 250ms}, kStart);
    EXPECT_EQ(detector.mean(), 250ms);
    EXPECT_EQ(detector.deviation(), 50ms);
    EXPECT_EQ(detector.last_heartbeat(), kStart);
}

TEST(PhiDetector, PeerThatNeverSendsFails) {
    const PhiDetector detector({}, kStart);
    EXPECT_EQ(detector.verdict(kStart), Verdict::kAlive);
    EXPECT_EQ(detector.verdict(kStart + 1s), Verdict::kFailed);
}

TEST(PhiDetector, QuietNetworkDoesNotMakeASmallDelayAFailure) {
    PhiDetector with_floor = steady({});
    EXPECT_EQ(with_floor.verdict(with_floor.last_heartbeat() + 300ms), Verdict::kAlive);
    PhiDetector without = steady({.min_deviation = 1ms});
    EXPECT_EQ(without.verdict(without.last_heartbeat() + 300ms), Verdict::kFailed);
}

TEST(PhiDetector, VerdictsAreSuspectAbove8AndFailedAbove10) {
    const PhiDetector detector = steady({});
    // z at phi 8 is 5.6120, at phi 10 6.3613: 380.60 ms and 418.07 ms of silence.
    const TimePoint last = detector.last_heartbeat();
    EXPECT_EQ(detector.verdict(last + 380ms), Verdict::kAlive);
    EXPECT_EQ(detector.verdict(last + 381ms), Verdict::kSuspect);
    EXPECT_EQ(detector.verdict(last + 418ms), Verdict::kSuspect);
    EXPECT_EQ(detector.verdict(last + 419ms), Verdict::kFailed);
}

TEST(PhiDetector, AHeartbeatClearsSuspicion) {
    PhiDetector detector = steady({});
    const TimePoint late = detector.last_heartbeat() + 400ms;
    ASSERT_EQ(detector.verdict(late), Verdict::kSuspect);
    detector.heartbeat(late);
    EXPECT_EQ(detector.verdict(late), Verdict::kAlive);
    EXPECT_LT(detector.phi(late), 0.1);
}

TEST(PhiDetector, WhoIsKnownToLiveIsSilentFromThenOnAndNoIntervalIsLearned) {
    PhiDetector detector = steady({});
    const Duration before = silence_to_failure(detector);
    const TimePoint known = detector.last_heartbeat() + 415ms;
    ASSERT_EQ(detector.verdict(known), Verdict::kSuspect);
    detector.known_alive(known);
    EXPECT_EQ(detector.verdict(known), Verdict::kAlive);
    EXPECT_EQ(silence_to_failure(detector), before);
    detector.heartbeat(known + 3ms);
    EXPECT_EQ(silence_to_failure(detector), before) << "neither 415 ms nor 3 ms is an interval";
    detector.heartbeat(known + 303ms);
    EXPECT_GT(silence_to_failure(detector), before) << "300 ms is one";
}

TEST(PhiDetector, JitterMakesItPatientAndCalmImpatientAgain) {
    PhiDetector detector = steady({});
    const Duration calm = silence_to_failure(detector);
    for (int i = 0; i < 50; ++i) {
        detector.heartbeat(detector.last_heartbeat() + 20ms);
        detector.heartbeat(detector.last_heartbeat() + 180ms);
    }
    EXPECT_EQ(detector.mean(), 100ms);
    EXPECT_EQ(detector.deviation(), 80ms);
    EXPECT_GT(silence_to_failure(detector), calm + 150ms);
    for (int i = 0; i < 100; ++i) detector.heartbeat(detector.last_heartbeat() + 100ms);
    EXPECT_EQ(silence_to_failure(detector), calm);
}

TEST(PhiDetector, TimeoutFailsWhateverPhiSays) {
    PhiDetector detector = steady({.min_deviation = 10h});
    const TimePoint last = detector.last_heartbeat();
    EXPECT_LT(detector.phi(last + 15s), 1);
    EXPECT_EQ(detector.verdict(last + 15s - 1ns), Verdict::kAlive);
    EXPECT_EQ(detector.verdict(last + 15s), Verdict::kFailed);
    EXPECT_EQ(detector.next_change(last), last + 15s);
}

TEST(PhiDetector, APauseDoesNotPoisonTheWindow) {
    PhiDetector detector = steady({});
    const Duration before = silence_to_failure(detector);
    detector.heartbeat(detector.last_heartbeat() + 10min);
    EXPECT_LT(silence_to_failure(detector), 700ms);
    for (int i = 0; i < 99; ++i) detector.heartbeat(detector.last_heartbeat() + 100ms);
    EXPECT_GT(silence_to_failure(detector), before);
    detector.heartbeat(detector.last_heartbeat() + 100ms);
    EXPECT_EQ(silence_to_failure(detector), before);
}

TEST(PhiDetector, APauseDuringStartUpDelaysDetectionByLessThanTwoSeconds) {
    PhiDetector detector({}, kStart);
    detector.heartbeat(kStart + 14s);
    EXPECT_LT(silence_to_failure(detector), 2s);
}

TEST(PhiDetector, PhiNeverFallsAndStaysFinite) {
    std::mt19937_64 random(7);
    for (int round = 0; round < 50; ++round) {
        PhiDetector detector({.window = 1 + random() % 20, .min_deviation = Duration(1 + random() % 100'000'000)},
                             kStart);
        for (int i = 0; i < 30; ++i) detector.heartbeat(detector.last_heartbeat() + Duration(random() % 500'000'000));
        const TimePoint last = detector.last_heartbeat();
        double previous = detector.phi(last - 1h);
        EXPECT_EQ(previous, detector.phi(last));
        for (Duration silence = 0ns; silence < 24h * 365; silence += silence / 50 + 1ns) {
            const double phi = detector.phi(last + silence);
            ASSERT_GE(phi, previous) << silence.count();
            ASSERT_LE(phi, PhiDetector::kMaxPhi);
            previous = phi;
        }
        EXPECT_EQ(previous, PhiDetector::kMaxPhi);
    }
}

TEST(PhiDetector, TheTailHasNoStepWhereItsFormChanges) {
    const PhiDetector detector = steady({});
    const TimePoint change = detector.last_heartbeat() + 100ms + Duration(std::llround(20 * std::sqrt(2.0) * 50e6));
    for (int i = -1000; i < 1000; ++i) {
        const double step = detector.phi(change + Duration(i + 1)) - detector.phi(change + Duration(i));
        ASSERT_GT(step, 0) << i;
        ASSERT_LT(step, 1e-6) << i;
    }
}

TEST(PhiDetector, TimeThatGoesBackIsNoTime) {
    PhiDetector detector = steady({});
    const TimePoint last = detector.last_heartbeat();
    detector.heartbeat(last - 5s);
    EXPECT_EQ(detector.last_heartbeat(), last);
    EXPECT_EQ(detector.verdict(last - 5s), Verdict::kAlive);
}

TEST(PhiDetector, NextChangeIsTheFirstInstantOfAWorseVerdict) {
    std::mt19937_64 random(11);
    for (int round = 0; round < 300; ++round) {
        const double suspect = 0.5 + static_cast<double>(random() % 100) / 10;
        PhiDetector detector({.window = 1 + random() % 30,
                              .min_deviation = Duration(1'000'000 + random() % 100'000'000),
                              .phi_suspect = suspect,
                              .phi_fail = suspect + static_cast<double>(random() % 3),
                              .timeout = Duration(200'000'000 + random() % 2'000'000'000)},
                             kStart);
        for (int i = 0; i < 40; ++i) detector.heartbeat(detector.last_heartbeat() + Duration(random() % 250'000'000));

        TimePoint now = detector.last_heartbeat();
        for (Verdict verdict = detector.verdict(now); verdict != Verdict::kFailed; verdict = detector.verdict(now)) {
            const TimePoint change = detector.next_change(now);
            for (TimePoint t = now; t < change; t += 1ms) {
                ASSERT_EQ(detector.verdict(t), verdict);
                if (random() % 64 == 0) {
                    ASSERT_EQ(detector.next_change(t), change);
                }
            }
            ASSERT_EQ(detector.verdict(change - 1ns), verdict);
            ASSERT_GT(detector.verdict(change), verdict);
            now = change;
        }
        EXPECT_EQ(detector.next_change(now), TimePoint::max());
        EXPECT_LE(now, detector.last_heartbeat() + 2'200ms);
    }
}

}  // namespace
}  // namespace logstream::failure
