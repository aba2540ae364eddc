// What came of the whole load: what was sent and reported, what was delivered, how long nothing was acknowledged.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/chaos/clients.h"

namespace logstream::chaos {

struct Reader {
    std::string name;
    std::uint32_t topic{};
    std::string group;  // empty: it is on its own, and gets the whole topic
    std::string audience() const { return group.empty() ? name : "group " + group; }
};

struct Record {
    sim::History history;
    std::vector<Reader> readers;
    std::vector<std::pair<std::size_t, Delivery>> deliveries;  // by index of the reader, in their order
    TimePoint began{};                                         // the first acknowledgement
    TimePoint last_acknowledged{};
    Duration longest_gap{};  // without any acknowledgement

    void acknowledged(TimePoint now) {
        if (began == TimePoint{}) began = last_acknowledged = now;
        longest_gap = std::max(longest_gap, now - last_acknowledged);
        last_acknowledged = now;
    }
};

}  // namespace logstream::chaos
