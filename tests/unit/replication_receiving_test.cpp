// The receiver's window and its search for lost frames.
#include <gmock/gmock.h>

#include <set>

#include "internal/replication/frame_packer.h"
#include "internal/replication/loss_detector.h"
#include "tests/unit/replication_samples.h"

namespace logstream::replication {
namespace {

using namespace samples;
using protocol::kFirstFragment;
using protocol::kLastFragment;
using testing::ElementsAre;

constexpr std::uint8_t kWhole = kFirstFragment | kLastFragment;

Bytes message(std::size_t size, std::uint64_t seed, Sequence committed = Sequence{0}) {
    return join({encode_message_head(stream(seed), committed, 0, size).span(), batch(size, seed).span()});
}

struct Receiver {
    explicit Receiver(const ReceiveWindow::Options& options = {}) : window(options) {}
    bool whole(std::uint64_t sequence) { return insert(sequence, kWhole, message(50, sequence)); }
    bool insert(std::uint64_t sequence, std::uint8_t flags, const Bytes& bytes) {
        return window.insert(Sequence{sequence}, flags, bytes, out).has_value();
    }
    std::vector<std::uint64_t> frames() const {
        std::vector<std::uint64_t> result;
        for (const DeliveredMessage& m : out) result.push_back(m.last_frame.value);
        return result;
    }
    ReceiveWindow window;
    std::vector<DeliveredMessage> out;
};

TEST(ReceiveWindow, EarlyFramesWaitForTheMissingOne) {
    Receiver r;
    EXPECT_TRUE(r.whole(3));
    EXPECT_TRUE(r.whole(2));
    EXPECT_TRUE(r.out.empty());
    EXPECT_TRUE(r.window.has_gap());
    EXPECT_EQ(r.window.buffered_frames(), 2u);
    EXPECT_TRUE(r.whole(1));
    EXPECT_THAT(r.frames(), ElementsAre(1, 2, 3));
    EXPECT_FALSE(r.window.has_gap());
    EXPECT_EQ(r.window.buffered_bytes(), 0u);
    EXPECT_EQ(r.window.received(), Sequence{3});
    EXPECT_EQ(r.window.last_message_end(), Sequence{3});
}

TEST(ReceiveWindow, DuplicatesAreCountedAndDropped) {
    Receiver r;
    for (const std::uint64_t s : {1, 1, 3, 3, 2, 3, 1}) EXPECT_TRUE(r.whole(s));
    EXPECT_THAT(r.frames(), ElementsAre(1, 2, 3));
    EXPECT_EQ(r.window.counters().duplicates, 4u);
}

TEST(ReceiveWindow, FramesBeyondTheWindowAreDropped) {
    Receiver r({.first_sequence = Sequence{10}, .max_frames = 4});
    EXPECT_TRUE(r.whole(9)) << "before the session: a duplicate";
    EXPECT_TRUE(r.whole(13));
    EXPECT_TRUE(r.whole(14));
    EXPECT_TRUE(r.whole(~0ULL));
    EXPECT_EQ(r.window.counters().beyond, 2u);
    EXPECT_EQ(r.window.highest_seen(), Sequence{13});
    EXPECT_EQ(r.window.buffered_frames(), 1u);
}

TEST(ReceiveWindow, EarlyFramesAreBoundedInBytes) {
    Receiver r({.max_buffered_bytes = 190});
    EXPECT_TRUE(r.whole(2));
    EXPECT_TRUE(r.whole(3));
    EXPECT_TRUE(r.whole(4));
    EXPECT_EQ(r.window.counters().beyond, 1u);
    EXPECT_LE(r.window.buffered_bytes(), 190u);
    EXPECT_TRUE(r.window.is_missing(Sequence{4})) << "it is asked for again";
    EXPECT_TRUE(r.whole(1));
    EXPECT_TRUE(r.whole(4));
    EXPECT_THAT(r.frames(), ElementsAre(1, 2, 3, 4));
}

TEST(ReceiveWindow, ABatchDoesNotPinThePacketThatItCameIn) {
    Receiver r;
    const Bytes packet = message(50, 1);
    EXPECT_TRUE(r.insert(1, kWhole, packet.from(0)));
    EXPECT_EQ(r.out.at(0).batch.view(), batch(50, 1).view());
    EXPECT_FALSE(packet.shared());
}

TEST(ReceiveWindow, FragmentsMakeOneBatch) {
    Receiver r;
    const Bytes all = message(1000, 1);
    EXPECT_TRUE(r.insert(3, kLastFragment, all.from(800)));
    EXPECT_TRUE(r.insert(1, kFirstFragment, all.slice(0, 400)));
    EXPECT_EQ(r.window.received(), Sequence{1});
    EXPECT_EQ(r.window.last_message_end(), Sequence{0}) << "incomplete";
    EXPECT_TRUE(r.insert(2, 0, all.slice(400, 400)));
    ASSERT_EQ(r.out.size(), 1u);
    EXPECT_EQ(r.out[0].batch.view(), batch(1000, 1).view());
    EXPECT_EQ(r.out[0].stream, stream(1));
    EXPECT_EQ(r.out[0].last_frame, Sequence{3});
    EXPECT_EQ(r.window.last_message_end(), Sequence{3});
}

TEST(ReceiveWindow, HeartbeatRaisesHighestWithinTheWindow) {
    Receiver r({.max_frames = 8});
    r.window.raise_highest(Sequence{0});
    EXPECT_FALSE(r.window.has_gap());
    r.window.raise_highest(Sequence{3});
    EXPECT_TRUE(r.window.has_gap());
    r.window.raise_highest(Sequence{2});
    EXPECT_EQ(r.window.highest_seen(), Sequence{3});
    r.window.raise_highest(Sequence{~0ULL});
    EXPECT_EQ(r.window.highest_seen(), Sequence{8});
}

TEST(ReceiveWindow, GoneIsFatalOnlyForFramesThatAreLacking) {
    Receiver r;
    EXPECT_TRUE(r.whole(1));
    EXPECT_FALSE(r.window.is_cut_off(Sequence{1}));
    EXPECT_FALSE(r.window.is_cut_off(Sequence{2}));
    EXPECT_TRUE(r.window.is_cut_off(Sequence{3}));
}

TEST(ReceiveWindow, NonsenseEndsTheSession) {
    struct Frame {
        std::uint8_t flags;
        Bytes payload;
    };
    struct Case {
        const char* what;
        std::vector<Frame> frames;  // all but the last are fine
    };
    const Bytes m = message(100, 1);
    const Bytes cut = m.slice(0, m.size() - 10);
    const Bytes two_and_a_half = join({m.span(), m.span(), m.span().first(50)});
    const std::vector<Case> cases{
        {"empty frame", {{kWhole, {}}}},
        {"cut off", {{kWhole, cut}}},
        {"rest behind whole messages", {{kWhole, two_and_a_half}}},
        {"continues what was not begun", {{0, m}}},
        {"ends what was not begun", {{kLastFragment, m}}},
        {"fragment that holds all", {{kFirstFragment, m}}},
        {"head not in the first fragment", {{kFirstFragment, m.slice(0, 8)}}},
        {"begins while another is incomplete", {{kFirstFragment, cut}, {kWhole, m}}},
        {"begins twice", {{kFirstFragment, cut}, {kFirstFragment, cut}}},
        {"empty fragment", {{kFirstFragment, cut}, {0, {}}}},
        {"too short at its end", {{kFirstFragment, cut}, {kLastFragment, m.slice(0, 9)}}},
        {"too long at its end", {{kFirstFragment, cut}, {kLastFragment, m.slice(0, 11)}}},
        {"complete before its end", {{kFirstFragment, cut}, {0, m.slice(0, 10)}}},
        {"too large", {{kFirstFragment, message(1001, 1).slice(0, 500)}}},
        {"committed before it was sent", {{kWhole, message(10, 1, Sequence{1})}}},
    };
    for (const Case& c : cases) {
        Receiver r({.max_message_bytes = 1000});
        for (std::size_t i = 0; i < c.frames.size(); ++i) {
            const bool fine = i + 1 < c.frames.size();
            EXPECT_EQ(r.insert(i + 1, c.frames[i].flags, c.frames[i].payload), fine) << c.what;
        }
        EXPECT_FALSE(r.whole(c.frames.size() + 1)) << c.what << ": stays broken";
    }
}

TEST(ReceiveWindow, RandomBytesAreAnErrorNeverACrash) {
    Random random{1};
    int broken = 0;
    for (int round = 0; round < 3000; ++round) {
        Receiver r({.max_frames = 16, .max_buffered_bytes = 4000, .max_message_bytes = 4000});
        for (int i = 0; i < 30; ++i) {
            Bytes bytes = message(random.between(1, 200), random());
            if (random.chance(0.3)) bytes = bytes.slice(0, random.below(bytes.size() + 1));
            if (!bytes.empty() && random.chance(0.3)) {
                bytes.mutable_data()[random.below(std::min<std::size_t>(bytes.size(), 32))] = std::byte(random());
            }
            if (!r.insert(random.below(20), static_cast<std::uint8_t>(random.chance(0.7) ? 3 : random.below(4)),
                          bytes)) {
                ++broken;
                break;
            }
        }
    }
    EXPECT_GT(broken, 1000);
}

constexpr LossDetector::Options kTimes{
    .min_delay = 1ms, .max_delay = 2ms, .linger = 10ms, .max_linger = 40ms, .max_ranges = 4};

TEST(LossDetector, ReorderingWithinTheDelayCausesNoNack) {
    Receiver r;
    LossDetector detector(kTimes);
    r.whole(2);
    EXPECT_THAT(detector.poll(r.window, kStart, 0), ElementsAre());
    EXPECT_EQ(detector.next_deadline(), kStart + 1ms);
    r.whole(1);
    EXPECT_THAT(detector.poll(r.window, kStart + 1ms, 0), ElementsAre());
    EXPECT_EQ(detector.next_deadline(), TimePoint::max());
    EXPECT_EQ(detector.counters().nacks, 0u);
}

TEST(LossDetector, FirstDelayIsRandomWithinItsBounds) {
    Receiver r;
    r.whole(2);
    Random random{3};
    std::set<TimePoint> seen;
    for (int i = 0; i < 100; ++i) {
        LossDetector detector(kTimes);
        detector.poll(r.window, kStart, random());
        EXPECT_GE(detector.next_deadline(), kStart + 1ms);
        EXPECT_LE(detector.next_deadline(), kStart + 2ms);
        seen.insert(detector.next_deadline());
    }
    EXPECT_GT(seen.size(), 90u);
}

TEST(LossDetector, FirstSightStartsTheDelay) {
    Receiver r;
    LossDetector detector(kTimes);
    r.whole(2);
    detector.poll(r.window, kStart, 0);
    r.whole(4);
    detector.poll(r.window, kStart + 900us, 0);
    EXPECT_THAT(detector.poll(r.window, kStart + 1ms, 0), ElementsAre(range(1, 1)));
    EXPECT_THAT(detector.poll(r.window, kStart + 1900us, 0), ElementsAre(range(3, 3)));
}

TEST(LossDetector, NotAgainWhileAResendLingersThenLessAndLess) {
    Receiver r;
    LossDetector detector(kTimes);
    r.whole(2);
    detector.poll(r.window, kStart, 0);
    std::vector<Duration> at;
    for (TimePoint now = kStart; now < kStart + 200ms; now += 500us) {
        if (!detector.poll(r.window, now, 0).empty()) at.push_back(now - kStart);
    }
    EXPECT_THAT(at, ElementsAre(1ms, 11ms, 31ms, 71ms, 111ms, 151ms, 191ms));
}

TEST(LossDetector, AsksOnlyForWhatIsStillMissing) {
    Receiver r;
    LossDetector detector(kTimes);
    r.whole(11);
    detector.poll(r.window, kStart, 0);
    for (const std::uint64_t s : {1, 2, 5, 10}) r.whole(s);
    EXPECT_THAT(detector.poll(r.window, kStart + 1ms, 0), ElementsAre(range(3, 4), range(6, 9)));
    for (const std::uint64_t s : {3, 4, 7}) r.whole(s);
    EXPECT_THAT(detector.poll(r.window, kStart + 11ms, 0), ElementsAre(range(6, 6), range(8, 9)));
}

TEST(LossDetector, LostTailIsFoundByHeartbeat) {
    Receiver r;
    LossDetector detector(kTimes);
    r.whole(1);
    r.window.raise_highest(Sequence{5});
    detector.poll(r.window, kStart, 0);
    EXPECT_THAT(detector.poll(r.window, kStart + 1ms, 0), ElementsAre(range(2, 5)));
}

TEST(LossDetector, ManyGapsAreFollowedAFewAtATime) {
    Receiver r;
    LossDetector detector(kTimes);
    for (std::uint64_t s = 2; s <= 20; s += 2) r.whole(s);
    detector.poll(r.window, kStart, 0);
    EXPECT_THAT(detector.poll(r.window, kStart + 1ms, 0),
                ElementsAre(range(1, 1), range(3, 3), range(5, 5), range(7, 7)));
    r.whole(1);
    r.whole(3);
    detector.poll(r.window, kStart + 2ms, 0);
    EXPECT_THAT(detector.poll(r.window, kStart + 3ms, 0), ElementsAre(range(9, 9), range(11, 11)));
}

TEST(LossDetector, GapThatFallsApartIsFollowedToTheBoundAndGoneOnWith) {
    Receiver r;
    LossDetector detector(kTimes);
    r.whole(20);
    detector.poll(r.window, kStart, 0);
    for (std::uint64_t s = 2; s <= 18; s += 2) r.whole(s);
    EXPECT_THAT(detector.poll(r.window, kStart + 1ms, 0),
                ElementsAre(range(1, 1), range(3, 3), range(5, 5), range(7, 7)));
    r.whole(1);
    detector.poll(r.window, kStart + 2ms, 0);
    EXPECT_THAT(detector.poll(r.window, kStart + 3ms, 0), ElementsAre(range(9, 9)));
}

TEST(LossDetector, GapThatFallsApartIsStillFullyFollowed) {
    Receiver r;
    LossDetector detector(kTimes);
    r.whole(20);
    detector.poll(r.window, kStart, 0);
    for (std::uint64_t s = 2; s <= 18; s += 2) r.whole(s);
    std::set<std::uint64_t> asked;
    for (TimePoint now = kStart; now < kStart + 1s; now += 500us) {
        const auto ranges = detector.poll(r.window, now, 0);
        EXPECT_LE(ranges.size(), kTimes.max_ranges);
        for (const SequenceRange& each : ranges) {
            for (Sequence s = each.first; s <= each.last; ++s) {
                EXPECT_TRUE(r.window.is_missing(s));
                asked.insert(s.value);
                r.whole(s.value);
            }
        }
    }
    EXPECT_THAT(asked, ElementsAre(1, 3, 5, 7, 9, 11, 13, 15, 17, 19));
    EXPECT_FALSE(r.window.has_gap());
}

}  // namespace
}  // namespace logstream::replication
