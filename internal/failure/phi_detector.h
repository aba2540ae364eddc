// Room `failure`: decides from the arrival times of one peer's heartbeats whether that peer is alive.
// It knows neither who the peer is, nor what a view is, nor what time it is: `now` is an argument.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "internal/protocol/time.h"

namespace logstream::failure {

using protocol::Duration;
using protocol::TimePoint;

// Ordered from good to bad. Without another sign of life a verdict only ever gets worse.
enum class Verdict : std::uint8_t {
    kAlive,
    kSuspect,
    kFailed,
};

// The phi accrual failure detector for one peer (Hayashibara, Défago, Yared, Katayama: "The phi accrual failure
// detector", SRDS 2004, §4): phi(now) = -log10 P(the next heartbeat comes later than now), the intervals between
// heartbeats being taken as normal with the mean and deviation of a sliding window. So phi 8 is wrong about once in
// 10^8 intervals, were they really normal.
//
// Feed it what is sent at a steady pace (heartbeats), not every frame: a burst of data would fill the window with
// intervals that say nothing of the heartbeats' jitter.
//
// It cannot tell a silent peer from a pause of our own process. Whoever finds that its own event loop stood still
// drains its sockets before it asks for verdicts.
class PhiDetector {
public:
    struct Options {
        // The newest intervals that mean and deviation are computed from; at least 1.
        std::size_t window = 100;
        // What the peer is known to send at; > 0. The window begins with kPrimedSamples of it.
        Duration expected_interval = std::chrono::milliseconds(100);
        // The deviation counts as at least this, or a quiet network would make a millisecond's delay a failure; > 0.
        Duration min_deviation = std::chrono::milliseconds(50);
        // Phi above this suspects, above that fails; 0 < phi_suspect <= phi_fail < kMaxPhi.
        double phi_suspect = 8;
        double phi_fail = 10;
        // A silence this long fails whatever phi says; > 0.
        Duration timeout = std::chrono::seconds(15);
    };

    // Where phi is cut off; no verdict depends on more.
    static constexpr double kMaxPhi = 1000;
    // An interval longer than this many expected ones enters the window as this many: a pause (of the peer or of
    // ourselves) says nothing about the network's jitter. One such sample in a full default window moves the moment of
    // failure from 0.42 s to 0.68 s of silence, and slides out 100 heartbeats later.
    static constexpr int kMaxSampleMultiple = 10;

    // So many samples of the expected interval are in the window at first: enough that one pause while a broker starts
    // does not make the detector deaf, few enough that the real jitter is soon learned.
    static constexpr std::size_t kPrimedSamples = 10;

    // `now` counts as the first heartbeat: it is the moment the peer was last known to live (it joined, we began to
    // listen), so that one who never sends anything fails, too. Options come validated; bad ones are a bug.
    PhiDetector(const Options& options, TimePoint now);

    // A heartbeat arrived. A time before the last one counts as the same time.
    void heartbeat(TimePoint now);

    // The peer was known to live at `now` by other means than a heartbeat: its silence counts from then on, and what
    // passed between the heartbeats before and after is no interval.
    void known_alive(TimePoint now);

    // Suspicion in [0, kMaxPhi]; never falls as `now` rises, until the next sign of life.
    double phi(TimePoint now) const;

    Verdict verdict(TimePoint now) const;

    // The first instant, later than `now`, at which the verdict will be worse than verdict(now) if no heartbeat comes:
    // set one timer for it instead of polling. TimePoint::max() when the verdict is kFailed already.
    TimePoint next_change(TimePoint now) const;

    // Or what counted as one.
    TimePoint last_heartbeat() const { return last_; }

    // Of the window, as phi uses them (deviation after the floor); for status and metrics.
    Duration mean() const;
    Duration deviation() const;

private:
    void add_sample(Duration interval);

    Options options_;
    TimePoint last_;
    bool last_was_heartbeat_ = true;
    std::vector<double> samples_ns_;  // a ring once it has options_.window entries
    std::size_t oldest_ = 0;          // the entry that the next sample replaces, once the ring is full
    double mean_ns_ = 0;
    double deviation_ns_ = 0;  // >= min_deviation
};

}  // namespace logstream::failure
