// Chance from a seed, the same on every machine: only the generator's own bits and integer arithmetic are used, none of
// the standard library's distributions.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>
#include <vector>

#include "internal/protocol/time.h"

namespace logstream::sim {

class Random {
public:
    explicit Random(std::uint64_t seed) : bits_(seed) {}

    std::uint64_t next() { return bits_(); }
    // 0 to below - 1; 0 when `below` is 0.
    std::uint64_t below(std::uint64_t below) { return below == 0 ? 0 : next() % below; }
    // Both ends included.
    std::int64_t between(std::int64_t least, std::int64_t greatest) {
        return least + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(greatest - least + 1)));
    }
    protocol::Duration between(protocol::Duration least, protocol::Duration greatest) {
        return protocol::Duration(between(least.count(), greatest.count()));
    }
    bool chance(double probability) {
        return probability > 0 && static_cast<double>(next() >> 11) * 0x1p-53 < probability;
    }
    template <class T>
    const T& pick(const std::vector<T>& from) {
        return from[below(from.size())];
    }

private:
    std::mt19937_64 bits_;
};

}  // namespace logstream::sim
