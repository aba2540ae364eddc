// Who the sender waits for, and how much of its time.
#include <gtest/gtest.h>

#include "internal/replication/ack_tracker.h"
#include "internal/replication/stall_meter.h"

namespace logstream::replication {
namespace {

using namespace std::chrono_literals;
using protocol::Sequence;

constexpr NodeId kOwner{1}, kFast{2}, kSlow{3};

// The sender waits so much of each 100 ms for `holder`; after so long the level is over its limit, if ever within 60 s.
std::optional<Duration> over_after(Duration waits, NodeId holder) {
    StallMeter meter(5s);
    TimePoint now{};
    for (const TimePoint end = now + 60s; now < end; now += 100ms) {
        meter.update(holder, now);
        meter.update(std::nullopt, now + waits);
        if (const auto found = meter.over(now + waits)) {
            EXPECT_EQ(*found, holder);
            return now - TimePoint{};
        }
    }
    return std::nullopt;
}

TEST(StallMeter, FindsWhoHoldsTheSenderUpMostOfTheTime) {
    EXPECT_LT(over_after(100ms, kSlow).value_or(60s), 6s);
    EXPECT_LT(over_after(90ms, kSlow).value_or(60s), 7s);
    EXPECT_LT(over_after(60ms, kSlow).value_or(60s), 30s);
    EXPECT_FALSE(over_after(50ms, kSlow)) << "half of the time is no reason";
    EXPECT_FALSE(over_after(10ms, kSlow));
}

TEST(StallMeter, MembersThatTakeTurnsAreAsSlowAsEachOther) {
    StallMeter meter(5s);
    TimePoint now{};
    for (int i = 0; i < 1000; ++i, now += 100ms) {
        meter.update(i % 2 == 0 ? kFast : kSlow, now);
        EXPECT_FALSE(meter.over(now));
    }
}

TEST(StallMeter, TheOneBehindIsTheOneThatLacksWhatAllOthersHave) {
    const std::vector<NodeId> members{kOwner, kFast, kSlow};
    AckTracker acks(members, kOwner, Sequence{1});
    const TimePoint now{};
    acks.sent(Sequence{10}, now);
    EXPECT_FALSE(acks.only_one_behind()) << "all three are";
    acks.own_durable(Sequence{10}, now);
    acks.update(kFast, Sequence{9}, Sequence{10}, now);
    EXPECT_FALSE(acks.only_one_behind());
    acks.update(kFast, Sequence{10}, Sequence{10}, now);
    EXPECT_EQ(acks.only_one_behind(), kSlow);
    acks.update(kSlow, Sequence{10}, Sequence{10}, now);
    EXPECT_FALSE(acks.only_one_behind());
}

}  // namespace
}  // namespace logstream::replication
