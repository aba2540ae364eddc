#include "internal/node/repair.h"

namespace logstream::node {

namespace {
constexpr Duration kPause = std::chrono::seconds(1);  // between attempts, and between scans of all streams
}

void Repair::tick(ViewNumber view, const std::vector<view::Member>& peers) {
    if (!is_due() || peers.empty()) return;
    next_ = core_.env.now() + kPause;
    if (!core_.store.damaged()) return;
    std::vector<NodeId> others;
    std::map<NodeId, Endpoint> addresses;
    for (const view::Member& peer : peers) {
        others.push_back(peer.id);
        addresses[peer.id] = address_of(peer);
    }
    std::vector<AlignTarget> targets;
    for (view::StreamHolding& holding : core_.streams.holdings(Streams::Extent::kWhole, core_.record.views)) {
        const Stream* stream = core_.streams.find(holding.stream);
        const auto damage = stream->log->damage();
        if (!damage) continue;
        core_.env.log().error("REPAIR stream={} is damaged from {} to {} on this broker",
                              protocol::to_string(holding.stream), damage->from, damage->to);
        targets.push_back({.plan = {holding.stream, holding.log_start, holding.log_end, std::move(holding.epochs),
                                    others, holding.bytes},
                           .fetch_to = holding.high_watermark,
                           .current_view = view,
                           .purpose = AlignTarget::Purpose::kMend});
    }
    if (targets.empty()) return;
    aligner_ = std::make_unique<Aligner>(
        core_, core_.record.cluster, std::move(targets),
        [addresses = std::move(addresses)](NodeId id) -> std::optional<Endpoint> {
            const auto known = addresses.find(id);
            return known == addresses.end() ? std::nullopt : std::optional(known->second);
        },
        [this](const Result<void>& result) {
            // The aligner is not destroyed inside its own callback.
            core_.env.set_timer(Duration{0}, lifetime_.guard([this, result] { finished(result); }));
        });
}

void Repair::finished(const Result<void>& result) {
    if (!aligner_) return;
    aligner_.reset();
    if (!result) core_.env.log().warn("REPAIR failed: {}", result.error().message);
    if (!result && result.error().code == ErrorCode::kCorrupt) beyond_repair_(result.error().message);
}

}  // namespace logstream::node
