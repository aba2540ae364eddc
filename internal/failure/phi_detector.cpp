#include "internal/failure/phi_detector.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "internal/protocol/error.h"

namespace logstream::failure {

namespace {

double to_ns(Duration d) { return static_cast<double>(d.count()); }

// -log10 of the normal distribution's upper tail, P(Z > z) = erfc(z / sqrt 2) / 2.
double minus_log10_tail(double z) {
    const double x = z / std::numbers::sqrt2;
    // erfc underflows at x = 26.5. From 20 on its asymptotic series (Abramowitz & Stegun 7.1.23), whose first omitted
    // term is below 1e-13 there, is as exact, and its logarithm has no limit.
    if (x < 20) return -std::log10(std::erfc(x) / 2);
    const double y = 1 / (2 * x * x);
    const double series = 1 - y * (1 - 3 * y * (1 - 5 * y * (1 - 7 * y)));
    return x * x * std::numbers::log10e + std::log10(2 * x * std::sqrt(std::numbers::pi) / series);
}

}  // namespace

PhiDetector::PhiDetector(const Options& options, TimePoint now) : options_(options), last_(now) {
    LS_ASSERT(options.window >= 1);
    LS_ASSERT(options.expected_interval > Duration::zero());
    LS_ASSERT(options.min_deviation > Duration::zero());
    LS_ASSERT(options.timeout > Duration::zero());
    LS_ASSERT(0 < options.phi_suspect && options.phi_suspect <= options.phi_fail && options.phi_fail < kMaxPhi);
    samples_ns_.reserve(options.window);
    const std::size_t primed = std::min(options.window, kPrimedSamples);
    for (std::size_t i = 0; i < primed; ++i) add_sample(options.expected_interval);
}

void PhiDetector::heartbeat(TimePoint now) {
    const TimePoint arrived = std::max(now, last_);
    if (last_was_heartbeat_) add_sample(arrived - last_);
    last_ = arrived;
    last_was_heartbeat_ = true;
}

void PhiDetector::known_alive(TimePoint now) {
    last_ = std::max(now, last_);
    last_was_heartbeat_ = false;
}

void PhiDetector::add_sample(Duration interval) {
    const double sample_ns = std::min(to_ns(interval), kMaxSampleMultiple * to_ns(options_.expected_interval));
    if (samples_ns_.size() < options_.window) {
        samples_ns_.push_back(sample_ns);
    } else {
        samples_ns_[oldest_] = sample_ns;
        oldest_ = (oldest_ + 1) % options_.window;
    }
    // Computed anew and not kept as running sums: 100 additions ten times a second cost nothing and never drift.
    const auto count = static_cast<double>(samples_ns_.size());
    double sum = 0;
    for (const double s : samples_ns_) sum += s;
    mean_ns_ = sum / count;
    double squares = 0;
    for (const double s : samples_ns_) squares += (s - mean_ns_) * (s - mean_ns_);
    deviation_ns_ = std::max(std::sqrt(squares / count), to_ns(options_.min_deviation));
}

double PhiDetector::phi(TimePoint now) const {
    const double silent_ns = to_ns(std::max(now, last_) - last_);
    return std::clamp(minus_log10_tail((silent_ns - mean_ns_) / deviation_ns_), 0.0, kMaxPhi);
}

Verdict PhiDetector::verdict(TimePoint now) const {
    if (now - last_ >= options_.timeout) return Verdict::kFailed;
    const double suspicion = phi(now);
    if (suspicion > options_.phi_fail) return Verdict::kFailed;
    return suspicion > options_.phi_suspect ? Verdict::kSuspect : Verdict::kAlive;
}

TimePoint PhiDetector::next_change(TimePoint now) const {
    const Verdict current = verdict(now);
    if (current == Verdict::kFailed) return TimePoint::max();
    TimePoint same = now;                        // verdict(same) == current
    TimePoint worse = last_ + options_.timeout;  // verdict(worse) > current
    while (worse - same > Duration(1)) {         // 34 rounds for 15 s
        const TimePoint middle = same + (worse - same) / 2;
        (verdict(middle) > current ? worse : same) = middle;
    }
    return worse;
}

Duration PhiDetector::mean() const { return Duration(std::llround(mean_ns_)); }

Duration PhiDetector::deviation() const { return Duration(std::llround(deviation_ns_)); }

}  // namespace logstream::failure
