// A view's number as Kafka's record batches carry it: 32 bits, signed. Everywhere else views are counted in 64 bits,
// and only these two conversions know of the narrower field. It holds a view change a second for 68 years; numbers
// beyond it are never promised (view/record.h), so a conversion cannot lose anything.
#pragma once

#include "internal/protocol/error.h"
#include "internal/protocol/ids.h"

namespace logstream::protocol {

using LeaderEpoch = Id<struct LeaderEpochTag, std::int32_t>;

inline constexpr LeaderEpoch kNoLeaderEpoch{-1};  // no owner has appended the batch yet

constexpr LeaderEpoch leader_epoch_of(ViewNumber view) {
    LS_ASSERT(view <= kMaxViewNumber);
    return LeaderEpoch{static_cast<std::int32_t>(view.value)};
}

// 0 for any negative epoch: no view.
constexpr ViewNumber view_of(LeaderEpoch epoch) {
    return ViewNumber{epoch.value < 0 ? 0 : static_cast<std::uint64_t>(epoch.value)};
}

}  // namespace logstream::protocol
