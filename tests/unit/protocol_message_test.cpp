#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "internal/protocol/checksum.h"
#include "internal/protocol/message.h"
#include "internal/protocol/wire.h"
#include "logstream.pb.h"

namespace logstream::protocol {
namespace {

const ClusterTag kCluster = cluster_tag("message-test");
constexpr std::size_t kWhole = std::numeric_limits<std::size_t>::max();

struct Told {
    std::string header, body;
    std::uint64_t correlation{};
    std::uint8_t flags{};
};

OutMessage to_message(const Told& s) {
    OutMessage m{MessageType::kProduce, s.flags, Correlation{s.correlation}, s.header, {}};
    // In pieces, empty ones among them.
    for (std::size_t at = 0, piece = 0; at < s.body.size(); at += piece, piece = piece * 2 + 1)
        m.body.push_back(Bytes::copy_of(std::string_view(s.body).substr(at, piece)));
    return m;
}

std::string on_wire(const OutMessage& m) {
    std::string out(encode_message_head(m, kCluster).view());
    for (const Bytes& piece : m.body) out += piece.view();
    return out;
}
std::string on_wire(const Told& s) { return on_wire(to_message(s)); }

std::string random_text(std::mt19937& random, std::size_t size) {
    std::string text(size, '\0');
    for (char& c : text) c = static_cast<char>(random());
    return text;
}

// A decoder, fed as a socket would, and what came out.
struct Feed {
    MessageDecoder decoder;
    std::vector<Message> got;
    Result<void> result;

    explicit Feed(MessageDecoder::Limits limits = {}) : decoder(kCluster, limits) {}

    // At most `chunk` bytes a read.
    bool bytes(std::string_view input, std::size_t chunk = kWhole) {
        while (!input.empty() && result) {
            const std::span<std::byte> room = decoder.writable();
            EXPECT_FALSE(room.empty());
            if (room.empty()) return false;
            const std::size_t size = std::min({chunk, room.size(), input.size()});
            std::memcpy(room.data(), input.data(), size);
            input.remove_prefix(size);
            result = decoder.received(size, [&](Message m) { got.push_back(std::move(m)); });
        }
        return result.has_value();
    }
    ErrorCode error() const { return result ? ErrorCode::kNone : result.error().code; }
};

void expect_same(const Message& got, const Told& want) {
    EXPECT_EQ(got.type, MessageType::kProduce);
    EXPECT_EQ(got.flags, want.flags);
    EXPECT_EQ(got.correlation.value, want.correlation);
    EXPECT_TRUE(got.header.view() == want.header);
    EXPECT_TRUE(got.body.view() == want.body);
}

// Sizes around every boundary that the decoder knows: nothing, small, the direct-read size, the read buffer.
std::vector<Told> messages() {
    std::mt19937 random(1);
    std::vector<Told> all;
    const std::size_t sizes[] = {0, 1, 31, 32, 33, 4095, 4096, 4097, 65503, 65536, 65537, 200000};
    for (const std::size_t header : sizes)
        for (const std::size_t body : sizes) {
            if (header > 5000 && body > 5000) continue;
            all.push_back({random_text(random, header), random_text(random, body), all.size() + 1,
                           static_cast<std::uint8_t>(all.size() % 2)});
        }
    return all;
}

TEST(Message, EverySizeSurvivesEveryChunking) {
    const auto all = messages();
    std::string wire;
    for (const Told& s : all) wire += on_wire(s);
    for (const std::size_t chunk :
         {std::size_t{13}, std::size_t{31}, std::size_t{32}, std::size_t{33}, std::size_t{1000}, std::size_t{4095},
          std::size_t{4096}, std::size_t{65535}, std::size_t{65536}, kWhole}) {
        Feed feed;
        ASSERT_TRUE(feed.bytes(wire, chunk)) << chunk << ": " << feed.result.error().message;
        ASSERT_EQ(feed.got.size(), all.size()) << chunk;
        for (std::size_t i = 0; i < all.size(); ++i) expect_same(feed.got[i], all[i]);
    }
}

// A thousand connections that wait for their next message share one read buffer.
TEST(Message, WhoWaitsForItsNextMessageHoldsNoReadBuffer) {
    const std::string whole = on_wire({"header", "body", 1});
    const std::string large = on_wire({"header", std::string(9000, 'b'), 2});
    Feed first;
    Feed second;
    const auto* const chunk = first.decoder.writable().data();
    ASSERT_TRUE(first.bytes(whole + large));
    EXPECT_EQ(second.decoder.writable().data(), chunk) << "after whole messages";
    ASSERT_TRUE(second.decoder.received(0, [](auto) {}));
    EXPECT_EQ(first.decoder.writable().data(), chunk) << "when nothing was there to be read";
    ASSERT_TRUE(first.bytes(whole.substr(0, 10)));
    EXPECT_NE(second.decoder.writable().data(), chunk) << "while a part of a message waits in it";
    ASSERT_TRUE(first.bytes(whole.substr(10)));
    ASSERT_EQ(first.got.size(), 3u);
}

TEST(Message, ByteByByteEachIsDeliveredWithItsLastByte) {
    std::string wire;
    std::vector<std::size_t> ends;
    const Told some[] = {
        {"h", "body", 1}, {"", "", 2}, {"", "b", 3}, {std::string(5000, 'h'), std::string(9000, 'b'), 4}};
    for (const Told& s : some) {
        wire += on_wire(s);
        ends.push_back(wire.size());
    }
    Feed feed;
    for (std::size_t i = 0; i < wire.size(); ++i) {
        ASSERT_TRUE(feed.bytes(wire.substr(i, 1)));
        const auto due = std::ranges::count_if(ends, [&](std::size_t end) { return end <= i + 1; });
        ASSERT_EQ(feed.got.size(), static_cast<std::size_t>(due)) << i;
    }
    for (std::size_t i = 0; i < std::size(some); ++i) expect_same(feed.got[i], some[i]);
}

TEST(Message, RandomMessagesInRandomChunksMatchTheModel) {
    std::mt19937 random(2);
    for (int run = 0; run < 50; ++run) {
        std::vector<Told> all;
        std::string wire;
        for (int i = 0; i < 60; ++i) {
            const auto size = [&] { return random() % 3 == 0 ? random() % 20000 : random() % 60; };
            all.push_back({random_text(random, size()), random_text(random, size()), random()});
            wire += on_wire(all.back());
        }
        Feed feed;
        for (std::size_t at = 0; at < wire.size();) {
            const std::size_t size = 1 + (random() % 2 == 0 ? random() % 50 : random() % 30000);
            ASSERT_TRUE(feed.bytes(std::string_view(wire).substr(at, size)));
            at += size;
        }
        ASSERT_EQ(feed.got.size(), all.size());
        for (std::size_t i = 0; i < all.size(); ++i) expect_same(feed.got[i], all[i]);
    }
}

TEST(Message, ALargeBodyIsReadIntoItsPlace) {
    const std::string wire = on_wire({"h", std::string(8 << 20, 'b'), 1});
    Feed feed;
    ASSERT_TRUE(feed.bytes(std::string_view(wire).substr(0, 100)));
    const std::span<std::byte> room = feed.decoder.writable();
    EXPECT_EQ(room.size(), wire.size() - 100) << "the rest of the body, and no more";
    ASSERT_TRUE(feed.bytes(std::string_view(wire).substr(100)));
    ASSERT_EQ(feed.got.size(), 1u);
    const std::byte* body = feed.got[0].body.data();
    EXPECT_TRUE(room.data() > body && room.data() < body + feed.got[0].body.size());
}

TEST(Message, NothingShortOfAWholeMessageIsDelivered) {
    const std::string wire = on_wire({"a header", "and a body", 7});
    for (std::size_t size = 0; size < wire.size(); ++size) {
        Feed feed;
        EXPECT_TRUE(feed.bytes(std::string_view(wire).substr(0, size)));
        EXPECT_TRUE(feed.got.empty()) << size;
    }
}

// The body has checksums of its own (record batches); a flip there is found where the batch is used.
TEST(Message, EveryFlippedBitBeforeTheBodyIsNoticed) {
    const Told sample{"a header of some bytes", "body", 99};
    const std::string wire = on_wire(sample);
    const std::size_t head = wire.size() - sample.body.size();
    for (std::size_t bit = 0; bit < head * 8; ++bit) {
        std::string damaged = wire;
        damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
        Feed feed;
        feed.bytes(damaged);
        // A length that grew makes the decoder wait for more; whatever comes, the message is never delivered.
        if (feed.result) feed.bytes(std::string(40 << 20, '\0'));
        EXPECT_FALSE(feed.result.has_value()) << "bit " << bit;
        EXPECT_TRUE(feed.got.empty()) << "bit " << bit;
    }
}

TEST(Message, GarbageIsNoticedAtItsFirstBytes) {
    Feed http;
    EXPECT_FALSE(http.bytes("GET "));
    EXPECT_EQ(http.error(), ErrorCode::kInvalid);
    std::mt19937 random(4);
    for (int i = 0; i < 2000; ++i) {
        Feed feed;
        std::string garbage = random_text(random, 200);
        if (i % 2 == 0) garbage.replace(0, 4, "LSTM");
        feed.bytes(garbage, 1 + random() % 100);
        EXPECT_TRUE(feed.got.empty());
        EXPECT_FALSE(feed.result.has_value());
    }
}

TEST(Message, GarbageBehindAMessageIsNoticedAfterItWasDelivered) {
    Feed feed;
    EXPECT_FALSE(feed.bytes(on_wire({"h", "b", 1}) + "garbage"));
    EXPECT_EQ(feed.got.size(), 1u);
    EXPECT_EQ(feed.error(), ErrorCode::kInvalid);
}

TEST(Message, AnotherClusterIsRefusedByName) {
    MessageDecoder decoder(cluster_tag("another"), {});
    const Bytes head = encode_message_head(to_message({"h", "", 1}), kCluster);
    std::memcpy(decoder.writable().data(), head.data(), head.size());
    const auto result = decoder.received(head.size(), [](Message) { FAIL(); });
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().code, ErrorCode::kWrongCluster);
    EXPECT_NE(result.error().message.find("--cluster"), std::string::npos);
}

TEST(Message, AnotherVersionIsRefused) {
    std::string wire = on_wire({"h", "", 1});
    wire[4] = 9;
    Feed feed;
    EXPECT_FALSE(feed.bytes(wire));
    EXPECT_EQ(feed.error(), ErrorCode::kInvalid);
}

TEST(Message, LimitsAreInclusiveAndClaimsOverThemAreRefused) {
    const MessageDecoder::Limits limits{.header_bytes = 100, .body_bytes = 5000};
    Feed most(limits);
    EXPECT_TRUE(most.bytes(on_wire({std::string(100, 'h'), std::string(5000, 'b'), 1})));
    EXPECT_EQ(most.got.size(), 1u);
    for (const auto& [header, body] : {std::pair{101, 0}, std::pair{0, 5001}}) {
        Feed over(limits);
        const std::string wire = on_wire(
            {std::string(static_cast<std::size_t>(header), 'h'), std::string(static_cast<std::size_t>(body), 'b'), 1});
        EXPECT_FALSE(over.bytes(std::string_view(wire).substr(0, kMessageHeaderBytes))) << "by the claim alone";
        EXPECT_EQ(over.error(), ErrorCode::kTooLarge);
    }
    for (const std::size_t field : {24, 28}) {
        std::string wire = on_wire({"h", "", 1});
        wire.replace(field, 4, "\xff\xff\xff\xff");
        Feed huge;
        EXPECT_FALSE(huge.bytes(wire));
        EXPECT_EQ(huge.error(), ErrorCode::kTooLarge);
    }
}

// Room that the header has for authentication later: an older receiver skips it, and the checksum covers it.
TEST(Message, AHeaderWithAnAuthenticationTagIsUnderstood) {
    const Told sample{"header", "body", 5};
    std::string wire = on_wire(sample);
    wire.insert(kMessageHeaderBytes, 16, 't');
    wire[7] = static_cast<char>((kMessageHeaderBytes + 16) / 4);
    auto* at = reinterpret_cast<std::byte*>(wire.data());
    store(at + 12, std::uint32_t{0});
    store(at + 12, crc32c(std::as_bytes(std::span(wire)).first(wire.size() - sample.body.size())));
    for (const std::size_t chunk : {std::size_t{1}, std::size_t{7}, kWhole}) {
        Feed feed;
        ASSERT_TRUE(feed.bytes(wire + on_wire(sample), chunk)) << feed.result.error().message;
        ASSERT_EQ(feed.got.size(), 2u);
        expect_same(feed.got[0], sample);
        expect_same(feed.got[1], sample);
    }
    wire[kMessageHeaderBytes + 3] ^= 1;
    Feed damaged;
    EXPECT_FALSE(damaged.bytes(wire));
    EXPECT_EQ(damaged.error(), ErrorCode::kCorrupt);
    wire[7] = 7;
    Feed short_header;
    EXPECT_FALSE(short_header.bytes(wire));
    EXPECT_EQ(short_header.error(), ErrorCode::kInvalid);
}

TEST(Message, RequestsAndResponsesCarryTheirProtobuf) {
    proto::Fetch ask;
    ask.set_offset(77);
    Feed feed;
    ASSERT_TRUE(feed.bytes(on_wire(request(MessageType::kFetch, Correlation{9}, ask, {Bytes::copy_of("batch")}))));
    ASSERT_EQ(feed.got.size(), 1u);
    const Message& asked = feed.got[0];
    EXPECT_EQ(asked.type, MessageType::kFetch);
    EXPECT_FALSE(asked.is_response());
    EXPECT_EQ(asked.body.view(), "batch");
    proto::Fetch parsed;
    ASSERT_TRUE(asked.parse(parsed));
    EXPECT_EQ(parsed.SerializeAsString(), ask.SerializeAsString());

    ASSERT_TRUE(feed.bytes(on_wire(respond(asked, ask))));
    ASSERT_EQ(feed.got.size(), 2u);
    EXPECT_TRUE(feed.got[1].is_response());
    EXPECT_EQ(feed.got[1].correlation, Correlation{9});
    EXPECT_EQ(feed.got[1].type, MessageType::kFetch);

    Message not_protobuf;
    not_protobuf.header = Bytes::copy_of("\xff\xff\xff\xff");
    EXPECT_FALSE(not_protobuf.parse(parsed));
}

}  // namespace
}  // namespace logstream::protocol
