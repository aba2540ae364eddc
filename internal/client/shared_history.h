// What two lineages have in common: one was recovered from the other, or both from a third one.
#pragma once

#include <optional>

#include "internal/client/cluster_view.h"

namespace logstream::client {

// The newest lineage that both go back to: one of the two, or an ancestor of each; none when they were bootstrapped
// apart.
std::optional<ClusterId> common_lineage(const ClusterView& a, const ClusterView& b);

// The offset below which both lineages have the same records of a stream. Each side's part is one member's summary of
// it. A record is shared when it was appended before either of the two left their common lineage, and by the same view;
// where the tables of views do not go back so far, what they know decides.
protocol::Offset shared_end(const ClusterView& a, const proto::StreamSummary& of_a, const ClusterView& b,
                            const proto::StreamSummary& of_b);

}  // namespace logstream::client
