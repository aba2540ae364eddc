// Expected failures are values. A bug is not an error: it aborts (LS_ASSERT).
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <expected>
#include <string>
#include <utility>

namespace logstream::protocol {

// What went wrong, as clients and peers see it; the wire carries the number. Never renumber.
enum class ErrorCode : std::uint16_t {
    kNone = 0,
    kUnknown = 1,     // the outcome is not known: the write may or may not stand in the log
    kInvalid = 2,     // the request can never succeed as it is
    kNoQuorum = 3,    // this side may not acknowledge; retry later or elsewhere
    kWrongOwner = 4,  // another broker owns the stream; the answer names it
    kUnknownTopic = 5,
    kWrongCluster = 6,      // the request names another lineage
    kOffsetOutOfRange = 7,  // below the log start or above the high watermark
    kSequenceGap = 8,       // an idempotent batch arrived before one that its producer sent earlier
    kFenced = 9,            // a newer instance of this producer or group member took over
    kTooLarge = 10,
    kBusy = 11,  // a bound is reached (memory, window, connections); retry later
    kDiskFull = 12,
    kDisk = 13,       // the disk failed a write or a flush
    kCorrupt = 14,    // bytes do not match their checksum
    kRebalance = 15,  // the group's assignment changed; subscribe again
    kExists = 16,
    kNetwork = 17,  // cannot reach, connection lost, address in use
    kTimeout = 18,
    kRefused = 19,   // refused by policy (min_in_sync, auto_create, draining); the message says which
    kConfig = 20,    // a setting is wrong; the message names file, line and what was expected
    kConflict = 21,  // two histories under one name: one of the two brokers was restored from an older copy
};

struct Error {
    ErrorCode code{ErrorCode::kUnknown};
    std::string message;  // one line: what happened and what to do
};

template <class T>
using Result = std::expected<T, Error>;

template <class... Args>
std::unexpected<Error> fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
    return std::unexpected(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);

}  // namespace logstream::protocol

// What only a bug in this program can break. Stays on in release builds; never used on outside input.
#define LS_ASSERT(expression)                                                         \
    do {                                                                              \
        if (!(expression)) [[unlikely]]                                               \
            ::logstream::protocol::assertion_failed(#expression, __FILE__, __LINE__); \
    } while (false)
