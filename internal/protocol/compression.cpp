#include "internal/protocol/compression.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <memory>

#include "internal/protocol/big_endian.h"
#include "internal/protocol/wire.h"

namespace logstream::protocol {
namespace {

constexpr std::array<std::string_view, kCodecCount> kNames{"none", "gzip", "snappy", "lz4", "zstd"};

// Every library takes this much in one call; the lengths of batches are int32 anyway.
constexpr std::size_t kMaxInput = std::size_t{1} << 30;

constexpr std::size_t kXerialHeaderBytes = 16;
constexpr std::size_t kXerialBlockBytes = 32 * 1024;
constexpr std::array<std::uint8_t, 8> kXerialMagic{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};

const char* chars(std::span<const std::byte> bytes) { return reinterpret_cast<const char*>(bytes.data()); }

std::unexpected<Error> library_failed(Codec codec) {
    return fail(ErrorCode::kBusy, "{} ran out of memory while compressing", to_string(codec));
}

std::unexpected<Error> not_in_form(Codec codec) {
    return fail(ErrorCode::kInvalid, "the bytes are not complete, valid {}", to_string(codec));
}

Result<Bytes> gzip_compress(std::span<const std::byte> data) {
    z_stream stream{};
    constexpr int kGzipForm = 15 + 16;  // 32 KiB window, gzip header
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipForm, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return library_failed(Codec::kGzip);
    Bytes out = Bytes::allocate(deflateBound(&stream, data.size()));
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(data.data()));
    stream.avail_in = static_cast<uInt>(data.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.mutable_data());
    stream.avail_out = static_cast<uInt>(out.size());
    const int status = deflate(&stream, Z_FINISH);
    const std::size_t written = stream.total_out;
    deflateEnd(&stream);
    LS_ASSERT(status == Z_STREAM_END);
    return out.slice(0, written);
}

Result<Bytes> snappy_compress_blocks(std::span<const std::byte> data) {
    const std::size_t blocks = (data.size() + kXerialBlockBytes - 1) / kXerialBlockBytes;
    const std::size_t block_bound = sizeof(std::int32_t) + snappy_max_compressed_length(kXerialBlockBytes);
    Bytes out = Bytes::allocate(kXerialHeaderBytes + blocks * block_bound);
    std::byte* at = out.mutable_data();
    std::memcpy(at, kXerialMagic.data(), kXerialMagic.size());
    store_be<std::int32_t>(at + 8, 1);   // version
    store_be<std::int32_t>(at + 12, 1);  // the least version that can read it
    at += kXerialHeaderBytes;
    while (!data.empty()) {
        const auto block = data.first(std::min(data.size(), kXerialBlockBytes));
        std::size_t size = block_bound - sizeof(std::int32_t);
        const auto status =
            snappy_compress(chars(block), block.size(), reinterpret_cast<char*>(at + sizeof(std::int32_t)), &size);
        LS_ASSERT(status == SNAPPY_OK);
        store_be(at, static_cast<std::int32_t>(size));
        at += sizeof(std::int32_t) + size;
        data = data.subspan(block.size());
    }
    return out.slice(0, static_cast<std::size_t>(at - out.data()));
}

Result<Bytes> lz4_compress(std::span<const std::byte> data) {
    LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
    preferences.frameInfo.blockSizeID = LZ4F_max64KB;
    preferences.frameInfo.blockMode = LZ4F_blockIndependent;
    preferences.frameInfo.contentSize = data.size();
    Bytes out = Bytes::allocate(LZ4F_compressFrameBound(data.size(), &preferences));
    const std::size_t written =
        LZ4F_compressFrame(out.mutable_data(), out.size(), data.data(), data.size(), &preferences);
    if (LZ4F_isError(written)) return library_failed(Codec::kLz4);
    return out.slice(0, written);
}

Result<Bytes> zstd_compress(std::span<const std::byte> data) {
    Bytes out = Bytes::allocate(ZSTD_compressBound(data.size()));
    const std::size_t written =
        ZSTD_compress(out.mutable_data(), out.size(), data.data(), data.size(), ZSTD_CLEVEL_DEFAULT);
    if (ZSTD_isError(written)) return library_failed(Codec::kZstd);
    return out.slice(0, written);
}

//
// Each codec offers a guess of the decompressed size and one attempt to decompress into a buffer of a given size. Where
// the buffer is too small, the attempt is repeated from the start with a larger one. Starting over costs time in the
// rare case that the guess was wrong; growing while decompressing would hold two buffers at once and pass the limit.

enum class Attempt : std::uint8_t { kDone, kTooSmall, kInvalid };

// `written` is what the attempt put into `out` when it is kDone.
Attempt gunzip(std::span<const std::byte> data, std::span<std::byte> out, std::size_t& written) {
    z_stream stream{};
    constexpr int kGzipForm = 15 + 16;
    if (inflateInit2(&stream, kGzipForm) != Z_OK) return Attempt::kInvalid;
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(data.data()));
    stream.avail_in = static_cast<uInt>(data.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(std::min<std::size_t>(out.size(), std::numeric_limits<uInt>::max()));
    int status = inflate(&stream, Z_FINISH);
    while (status == Z_STREAM_END && stream.avail_in > 0) {  // members follow one another
        status = inflateReset(&stream);
        if (status == Z_OK) status = inflate(&stream, Z_FINISH);
    }
    const bool full = stream.avail_out == 0;
    written = static_cast<std::size_t>(reinterpret_cast<std::byte*>(stream.next_out) - out.data());
    inflateEnd(&stream);
    if (status == Z_STREAM_END) return Attempt::kDone;
    return full && (status == Z_BUF_ERROR || status == Z_OK) ? Attempt::kTooSmall : Attempt::kInvalid;
}

bool is_xerial(std::span<const std::byte> data) {
    return data.size() >= kXerialHeaderBytes && std::memcmp(data.data(), kXerialMagic.data(), kXerialMagic.size()) == 0;
}

// Calls `visit` for each snappy block of the xerial framing, or for the whole where there is none. False when a block
// is not whole or `visit` returned false.
template <class Visit>
bool for_each_snappy_block(std::span<const std::byte> data, Visit visit) {
    if (!is_xerial(data)) return visit(data);
    data = data.subspan(kXerialHeaderBytes);
    while (!data.empty()) {
        if (data.size() < sizeof(std::int32_t)) return false;
        const auto size = load_be<std::int32_t>(data.data());
        data = data.subspan(sizeof(std::int32_t));
        if (size < 0 || static_cast<std::size_t>(size) > data.size()) return false;
        if (!visit(data.first(static_cast<std::size_t>(size)))) return false;
        data = data.subspan(static_cast<std::size_t>(size));
    }
    return true;
}

// The size that the blocks claim together; 0 when they are not in form.
std::uint64_t snappy_size(std::span<const std::byte> data) {
    std::uint64_t total{};
    const bool whole = for_each_snappy_block(data, [&](std::span<const std::byte> block) {
        std::size_t claimed{};
        if (snappy_uncompressed_length(chars(block), block.size(), &claimed) != SNAPPY_OK) return false;
        total += claimed;
        return true;
    });
    return whole ? total : 0;
}

Attempt unsnappy(std::span<const std::byte> data, std::span<std::byte> out, std::size_t& written) {
    written = 0;
    Attempt outcome = Attempt::kDone;
    const bool whole = for_each_snappy_block(data, [&](std::span<const std::byte> block) {
        const auto room = out.subspan(written);
        std::size_t size{};
        if (snappy_uncompressed_length(chars(block), block.size(), &size) != SNAPPY_OK) return false;
        if (size > room.size()) {
            outcome = Attempt::kTooSmall;
            return false;
        }
        size = room.size();
        if (snappy_uncompress(chars(block), block.size(), reinterpret_cast<char*>(room.data()), &size) != SNAPPY_OK)
            return false;
        written += size;
        return true;
    });
    return whole || outcome == Attempt::kTooSmall ? outcome : Attempt::kInvalid;
}

using Lz4Context =
    std::unique_ptr<LZ4F_dctx, decltype([](LZ4F_dctx* context) { LZ4F_freeDecompressionContext(context); })>;

Lz4Context lz4_context() {
    LZ4F_dctx* context{};
    if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION))) return {};
    return Lz4Context(context);
}

Attempt unlz4(std::span<const std::byte> data, std::span<std::byte> out, std::size_t& written) {
    const Lz4Context context = lz4_context();
    if (!context) return Attempt::kInvalid;
    written = 0;
    for (;;) {
        std::size_t taken = data.size();
        std::size_t given = out.size() - written;
        const std::size_t left =
            LZ4F_decompress(context.get(), out.data() + written, &given, data.data(), &taken, nullptr);
        if (LZ4F_isError(left)) return Attempt::kInvalid;
        written += given;
        data = data.subspan(taken);
        if (left == 0) return data.empty() ? Attempt::kDone : Attempt::kInvalid;
        if (taken == 0 && given == 0)
            return data.empty() && written < out.size() ? Attempt::kInvalid : Attempt::kTooSmall;
    }
}

Attempt unzstd(std::span<const std::byte> data, std::span<std::byte> out, std::size_t& written) {
    // In one piece: then the window is `out` itself, and a frame's claim of a large one costs nothing.
    written = ZSTD_decompress(out.data(), out.size(), data.data(), data.size());
    if (!ZSTD_isError(written)) return Attempt::kDone;
    return ZSTD_getErrorCode(written) == ZSTD_error_dstSize_tooSmall ? Attempt::kTooSmall : Attempt::kInvalid;
}

// How large the first buffer should be, by what the input says of itself. A guess; the limits are applied to it.
std::uint64_t guess_size(Codec codec, std::span<const std::byte> data) {
    switch (codec) {
        case Codec::kNone:
            return data.size();
        case Codec::kGzip:  // the last member's size stands at the end
            return data.size() < 4 ? 0 : load<std::uint32_t>(data.data() + data.size() - 4);
        case Codec::kSnappy:
            return snappy_size(data);
        case Codec::kLz4: {
            const Lz4Context context = lz4_context();
            LZ4F_frameInfo_t info{};
            std::size_t taken = data.size();
            if (!context || LZ4F_isError(LZ4F_getFrameInfo(context.get(), &info, data.data(), &taken))) return 0;
            return info.contentSize != 0 ? info.contentSize : data.size() * 4;
        }
        case Codec::kZstd: {
            const unsigned long long stated = ZSTD_getFrameContentSize(data.data(), data.size());
            if (stated == ZSTD_CONTENTSIZE_ERROR) return 0;
            return stated == ZSTD_CONTENTSIZE_UNKNOWN ? data.size() * 4 : stated;
        }
    }
    return 0;
}

// What so many bytes can decompress to at most, rounded up: gzip 1032 times, snappy and lz4 by their formats, zstd a
// block of 128 KiB from four bytes.
std::uint64_t most_from(Codec codec, std::size_t input_bytes) {
    constexpr std::array<std::uint64_t, kCodecCount> kExpansion{1, 1032, 64, 256, 128 * 1024 / 4};
    return input_bytes * kExpansion[static_cast<std::size_t>(codec)];
}

Attempt attempt_into(Codec codec, std::span<const std::byte> data, std::span<std::byte> out, std::size_t& written) {
    switch (codec) {
        case Codec::kGzip:
            return gunzip(data, out, written);
        case Codec::kSnappy:
            return unsnappy(data, out, written);
        case Codec::kLz4:
            return unlz4(data, out, written);
        case Codec::kZstd:
            return unzstd(data, out, written);
        case Codec::kNone:
            break;
    }
    return Attempt::kInvalid;
}

}  // namespace

std::string_view to_string(Codec codec) { return kNames[static_cast<std::size_t>(codec)]; }

std::optional<Codec> parse_codec(std::string_view name) {
    const auto found = std::ranges::find(kNames, name);
    if (found == kNames.end()) return std::nullopt;
    return static_cast<Codec>(found - kNames.begin());
}

Result<Bytes> compress(Codec codec, std::span<const std::byte> data) {
    if (data.size() > kMaxInput)
        return fail(ErrorCode::kTooLarge, "{} bytes are too many to compress at once", data.size());
    switch (codec) {
        case Codec::kNone:
            return Bytes::copy_of(data);
        case Codec::kGzip:
            return gzip_compress(data);
        case Codec::kSnappy:
            return snappy_compress_blocks(data);
        case Codec::kLz4:
            return lz4_compress(data);
        case Codec::kZstd:
            return zstd_compress(data);
    }
    return fail(ErrorCode::kInvalid, "codec {} is not known", static_cast<int>(codec));
}

Result<Bytes> decompress(Codec codec, std::span<const std::byte> data, std::size_t max_bytes) {
    if (static_cast<std::size_t>(codec) >= kCodecCount)
        return fail(ErrorCode::kInvalid, "codec {} is not known", static_cast<int>(codec));
    const auto too_large = [&] {
        return fail(ErrorCode::kTooLarge, "{} bytes of {} hold more than the limit of {}", data.size(),
                    to_string(codec), max_bytes);
    };
    if (data.size() > kMaxInput) return too_large();
    if (codec == Codec::kNone) {
        if (data.size() > max_bytes) return too_large();
        return Bytes::copy_of(data);
    }
    if (data.empty()) return not_in_form(codec);
    const std::uint64_t limit = std::min<std::uint64_t>(max_bytes, most_from(codec, data.size()));
    constexpr std::uint64_t kSmallestBuffer = 1024;
    constexpr std::uint64_t kGrowth = 4;
    std::uint64_t size = std::min(limit, std::max(kSmallestBuffer, guess_size(codec, data)));
    for (;;) {
        Bytes out = Bytes::allocate(size);
        std::size_t written{};
        const Attempt attempt = attempt_into(codec, data, {out.mutable_data(), out.size()}, written);
        if (attempt == Attempt::kDone) return out.slice(0, written);
        if (attempt == Attempt::kInvalid) return not_in_form(codec);
        if (size == limit) return limit == max_bytes ? too_large() : not_in_form(codec);
        size = std::min(limit, size * kGrowth);
    }
}

}  // namespace logstream::protocol
