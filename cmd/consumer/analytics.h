// What passed in the last seconds: rate, bytes, counts.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>

#include "internal/client/partition_reader.h"

namespace logstream::consumer {

// Counts by slices of a tenth of a second, or of a thousandth of a long window, so that memory grows neither with the
// rate nor with the window.
class Analytics {
public:
    explicit Analytics(protocol::Duration window);

    void add(protocol::TimePoint now, const client::ConsumedRecord& record);
    // One line about the window that ends now, and all since the start.
    std::string line(protocol::TimePoint now);

private:
    struct Slice {
        protocol::TimePoint begin;
        std::uint64_t records{};
        std::uint64_t bytes{};
        std::map<std::uint32_t, std::uint64_t> by_partition;
    };
    void forget(protocol::TimePoint now);

    protocol::Duration window_;
    protocol::Duration slice_;
    std::deque<Slice> slices_;
    protocol::TimePoint first_{};
    std::uint64_t total_records_{};
    std::uint64_t total_bytes_{};
};

}  // namespace logstream::consumer
