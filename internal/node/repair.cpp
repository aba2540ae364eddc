#include "internal/node/repair.h"

namespace logstream::node {

namespace {
constexpr Duration kPause = std::chrono::seconds(1);  // between two tries
}

void Repair::tick(const view::View& view) {
    if (!core_.store.damaged() || aligner_ || view.members.size() < 2 || core_.env.now() < next_) return;
    next_ = core_.env.now() + kPause;
    std::vector<NodeId> others;
    for (const view::Member& member : view.members)
        if (member.id != core_.self.id) others.push_back(member.id);
    std::vector<AlignTarget> targets;
    for (view::StreamHolding& holding : core_.streams.holdings(Streams::Extent::kWhole)) {
        const Stream* stream = core_.streams.find(holding.stream);
        const auto damage = stream->log->damage();
        if (!damage) continue;
        core_.env.log().error("REPAIR stream={} is damaged from {} to {} on this broker",
                              protocol::to_string(holding.stream), damage->from, damage->to);
        targets.push_back({view::StreamPlan{holding.stream, holding.log_start, holding.log_end,
                                            std::move(holding.epochs), others, holding.bytes},
                           holding.high_watermark,
                           view.number,
                           {},
                           true});
    }
    if (targets.empty()) return;
    aligner_ = std::make_unique<Aligner>(
        core_, core_.record.cluster, std::move(targets),
        [view](NodeId id) -> std::optional<Endpoint> {
            const view::Member* member = view.find(id);
            return member == nullptr ? std::nullopt : std::optional(address_of(*member));
        },
        [this](const Result<void>& result) {
            // The aligner is not destroyed inside its own callback.
            core_.env.set_timer(Duration{0}, [this, result, weak = std::weak_ptr<bool>(alive_)] {
                if (weak.lock()) finished(result);
            });
        });
}

void Repair::finished(const Result<void>& result) {
    if (!aligner_) return;
    aligner_.reset();
    if (!result) core_.env.log().warn("REPAIR failed: {}", result.error().message);
    if (!result && result.error().code == ErrorCode::kCorrupt) beyond_repair_(result.error().message);
}

}  // namespace logstream::node
