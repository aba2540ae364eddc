// The sender's ring, its window, and what it sends again.
#include <gmock/gmock.h>

#include "internal/replication/retransmit_handler.h"
#include "tests/unit/replication_samples.h"

namespace logstream::replication {
namespace {

using namespace samples;
using testing::ElementsAre;
using testing::Optional;

constexpr std::size_t kPayload = 60;
constexpr std::size_t kDatagram = protocol::kFrameHeaderBytes + kPayload;

PackedFrame frame(std::uint64_t sequence) {
    return {Sequence{sequence},
            protocol::kFirstFragment,
            {Bytes::allocate(protocol::kFrameHeaderBytes), batch(kPayload, sequence)}};
}

SendRing ring_of(SendRing::Window window, std::uint64_t frames) {
    SendRing ring({kCluster, kView, kSender, Sequence{1}}, window);
    for (std::uint64_t s = 1; s <= frames; ++s) ring.append(frame(s));
    return ring;
}

TEST(SendRing, WritesHeaderAndChecksum) {
    SendRing ring({kCluster, kView, kSender, Sequence{3}}, {1000, 10});
    const Bytes sent = datagram(ring.append(frame(3)));
    const auto decoded = protocol::decode_frame(sent.span());
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(decoded->header.type, protocol::MessageType::kReplicate);
    EXPECT_EQ(decoded->header.flags, protocol::kFirstFragment);
    EXPECT_EQ(decoded->header.cluster, kCluster);
    EXPECT_EQ(decoded->header.view, kView);
    EXPECT_EQ(decoded->header.sender, kSender);
    EXPECT_EQ(decoded->header.sequence, Sequence{3});
    EXPECT_EQ(sent.from(decoded->payload_begin).view(), batch(kPayload, 3).view());
}

TEST(SendRing, WindowBoundsBytes) {
    SendRing ring = ring_of({3 * kDatagram, 100}, 2);
    EXPECT_TRUE(ring.can_send(kDatagram));
    EXPECT_FALSE(ring.can_send(kDatagram + 1));
    ring.append(frame(3));
    EXPECT_FALSE(ring.can_send(1));
    ring.release(Sequence{1});
    EXPECT_TRUE(ring.can_send(kDatagram));
    EXPECT_EQ(ring.bytes_in_flight(), 2 * kDatagram);
}

TEST(SendRing, WindowBoundsFrames) {
    SendRing ring = ring_of({1u << 20, 2}, 2);
    EXPECT_FALSE(ring.can_send(1));
    ring.release(Sequence{1});
    EXPECT_TRUE(ring.can_send(1));
}

TEST(SendRing, WindowSmallerThanAFrameIsSlowNotStuck) {
    SendRing ring = ring_of({kDatagram / 2, 10}, 1);
    EXPECT_FALSE(ring.can_send(kDatagram));
    ring.release(Sequence{1});
    EXPECT_TRUE(ring.can_send(kDatagram));
}

TEST(SendRing, HoldsTheSameBytesUntilStable) {
    SendRing ring({kCluster, kView, kSender, Sequence{1}}, {1u << 20, 1000});
    std::vector<Bytes> sent;
    for (std::uint64_t s = 1; s <= 300; ++s) {
        sent.push_back(datagram(ring.append(frame(s))));
        if (s > 100) ring.release(Sequence{s - 100});
        for (std::uint64_t held = s > 100 ? s - 99 : 1; held <= s; ++held) {
            const OutFrame* found = ring.find(Sequence{held});
            ASSERT_NE(found, nullptr);
            ASSERT_EQ(datagram(*found).view(), sent[held - 1].view());
        }
        EXPECT_EQ(ring.find(ring.first_available() - 1), nullptr);
        EXPECT_EQ(ring.find(Sequence{s + 1}), nullptr);
    }
}

TEST(SendRing, StableBeyondTheLastSentReleasesWhatThereIs) {
    SendRing ring = ring_of({1000, 10}, 2);
    ring.release(Sequence{50});
    EXPECT_EQ(ring.frames_in_flight(), 0u);
    EXPECT_EQ(ring.bytes_in_flight(), 0u);
    EXPECT_EQ(ring.first_available(), Sequence{3});
    EXPECT_EQ(ring.last_sent(), Sequence{2});
    ring.release(Sequence{1});
    EXPECT_EQ(ring.first_available(), Sequence{3}) << "stable never falls";
}

std::vector<std::uint64_t> sequences(const std::vector<OutFrame>& frames) {
    std::vector<std::uint64_t> out;
    for (const OutFrame& f : frames) out.push_back(protocol::decode_frame(datagram(f).span())->header.sequence.value);
    return out;
}

std::vector<std::uint64_t> poll(RetransmitHandler& handler, const SendRing& ring, TimePoint now) {
    std::vector<OutFrame> out;
    handler.poll(ring, now, out);
    return sequences(out);
}

TEST(RetransmitHandler, ResendsWhatWasAskedFor) {
    const SendRing ring = ring_of({1u << 20, 1000}, 20);
    RetransmitHandler handler({}, kStart);
    const std::vector ranges{range(2, 4), range(9, 9)};
    EXPECT_EQ(handler.on_nack(ranges, ring, kStart), std::nullopt);
    EXPECT_EQ(handler.next_deadline(), kStart);
    EXPECT_THAT(poll(handler, ring, kStart), ElementsAre(2, 3, 4, 9));
    EXPECT_THAT(poll(handler, ring, kStart), ElementsAre());
    EXPECT_EQ(handler.next_deadline(), TimePoint::max());
    EXPECT_EQ(handler.counters().resent_frames, 4u);
    EXPECT_EQ(handler.counters().resent_bytes, 4 * kDatagram);
}

TEST(RetransmitHandler, OneResendServesTheNacksOfAllReceivers) {
    const SendRing ring = ring_of({1u << 20, 1000}, 20);
    RetransmitHandler handler({.linger = 5ms}, kStart);
    const std::vector ranges{range(2, 3)};
    handler.on_nack(ranges, ring, kStart);
    handler.on_nack(ranges, ring, kStart);
    EXPECT_THAT(poll(handler, ring, kStart), ElementsAre(2, 3));
    handler.on_nack(ranges, ring, kStart + 4ms);
    EXPECT_THAT(poll(handler, ring, kStart + 4ms), ElementsAre()) << "the resend lingers";
    EXPECT_EQ(handler.counters().suppressed, 4u);
    handler.on_nack(ranges, ring, kStart + 5ms);
    EXPECT_THAT(poll(handler, ring, kStart + 5ms), ElementsAre(2, 3)) << "it was lost, too";
}

TEST(RetransmitHandler, NackForReleasedFramesIsAnsweredGone) {
    SendRing ring = ring_of({1u << 20, 1000}, 20);
    ring.release(Sequence{10});
    RetransmitHandler handler({}, kStart);
    const std::vector old{range(3, 5)};
    const std::vector half{range(9, 12)};
    EXPECT_THAT(handler.on_nack(old, ring, kStart), Optional(Sequence{11}));
    EXPECT_THAT(poll(handler, ring, kStart), ElementsAre());
    EXPECT_THAT(handler.on_nack(half, ring, kStart), Optional(Sequence{11}));
    EXPECT_THAT(poll(handler, ring, kStart), ElementsAre(11, 12));
    EXPECT_EQ(handler.counters().gone, 2u);
}

TEST(RetransmitHandler, FramesReleasedWhileQueuedAreSkipped) {
    SendRing ring = ring_of({1u << 20, 1000}, 20);
    RetransmitHandler handler({}, kStart);
    const std::vector ranges{range(1, 4)};
    handler.on_nack(ranges, ring, kStart);
    ring.release(Sequence{3});
    EXPECT_THAT(poll(handler, ring, kStart), ElementsAre(4));
}

TEST(RetransmitHandler, GarbageIsCountedAndIgnored) {
    const SendRing ring = ring_of({1u << 20, 1000}, 20);
    RetransmitHandler handler({}, kStart);
    const std::vector ranges{range(5, 4), range(20, 21), range(1, ~0ULL), range(~0ULL, ~0ULL)};
    EXPECT_EQ(handler.on_nack(ranges, ring, kStart), std::nullopt);
    EXPECT_THAT(poll(handler, ring, kStart), ElementsAre());
    EXPECT_EQ(handler.counters().invalid, 4u);

    const std::vector<SequenceRange> same(10'000, range(1, 20));  // costs no more than the ring is long
    EXPECT_EQ(handler.on_nack(same, ring, kStart), std::nullopt);
    EXPECT_LE(handler.counters().suppressed, 20u);
    EXPECT_EQ(poll(handler, ring, kStart).size(), 20u);
}

TEST(RetransmitHandler, BoundsANackAndTheQueue) {
    const SendRing ring = ring_of({1u << 20, 1000}, 100);
    RetransmitHandler handler({.max_frames_per_nack = 30, .max_queued_frames = 50}, kStart);
    const std::vector all{range(1, 100)};
    handler.on_nack(all, ring, kStart);
    handler.on_nack(all, ring, kStart);
    handler.on_nack(all, ring, kStart);
    EXPECT_EQ(poll(handler, ring, kStart).size(), 50u);
    EXPECT_EQ(handler.counters().cut_off, 3u);
    handler.on_nack(all, ring, kStart + 1ms);
    const auto more = poll(handler, ring, kStart + 1ms);
    ASSERT_EQ(more.size(), 30u) << "what lingers does not use the bound up";
    EXPECT_EQ(more.front(), 51u);
}

TEST(RetransmitHandler, RateIsCapped) {
    const SendRing ring = ring_of({1u << 20, 1000}, 100);
    RetransmitHandler handler({.bytes_per_second = 1000 * kDatagram, .burst_bytes = 10 * kDatagram}, kStart);
    const std::vector all{range(1, 100)};
    handler.on_nack(all, ring, kStart);
    std::size_t sent = poll(handler, ring, kStart).size();
    EXPECT_EQ(sent, 10u);
    TimePoint now = kStart;
    while (handler.next_deadline() != TimePoint::max()) {
        ASSERT_GT(handler.next_deadline(), now);
        now = handler.next_deadline();
        sent += poll(handler, ring, now).size();
    }
    EXPECT_EQ(sent, 100u);
    EXPECT_GE(now - kStart, 89ms);
    EXPECT_LE(now - kStart, 92ms);
}

// The marks follow the ring over many times its length.
TEST(RetransmitHandler, SlidesWithTheRing) {
    SendRing ring = ring_of({1u << 20, 1000}, 0);
    RetransmitHandler handler({}, kStart);
    for (std::uint64_t s = 1; s <= 5000; ++s) {
        ring.append(frame(s));
        if (s % 7 == 0) {
            const std::vector ranges{range(s - 1, s)};
            handler.on_nack(ranges, ring, kStart);
            ASSERT_THAT(poll(handler, ring, kStart), ElementsAre(s - 1, s));
        }
        if (s > 90) ring.release(Sequence{s - 90});
    }
}

}  // namespace
}  // namespace logstream::replication
