// Which refusals may be different next time.
#pragma once

#include "internal/protocol/error.h"

namespace logstream::client {

enum class Disposition : std::uint8_t {
    kRetry,     // the cluster could not now, or the outcome is unknown; ask again, here or elsewhere
    kResend,    // an earlier batch has to come first (kSequenceGap)
    kDefinite,  // it can never succeed as it is
};

constexpr Disposition disposition(protocol::ErrorCode code) {
    using protocol::ErrorCode;
    switch (code) {
        case ErrorCode::kInvalid:
        case ErrorCode::kTooLarge:
        case ErrorCode::kFenced:
        case ErrorCode::kExists:
        case ErrorCode::kOffsetOutOfRange:
        case ErrorCode::kConfig:
            return Disposition::kDefinite;
        case ErrorCode::kSequenceGap:
            return Disposition::kResend;
        default:
            return Disposition::kRetry;
    }
}

// Refusals that only say "not here", or "not in this moment": to go elsewhere, or to wait out a view change, is part of
// one try.
constexpr bool is_redirection(protocol::ErrorCode code) {
    using protocol::ErrorCode;
    return code == ErrorCode::kWrongOwner || code == ErrorCode::kNetwork || code == ErrorCode::kUnknownTopic ||
           code == ErrorCode::kBusy;
}

}  // namespace logstream::client
