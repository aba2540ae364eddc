#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>

#include "internal/protocol/checksum.h"
#include "internal/protocol/frame.h"
#include "internal/protocol/wire.h"
#include "tests/unit/protocol_samples.h"

namespace logstream::protocol {
namespace {

const FrameHeader kHeader{MessageType::kReplicate,      kFirstFragment | kLastFragment, cluster_tag("logstream"),
                          ViewNumber{0x1122334455},     NodeId{0xfedcba9876543210ull},  Sequence{0x0102030405060708ull},
                          ViewId{0x0a0b0c0d0e0f1011ull}};

void expect_same(const FrameHeader& got, const FrameHeader& want) {
    EXPECT_EQ(got.type, want.type);
    EXPECT_EQ(got.flags, want.flags);
    EXPECT_EQ(got.cluster, want.cluster);
    EXPECT_EQ(got.view, want.view);
    EXPECT_EQ(got.sender, want.sender);
    EXPECT_EQ(got.sequence, want.sequence);
    EXPECT_EQ(got.view_id, want.view_id);
}

// Gives a frame that was changed by hand its right checksum again.
void seal(Bytes& frame) {
    store(frame.mutable_data() + 12, std::uint32_t{0});
    store(frame.mutable_data() + 12, crc32c(frame.span()));
}

TEST(Frame, EveryPayloadSizeSurvivesTheRoundTrip) {
    std::mt19937 random(1);
    for (std::size_t size = 0; size < 3000; size += size < 100 ? 1 : 97) {
        std::string payload(size, '\0');
        for (char& c : payload) c = static_cast<char>(random());
        const Bytes frame = encode_frame(kHeader, bytes_of(payload));
        ASSERT_EQ(frame.size(), kFrameHeaderBytes + size);
        const auto decoded = decode_frame(frame.span());
        ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
        expect_same(decoded->header, kHeader);
        ASSERT_EQ(decoded->payload_begin, kFrameHeaderBytes);
        EXPECT_EQ(frame.view().substr(decoded->payload_begin), payload);
    }
}

TEST(Frame, APayloadOfTwoPartsIsTheSameFrame) {
    const std::string payload = "a payload in two parts";
    const Bytes whole = encode_frame(kHeader, bytes_of(payload));
    for (std::size_t cut = 0; cut <= payload.size(); ++cut) {
        const auto header = encode_frame_header(kHeader, bytes_of(payload).first(cut), bytes_of(payload).subspan(cut));
        EXPECT_EQ(std::memcmp(header.data(), whole.data(), header.size()), 0) << cut;
    }
}

// The layout is a promise to other versions: a change here needs a new protocol version.
TEST(Frame, LayoutIsAsDocumented) {
    const Bytes frame = encode_frame(kHeader, bytes_of("xy"));
    const std::byte* at = frame.data();
    EXPECT_EQ(frame.view().substr(0, 4), "LSDG");
    EXPECT_EQ(load<std::uint8_t>(at + 4), 1);
    EXPECT_EQ(load<std::uint8_t>(at + 5), 4);
    EXPECT_EQ(load<std::uint8_t>(at + 6), 3);
    EXPECT_EQ(load<std::uint8_t>(at + 7), 12);
    EXPECT_EQ(load<std::uint32_t>(at + 8), kHeader.cluster.value);
    EXPECT_EQ(load<std::uint64_t>(at + 16), kHeader.view.value);
    EXPECT_EQ(load<std::uint64_t>(at + 24), kHeader.sender.value);
    EXPECT_EQ(load<std::uint64_t>(at + 32), kHeader.sequence.value);
    EXPECT_EQ(load<std::uint64_t>(at + 40), kHeader.view_id.value);
    Bytes zeroed = Bytes::copy_of(frame.span());
    store(zeroed.mutable_data() + 12, std::uint32_t{0});
    EXPECT_EQ(load<std::uint32_t>(at + 12), crc32c(zeroed.span()));
    EXPECT_EQ(cluster_tag(""), kAnyCluster);
    EXPECT_NE(cluster_tag("logstream"), cluster_tag("logstream2"));
}

TEST(Frame, EveryTruncationIsRefused) {
    const Bytes frame = encode_frame(kHeader, bytes_of("a payload that can be cut anywhere"));
    for (std::size_t size = 0; size < frame.size(); ++size) {
        const auto decoded = decode_frame(frame.span().first(size));
        ASSERT_FALSE(decoded.has_value()) << size;
        EXPECT_EQ(decoded.error().code, size < kFrameHeaderBytes ? ErrorCode::kInvalid : ErrorCode::kCorrupt) << size;
    }
}

TEST(Frame, ExtraBytesAreRefused) {
    const Bytes frame = encode_frame(kHeader, bytes_of("payload"));
    const std::string longer = std::string(frame.view()) + "x";
    EXPECT_EQ(decode_frame(bytes_of(longer)).error().code, ErrorCode::kCorrupt);
}

TEST(Frame, EveryFlippedBitIsRefused) {
    for (const std::size_t payload : {0, 1, 100}) {
        Bytes frame = encode_frame(kHeader, bytes_of(std::string(payload, 'p')));
        for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
            frame.mutable_data()[bit / 8] ^= std::byte{1} << (bit % 8);
            ASSERT_FALSE(decode_frame(frame.span()).has_value()) << bit;
            frame.mutable_data()[bit / 8] ^= std::byte{1} << (bit % 8);
        }
        EXPECT_TRUE(decode_frame(frame.span()).has_value());
    }
}

TEST(Frame, SeveralFlippedBitsAreRefused) {
    std::mt19937 random(3);
    const Bytes original = encode_frame(kHeader, bytes_of(std::string(1400, 'p')));
    for (int i = 0; i < 20000; ++i) {
        std::set<std::size_t> bits;
        for (std::size_t n = 2 + random() % 3; bits.size() < n;) bits.insert(random() % (original.size() * 8));
        Bytes frame = Bytes::copy_of(original.span());
        for (const std::size_t bit : bits) frame.mutable_data()[bit / 8] ^= std::byte{1} << (bit % 8);
        ASSERT_FALSE(decode_frame(frame.span()).has_value()) << i;
    }
}

TEST(Frame, AHeaderWithAnAuthenticationTagIsUnderstood) {
    const std::string tag(16, 't'), payload = "payload";
    Bytes frame = encode_frame(kHeader, bytes_of(tag + payload));
    store(frame.mutable_data() + 7, static_cast<std::uint8_t>((kFrameHeaderBytes + tag.size()) / 4));
    seal(frame);
    const auto decoded = decode_frame(frame.span());
    ASSERT_TRUE(decoded.has_value());
    expect_same(decoded->header, kHeader);
    EXPECT_EQ(frame.view().substr(decoded->payload_begin), payload);
}

// Older programs look for brokers with such datagrams.
TEST(Frame, AHeaderOfFortyBytesNamesNoViewId) {
    const std::string payload = "payload";
    Bytes whole = encode_frame(kHeader, bytes_of(payload));
    Bytes frame = Bytes::allocate(kLeastFrameHeaderBytes + payload.size());
    std::memcpy(frame.mutable_data(), whole.data(), kLeastFrameHeaderBytes);
    std::memcpy(frame.mutable_data() + kLeastFrameHeaderBytes, payload.data(), payload.size());
    store(frame.mutable_data() + 7, static_cast<std::uint8_t>(kLeastFrameHeaderBytes / 4));
    seal(frame);
    const auto decoded = decode_frame(frame.span());
    ASSERT_TRUE(decoded.has_value());
    EXPECT_EQ(decoded->header.view_id, ViewId{});
    EXPECT_EQ(decoded->header.sequence, kHeader.sequence);
    EXPECT_EQ(frame.view().substr(decoded->payload_begin), payload);
}

TEST(Frame, AHeaderLengthThatCannotBeIsRefused) {
    for (const unsigned words : {0u, 1u, 9u, 15u, 255u}) {
        Bytes frame = encode_frame(kHeader, bytes_of("12345678"));  // 56 bytes in all: 10 to 14 words are possible
        store(frame.mutable_data() + 7, static_cast<std::uint8_t>(words));
        seal(frame);
        EXPECT_EQ(decode_frame(frame.span()).error().code, ErrorCode::kInvalid) << words;
    }
}

TEST(Frame, AnotherVersionIsRefusedByName) {
    Bytes frame = encode_frame(kHeader, {});
    store(frame.mutable_data() + 4, std::uint8_t{2});
    seal(frame);
    const auto decoded = decode_frame(frame.span());
    ASSERT_FALSE(decoded.has_value());
    EXPECT_NE(decoded.error().message.find("version 2"), std::string::npos);
}

TEST(Frame, GarbageIsRefused) {
    std::mt19937 random(5);
    for (int i = 0; i < 20000; ++i) {
        std::string garbage(random() % 200, '\0');
        for (char& c : garbage) c = static_cast<char>(random());
        if (i % 2 == 0 && garbage.size() >= 8)
            garbage.replace(0, 4, "LSDG").replace(4, 1, "\x01").replace(7, 1, "\x0a");
        ASSERT_FALSE(decode_frame(bytes_of(garbage)).has_value());
    }
}

TEST(Frame, EveryTypeHasItsOwnName) {
    std::set<std::string_view> names;
    int named = 0;
    for (int type = 0; type < 256; ++type) {
        const std::string_view name = to_string(static_cast<MessageType>(type));
        if (name == "?") continue;
        ++named;
        names.insert(name);
    }
    EXPECT_EQ(names.size(), static_cast<std::size_t>(named));
    EXPECT_GE(named, 30);
}

}  // namespace
}  // namespace logstream::protocol
