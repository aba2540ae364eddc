#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <random>
#include <string>

#include "internal/protocol/checksum.h"
#include "internal/protocol/compression.h"
#include "tests/unit/protocol_samples.h"

namespace logstream::protocol {
namespace {

std::string random_text(std::size_t size, unsigned seed) {
    std::minstd_rand random(seed);
    std::string text(size, '\0');
    for (char& c : text) c = static_cast<char>(random() >> 8);
    return text;
}

TEST(Checksum, IsTheStandardCrc32c) {
    EXPECT_EQ(crc32c(bytes_of("123456789")), 0xe3069283u);
    EXPECT_EQ(crc32c(bytes_of(std::string(32, '\0'))), 0x8a9136aau);  // RFC 3720 B.4
    EXPECT_EQ(crc32c(bytes_of(std::string(32, '\xff'))), 0x62a8ab43u);
    EXPECT_EQ(crc32c({}), 0u);
}

TEST(Checksum, ChainsOverEverySplit) {
    const std::string text = random_text(300, 1);
    const auto whole = bytes_of(text);
    for (std::size_t at = 0; at <= whole.size(); ++at)
        ASSERT_EQ(crc32c(whole.subspan(at), crc32c(whole.first(at))), crc32c(whole)) << at;
}

TEST(Compression, NamesAreReadAsWritten) {
    for (const Codec codec : kCodecs) EXPECT_EQ(parse_codec(to_string(codec)), codec);
    EXPECT_EQ(parse_codec("GZIP"), std::nullopt);
    EXPECT_EQ(parse_codec(""), std::nullopt);
}

TEST(Compression, ReturnsWhatWasCompressed) {
    std::vector<std::string> texts{"", "a", sample_text(), random_text(100'000, 2), std::string(3'000'000, 'z')};
    for (const std::size_t size : {32767u, 32768u, 32769u, 65536u, 65537u}) texts.push_back(random_text(size, 3));
    for (const Codec codec : kCodecs) {
        for (const std::string& text : texts) {
            const auto compressed = compress(codec, bytes_of(text));
            ASSERT_TRUE(compressed) << compressed.error().message;
            const auto back = decompress(codec, compressed->span(), text.size());
            ASSERT_TRUE(back) << to_string(codec) << " " << text.size() << ": " << back.error().message;
            EXPECT_TRUE(back->view() == text) << to_string(codec) << " " << text.size();
        }
    }
}

TEST(Compression, ReadsTheFormsThatOtherLibrariesWrite) {
    const std::string text = sample_text();
    const std::array<std::pair<const char*, Codec>, 6> files{{{"gzip_two_members", Codec::kGzip},
                                                              {"snappy_raw", Codec::kSnappy},
                                                              {"lz4_linked", Codec::kLz4},
                                                              {"lz4_checksums", Codec::kLz4},
                                                              {"zstd_unsized", Codec::kZstd},
                                                              {"zstd_two_frames", Codec::kZstd}}};
    for (const auto& [name, codec] : files) {
        const Bytes file = data_file(std::string(name) + ".compressed");
        ASSERT_FALSE(file.empty()) << name;
        for (const std::size_t limit : {text.size(), text.size() * 10}) {
            const auto back = decompress(codec, file.span(), limit);
            ASSERT_TRUE(back) << name << ": " << back.error().message;
            EXPECT_TRUE(back->view() == text) << name;
        }
        EXPECT_FALSE(decompress(codec, file.span(), text.size() - 1)) << name;
        EXPECT_FALSE(decompress(codec, file.span(), 0)) << name;
    }
}

TEST(Compression, StopsABombAtTheLimit) {
    const std::string zeros(20'000'000, '\0');
    for (const Codec codec : kCodecs) {
        const auto bomb = compress(codec, bytes_of(zeros));
        ASSERT_TRUE(bomb);
        const auto result = decompress(codec, bomb->span(), 1'000'000);
        ASSERT_FALSE(result) << to_string(codec);
        EXPECT_EQ(result.error().code, ErrorCode::kTooLarge) << to_string(codec);
    }
}

// With no limit to speak of, a buffer of the claimed size could not be had: these pass because none is asked for.
TEST(Compression, ClaimedSizesAllocateNothing) {
    const auto patched = [](Codec codec, std::size_t at, std::string_view claim) {
        std::string bytes(compress(codec, bytes_of("some text, some text, some text"))->view());
        return bytes.replace(std::min(at, bytes.size() - claim.size()), claim.size(), claim);
    };
    const std::string huge("\xff\xff\xff\xff\xff\xff\xff\x0f", 8);
    const std::array<std::pair<Codec, std::string>, 5> liars{{
        {Codec::kGzip, patched(Codec::kGzip, 1000, std::string_view("\xff\xff\xff\x7f", 4))},
        {Codec::kSnappy, std::string("\xff\xff\xff\xff\x0f\x00x", 7)},
        {Codec::kSnappy, patched(Codec::kSnappy, 16, std::string_view("\x7f\xff\xff\xff", 4))},
        // magic, descriptor with an 8 byte content size, the descriptor's checksum, then nothing
        {Codec::kLz4, std::string("\x04\x22\x4d\x18\x68\x40", 6) + huge + "\xb4"},
        // magic, an 8 byte content size in a frame with a window of its own, then nothing
        {Codec::kZstd, std::string("\x28\xb5\x2f\xfd\xc0\xf8", 6) + huge},
    }};
    for (const auto& [codec, bytes] : liars) {
        const auto result = decompress(codec, bytes_of(bytes), std::numeric_limits<std::size_t>::max() / 4);
        EXPECT_FALSE(result) << to_string(codec);
    }
}

TEST(Compression, RefusesWhatIsCutOffOrFollowedByMore) {
    const std::string text = sample_text().substr(0, 3000) + random_text(200, 4);
    for (const Codec codec : {Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd}) {
        const Bytes whole = *compress(codec, bytes_of(text));
        for (std::size_t size = 0; size < whole.size(); ++size) {
            // A copy of its own, so that a sanitizer sees a read behind the end.
            const auto result = decompress(codec, Bytes::copy_of(whole.span().first(size)).span(), text.size() + 100);
            // The framing of snappy has no end mark: cut between two blocks it is whole, but shorter.
            if (codec == Codec::kSnappy && result) {
                EXPECT_LT(result->size(), text.size());
            }
            if (codec != Codec::kSnappy) {
                EXPECT_FALSE(result) << to_string(codec) << " cut at " << size;
            }
        }
        const auto longer = decompress(codec, bytes_of(std::string(whole.view()) + "tail"), 2 * text.size());
        EXPECT_FALSE(longer) << to_string(codec);
    }
}

TEST(Compression, SurvivesEveryFlippedBit) {
    const std::string text = sample_text().substr(0, 2000) + random_text(100, 5);
    for (const Codec codec : {Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd}) {
        const Bytes whole = *compress(codec, bytes_of(text));
        for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
            Bytes damaged = Bytes::copy_of(whole.span());
            damaged.mutable_data()[bit / 8] ^= std::byte{1} << (bit % 8);
            const auto result = decompress(codec, damaged.span(), 10'000);
            if (result) {
                EXPECT_LE(result->size(), 10'000u);
            }
        }
    }
}

}  // namespace
}  // namespace logstream::protocol
