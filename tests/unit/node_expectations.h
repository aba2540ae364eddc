// What tests of whole clusters expect of every broker that runs.
#pragma once

#include <gtest/gtest.h>

#include "tests/sim/cluster.h"

namespace logstream::sim {

// Every acknowledged record stands at its offset on every running machine, and all machines agree.
inline void expect_everything_everywhere(Cluster& cluster, protocol::StreamId stream) {
    const std::size_t records =
        cluster.acknowledged().empty() ? 0 : static_cast<std::size_t>(cluster.acknowledged().rbegin()->first + 1);
    cluster.world().run_until(
        [&] {
            for (std::size_t i = 0; i < cluster.size(); ++i) {
                if (!cluster[i].running()) continue;
                node::Stream* log = cluster[i].node().core().streams.find(stream);
                if (log == nullptr || log->high_watermark.value < static_cast<std::int64_t>(records)) return false;
            }
            return true;
        },
        std::chrono::seconds(5));
    std::optional<std::map<std::int64_t, std::string>> first;
    for (std::size_t i = 0; i < cluster.size(); ++i) {
        if (!cluster[i].running()) continue;
        EXPECT_EQ(cluster[i].fatal(), "");
        const auto content = cluster.read(i, stream);
        for (const auto& [offset, value] : cluster.acknowledged()) {
            const auto found = content.find(offset);
            ASSERT_TRUE(found != content.end()) << "machine " << i << " lacks acknowledged offset " << offset;
            EXPECT_EQ(found->second, value);
        }
        if (!first) first = content;
        EXPECT_EQ(content, *first) << "machine " << i;
    }
}

}  // namespace logstream::sim
