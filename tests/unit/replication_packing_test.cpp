// Messages into frames: FramePacker, and back by ReceiveWindow where that says it best.
#include <gmock/gmock.h>

#include "internal/replication/frame_packer.h"
#include "internal/replication/receive_window.h"
#include "tests/unit/replication_samples.h"

namespace logstream::replication {
namespace {

using namespace samples;
using protocol::kFirstFragment;
using protocol::kFrameHeaderBytes;
using protocol::kLastFragment;

constexpr std::size_t kFrameBytes = 1472;

TEST(SessionMessage, HeadSurvivesTheWire) {
    const StreamId stream{protocol::TopicId{~0ULL}, ~0U};
    const MessageHead head = encode_message_head(stream, Sequence{~0ULL}, -1, 1000);
    EXPECT_EQ(head.size, kMaxMessageHeadBytes);
    const auto decoded = decode_message_head(head.span(), 1000);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->stream, stream);
    EXPECT_EQ(decoded->committed, Sequence{~0ULL});
    EXPECT_EQ(decoded->appended_ms, -1);
    EXPECT_EQ(decoded->head_bytes, head.size);
    EXPECT_EQ(decoded->batch_bytes, 1000u);
}

TEST(SessionMessage, LengthsThatContradictAreCorrupt) {
    const MessageHead head = encode_message_head(stream(1), Sequence{1}, 0, 1000);
    for (std::size_t cut = 0; cut < head.size; ++cut) {
        EXPECT_FALSE(decode_message_head(head.span().first(cut), 1000)) << cut;
    }
    EXPECT_FALSE(decode_message_head(head.span(), 999)) << "batch over the limit";
    EXPECT_FALSE(decode_message_head(encode_message_head(stream(1), Sequence{1}, 0, 0).span(), 999)) << "empty batch";
}

TEST(FramePacker, SmallMessagesShareAFrame) {
    FramePacker packer(kFrameBytes, Sequence{5});
    std::deque<PackedFrame> out;
    for (std::uint64_t i = 0; i < 3; ++i)
        EXPECT_EQ(packer.add(stream(i), Sequence{2}, 0, batch(100, i), out), Sequence{5});
    EXPECT_TRUE(out.empty());
    const std::size_t open_bytes = packer.open_bytes();
    packer.flush(out);
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ(out[0].sequence, Sequence{5});
    EXPECT_EQ(out[0].flags, kFirstFragment | kLastFragment);
    EXPECT_EQ(out[0].frame.size(), open_bytes);
    EXPECT_FALSE(packer.open());
    EXPECT_EQ(packer.open_bytes(), 0u);
    packer.flush(out);
    EXPECT_EQ(out.size(), 1u) << "nothing to flush makes no frame";
}

TEST(FramePacker, FrameThatIsFullGoesOutWithTheNextMessage) {
    FramePacker packer(kFrameBytes, Sequence{1});
    std::deque<PackedFrame> out;
    Sequence last{};
    for (std::uint64_t i = 0; i < 20; ++i) last = packer.add(stream(0), Sequence{0}, 0, batch(400, i), out);
    packer.flush(out);
    EXPECT_EQ(out.size(), 7u) << "three to a frame";
    EXPECT_EQ(last, Sequence{7});
}

TEST(FramePacker, MessagesShareAFrameToItsLastByte) {
    const std::size_t head = encode_message_head(stream(0), Sequence{0}, 0, 1).size;
    const std::size_t exact = kFrameBytes - kFrameHeaderBytes - 2 * head - 1000;  // what is left behind 1000 bytes
    for (const std::size_t size : {exact, exact + 1}) {
        FramePacker packer(kFrameBytes, Sequence{1});
        std::deque<PackedFrame> out;
        packer.add(stream(0), Sequence{0}, 0, batch(1000, 0), out);
        packer.add(stream(0), Sequence{0}, 0, batch(size, 1), out);
        packer.flush(out);
        EXPECT_EQ(out.size(), size == exact ? 1u : 2u);
        EXPECT_LE(out[0].frame.size(), kFrameBytes);
    }
}

TEST(FramePacker, LargeMessageIsCutIntoFullFramesByReference) {
    FramePacker packer(kFrameBytes, Sequence{1});
    std::deque<PackedFrame> out;
    packer.add(stream(0), Sequence{0}, 0, batch(10, 0), out);
    const Bytes large = batch(9'800, 1);
    const Sequence last = packer.add(stream(1), Sequence{0}, 0, large, out);
    EXPECT_EQ(out.front().sequence, Sequence{1}) << "what waited goes first";
    EXPECT_EQ(out.back().sequence, last);
    ASSERT_EQ(out.size(), 8u);
    const std::byte* expected = large.data();
    for (std::size_t i = 1; i < out.size(); ++i) {
        EXPECT_EQ(out[i].flags, (i == 1 ? kFirstFragment : 0) | (i == 7 ? kLastFragment : 0));
        EXPECT_TRUE(i == 7 || out[i].frame.size() == kFrameBytes);
        EXPECT_EQ(out[i].frame.tail.data(), expected) << "a slice, not a copy";
        expected += out[i].frame.tail.size();
    }
    EXPECT_EQ(expected, large.data() + large.size());
    EXPECT_FALSE(packer.open());
}

TEST(FramePacker, LargeBatchThatFitsTravelsByReferenceBehindWhatWaited) {
    FramePacker packer(9000, Sequence{1});
    std::deque<PackedFrame> out;
    packer.add(stream(0), Sequence{0}, 0, batch(500, 0), out);
    const Bytes large = batch(FramePacker::kReferenceBytes, 1);
    EXPECT_EQ(packer.add(stream(1), Sequence{0}, 0, large, out), Sequence{1});
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ(out[0].frame.tail.data(), large.data());
    EXPECT_GT(out[0].frame.head.size(), 500u);
}

// Alone in its view an owner commits at once, even what is in the frame that is being filled.
TEST(FramePacker, NoFrameClaimsToBeCommittedItself) {
    FramePacker packer(kFrameBytes, Sequence{1});
    std::deque<PackedFrame> out;
    packer.add(stream(0), Sequence{1}, 0, batch(10, 0), out);
    packer.flush(out);
    ReceiveWindow window({});
    std::vector<DeliveredMessage> delivered;
    ASSERT_TRUE(window.insert(Sequence{1}, out[0].flags, payload(out[0].frame), delivered));
    EXPECT_EQ(delivered.at(0).committed, Sequence{0});
}

// Every size around the places where the packing changes, through every kind of frame limit.
TEST(FramePacker, WhatIsPackedIsUnpackedWhateverTheSizes) {
    for (const std::size_t frame_bytes :
         {protocol::kMinFrameBytes, kFrameBytes, std::size_t{9000}, std::size_t{65507}}) {
        std::vector<std::size_t> sizes{1, 2, 61, 4095, 4096, 4097, 70'000};
        for (std::size_t i = frame_bytes - 80; i < frame_bytes + 40; ++i) sizes.push_back(i);
        for (std::size_t i = 2 * frame_bytes - 120; i < 2 * frame_bytes; i += 3) sizes.push_back(i);

        FramePacker packer(frame_bytes, Sequence{1});
        ReceiveWindow window({});
        std::deque<PackedFrame> frames;
        std::vector<Sequence> ends;
        for (std::size_t i = 0; i < sizes.size(); ++i) {
            ends.push_back(packer.add(stream(i), Sequence{0}, 0, batch(sizes[i], i), frames));
        }
        packer.flush(frames);

        std::vector<DeliveredMessage> delivered;
        for (const PackedFrame& frame : frames) {
            ASSERT_LE(frame.frame.size(), frame_bytes);
            ASSERT_TRUE(window.insert(frame.sequence, frame.flags, payload(frame.frame), delivered));
        }
        ASSERT_EQ(delivered.size(), sizes.size());
        for (std::size_t i = 0; i < sizes.size(); ++i) {
            EXPECT_EQ(delivered[i].stream, stream(i));
            EXPECT_EQ(delivered[i].last_frame, ends[i]);
            EXPECT_EQ(delivered[i].batch.view(), batch(sizes[i], i).view());
        }
    }
}

}  // namespace
}  // namespace logstream::replication
