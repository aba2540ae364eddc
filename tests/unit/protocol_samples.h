// The contents that data/make_batches.py puts into its files, by the same rules.
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "internal/protocol/big_endian.h"
#include "internal/protocol/bytes.h"
#include "internal/protocol/record_batch.h"

namespace logstream::protocol {

inline constexpr std::array kCodecs{Codec::kNone, Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd};
inline constexpr ClusterId kLineage{0x00c0ffee00c0ffee};

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

// A record that owns its fields.
struct SampleRecord {
    std::int64_t timestamp_ms{};
    std::optional<std::string> key;
    std::optional<std::string> value;
    std::vector<std::pair<std::string, std::optional<std::string>>> headers;
    friend bool operator==(const SampleRecord&, const SampleRecord&) = default;
};

inline SampleRecord sample_record(int i) {
    SampleRecord record;
    record.timestamp_ms = 1700000000000 + (i * 37) % 101 - 40 * (i % 2);
    if (i % 5 != 0) record.key = fmt::format("key-{}", i % 17);
    if (i % 11 != 3) {
        record.value.emplace();
        for (int repeat = 0; repeat < i % 40; ++repeat) *record.value += fmt::format("value {} ", i);
    }
    for (int j = 0; j < i % 3; ++j) {
        std::optional<std::string> value;
        if ((i + j) % 4 != 0) value = std::to_string(i * j);
        record.headers.emplace_back(fmt::format("h\u00e4{}", j), value);
    }
    return record;
}

inline void add_sample(BatchBuilder& builder, const SampleRecord& record) {
    std::vector<Header> headers;
    for (const auto& [key, value] : record.headers) headers.push_back({key, value});
    builder.add(record.timestamp_ms, record.key, record.value, headers);
}

// A batch of sample_record(0) to sample_record(count - 1).
inline Bytes sample_batch(int count, BatchOptions options = {}) {
    BatchBuilder builder(options);
    for (int i = 0; i < count; ++i) add_sample(builder, sample_record(i));
    return builder.finish().value();
}

inline SampleRecord owned(const Record& record) {
    SampleRecord out{record.timestamp_ms, {}, {}, {}};
    if (record.key) out.key = *record.key;
    if (record.value) out.value = *record.value;
    for (const Header& h : record.headers)
        out.headers.emplace_back(h.key, h.value ? std::optional<std::string>(*h.value) : std::nullopt);
    return out;
}

// More than the samples decompress to.
inline constexpr std::size_t kLimit = 1 << 20;

inline Result<std::vector<SampleRecord>> read_all(const BatchView& batch) {
    std::vector<SampleRecord> out;
    auto done = batch.for_each(kLimit, [&](const Record& record) {
        out.push_back(owned(record));
        return true;
    });
    if (!done) return std::unexpected(done.error());
    return out;
}

inline std::vector<SampleRecord> samples(int count) {
    std::vector<SampleRecord> out;
    for (int i = 0; i < count; ++i) out.push_back(sample_record(i));
    return out;
}

// A copy with one field overwritten.
template <class T>
Bytes patched(const Bytes& bytes, std::size_t at, T value) {
    Bytes copy = Bytes::copy_of(bytes.span());
    store_be(copy.mutable_data() + at, value);
    return copy;
}

inline std::string sample_text() {
    std::string text;
    for (int i = 0; i < 5000; ++i) text += fmt::format("line {} of the sample text\n", i % 50);
    return text;
}

inline Bytes data_file(const std::string& name) {
    std::ifstream file(LOGSTREAM_TEST_DATA "/" + name, std::ios::binary);
    return Bytes::copy_of(std::string(std::istreambuf_iterator<char>(file), {}));
}

}  // namespace logstream::protocol
