// What two lineages share, by what each knows of its ancestors and by the views that appended each stream.
#include <gtest/gtest.h>

#include "internal/client/shared_history.h"

namespace logstream::client {
namespace {

using protocol::Offset;

ClusterView lineage(std::uint64_t id, std::vector<ClusterView::Ancestor> ancestors = {}) {
    ClusterView out;
    out.cluster_id = ClusterId{id};
    out.ancestors = std::move(ancestors);
    return out;
}

proto::StreamSummary log(std::int64_t end, std::initializer_list<std::pair<int, int>> epochs) {
    proto::StreamSummary out;
    out.set_log_end(end);
    for (const auto& [view, first] : epochs) {
        proto::EpochEntry& epoch = *out.add_epochs();
        epoch.set_view(static_cast<std::uint64_t>(view));
        epoch.set_first_offset(first);
    }
    return out;
}

const ClusterView kOld = lineage(1);
// Views 4 and greater are its own.
const ClusterView kNew = lineage(2, {{ClusterId{1}, ViewNumber{4}}});
const ClusterView kOther = lineage(3, {{ClusterId{1}, ViewNumber{6}}});
const ClusterView kNewest = lineage(4, {{ClusterId{1}, ViewNumber{4}}, {ClusterId{2}, ViewNumber{9}}});

TEST(SharedHistory, TheCommonLineageIsTheNewestThatBothGoBackTo) {
    EXPECT_EQ(common_lineage(kOld, kNew), ClusterId{1});
    EXPECT_EQ(common_lineage(kNew, kOld), ClusterId{1});
    EXPECT_EQ(common_lineage(kNew, kOther), ClusterId{1});
    EXPECT_EQ(common_lineage(kNew, kNewest), ClusterId{2});
    EXPECT_EQ(common_lineage(kNewest, kNew), ClusterId{2});
    EXPECT_EQ(common_lineage(kOld, lineage(9)), std::nullopt);
}

TEST(SharedHistory, EndsWhereTheNewLineageBegan) {
    const auto both_ways = [](const ClusterView& a, const proto::StreamSummary& of_a, const ClusterView& b,
                              const proto::StreamSummary& of_b) {
        EXPECT_EQ(shared_end(a, of_a, b, of_b), shared_end(b, of_b, a, of_a));
        return shared_end(a, of_a, b, of_b).value;
    };
    EXPECT_EQ(both_ways(kOld, log(1200, {{1, 0}}), kNew, log(1200, {{1, 0}})), 1200) << "nothing since";
    EXPECT_EQ(both_ways(kOld, log(1250, {{1, 0}, {3, 1200}}), kNew, log(1300, {{1, 0}, {4, 1200}})), 1200);
    EXPECT_EQ(both_ways(kOld, log(1250, {{1, 0}, {4, 1200}}), kNew, log(1300, {{1, 0}, {4, 1200}})), 1200)
        << "both have a view of this number, and each its own";
    EXPECT_EQ(both_ways(kOld, log(1300, {{1, 0}}), kNew, log(1300, {{1, 0}, {4, 1200}})), 1200)
        << "what only others held is not in the new one";
    EXPECT_EQ(both_ways(kOld, log(1250, {{1, 0}, {3, 1100}}), kNew, log(1300, {{1, 0}, {2, 1150}})), 1100)
        << "what the survivors alone had departs earlier";
    EXPECT_EQ(both_ways(kOld, log(0, {}), kNew, log(50, {{4, 0}})), 0);
    EXPECT_EQ(both_ways(kNew, log(300, {{1, 0}, {4, 200}}), kOther, log(300, {{1, 0}, {6, 150}})), 150);
    EXPECT_EQ(both_ways(kNew, log(300, {{1, 0}, {4, 200}}), kNewest, log(400, {{1, 0}, {4, 200}, {9, 280}})), 280);
    EXPECT_EQ(both_ways(kOld, log(300, {{1, 0}}), lineage(9), log(300, {{1, 0}})), 0) << "bootstrapped apart";
    EXPECT_EQ(both_ways(kOld, log(300, {{2, 100}}), kNew, log(300, {{1, 0}, {2, 100}})), 300)
        << "a table that does not go back so far";
}

}  // namespace
}  // namespace logstream::client
