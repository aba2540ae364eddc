#include "internal/client/shared_history.h"

#include <algorithm>
#include <set>

namespace logstream::client {

namespace {

using protocol::Offset;

bool goes_back_to(const ClusterView& lineage, ClusterId cluster) {
    return lineage.cluster_id == cluster ||
           std::ranges::find(lineage.ancestors, cluster, &ClusterView::Ancestor::cluster) != lineage.ancestors.end();
}

// One side's part of the stream, as long as it belonged to `common`.
struct Past {
    std::vector<proto::EpochEntry> epochs;  // rising
    std::int64_t end{};

    // The view that appended the record at an offset; nullptr: it is not known.
    const proto::EpochEntry* at(std::int64_t offset) const {
        const auto behind = std::ranges::upper_bound(epochs, offset, {}, &proto::EpochEntry::first_offset);
        return behind == epochs.begin() ? nullptr : &*std::prev(behind);
    }
};

Past past_within(const ClusterView& lineage, ClusterId common, const proto::StreamSummary& summary) {
    const auto left = std::ranges::find(lineage.ancestors, common, &ClusterView::Ancestor::cluster);
    Past out{{}, summary.log_end()};
    for (const proto::EpochEntry& epoch : summary.epochs()) {
        if (left != lineage.ancestors.end() && ViewNumber{epoch.view()} >= left->first_view) {
            out.end = std::min(out.end, epoch.first_offset());
            break;
        }
        out.epochs.push_back(epoch);
    }
    return out;
}

}  // namespace

std::optional<ClusterId> common_lineage(const ClusterView& a, const ClusterView& b) {
    if (goes_back_to(b, a.cluster_id)) return a.cluster_id;
    for (auto ancestor = a.ancestors.rbegin(); ancestor != a.ancestors.rend(); ++ancestor)
        if (goes_back_to(b, ancestor->cluster)) return ancestor->cluster;
    return std::nullopt;
}

Offset shared_end(const ClusterView& a, const proto::StreamSummary& of_a, const ClusterView& b,
                  const proto::StreamSummary& of_b) {
    const auto common = common_lineage(a, b);
    if (!common) return Offset{};
    const Past in_a = past_within(a, *common, of_a);
    const Past in_b = past_within(b, *common, of_b);
    const std::int64_t end = std::min(in_a.end, in_b.end);
    std::set<std::int64_t> begins;
    for (const Past* past : {&in_a, &in_b})
        for (const proto::EpochEntry& epoch : past->epochs) begins.insert(epoch.first_offset());
    for (const std::int64_t begin : begins) {
        if (begin >= end) break;
        const proto::EpochEntry* view_a = in_a.at(begin);
        const proto::EpochEntry* view_b = in_b.at(begin);
        if (view_a != nullptr && view_b != nullptr && view_a->view() != view_b->view()) return Offset{begin};
    }
    return Offset{end};
}

}  // namespace logstream::client
