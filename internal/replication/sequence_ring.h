// Slots for a sliding range of sequences: an array whose index is the sequence, modulo a power of two.
#pragma once

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "internal/replication/session.h"

namespace logstream::replication {

// Holds values for sequences [begin, end) that the owner keeps account of; a slot outside of it is T{}. Grows by
// doubling and never shrinks (it lives for one view), so the steady state allocates nothing.
template <class T>
class SequenceRing {
public:
    T& operator[](Sequence s) { return slots_[s.value & (slots_.size() - 1)]; }
    const T& operator[](Sequence s) const { return slots_[s.value & (slots_.size() - 1)]; }

    // Makes room for [begin, new_end), keeping the values of [begin, end). begin <= end <= new_end.
    void reserve(Sequence begin, Sequence end, Sequence new_end) {
        const std::size_t needed = new_end - begin;
        if (needed <= slots_.size()) return;
        std::vector<T> larger(std::max<std::size_t>(std::bit_ceil(needed), kMinSlots));
        for (Sequence s = begin; s < end; ++s) larger[s.value & (larger.size() - 1)] = std::move((*this)[s]);
        slots_ = std::move(larger);
    }

private:
    static constexpr std::size_t kMinSlots = 64;
    std::vector<T> slots_;
};

}  // namespace logstream::replication
