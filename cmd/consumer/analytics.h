// What passed in the last seconds: rate, bytes, counts.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "internal/client/partition_reader.h"

namespace logstream::consumer {

// Counts by slices of a tenth of a second, or of a thousandth of a long window, so that memory grows neither with the
// rate nor with the window.
class Analytics {
public:
    explicit Analytics(protocol::Duration window);

    // `topic`: empty where there is but one.
    void add(protocol::TimePoint now, std::string_view topic, const client::ConsumedRecord& record);
    // One line about the window that ends now, and all since the start.
    std::string line(protocol::TimePoint now);

private:
    struct Slice {
        protocol::TimePoint begin;
        std::uint64_t records{};
        std::uint64_t bytes{};
        std::map<std::pair<std::string_view, std::uint32_t>, std::uint64_t> by_partition;  // names of topics_
    };
    void forget(protocol::TimePoint now);

    protocol::Duration window_;
    protocol::Duration slice_;
    std::set<std::string, std::less<>> topics_;
    std::deque<Slice> slices_;
    protocol::TimePoint first_{};
    std::uint64_t total_records_{};
    std::uint64_t total_bytes_{};
};

}  // namespace logstream::consumer
