// How a change travels: what members hold, and the base log, as messages.
#include "internal/view/change.h"

namespace logstream::view {

namespace {

template <class Proto>
void put_epochs(const std::vector<EpochStart>& epochs, Proto& out) {
    for (const EpochStart& epoch : epochs) {
        auto& entry = *out.add_epochs();
        entry.set_view(epoch.view.value);
        entry.set_first_offset(epoch.first.value);
        entry.set_view_id(epoch.id.value);
    }
}

template <class Proto>
std::vector<EpochStart> take_epochs(const Proto& in) {
    std::vector<EpochStart> out;
    for (const auto& entry : in.epochs())
        out.push_back({ViewNumber{entry.view()}, Offset{entry.first_offset()}, ViewId{entry.view_id()}});
    return out;
}

}  // namespace

StreamHolding holding_from_proto(const proto::StreamSummary& in) {
    return {StreamId{protocol::TopicId{in.topic()}, in.partition()},
            Offset{in.log_start()},
            Offset{in.log_end()},
            Offset{in.high_watermark()},
            take_epochs(in),
            in.bytes(),
            Offset{in.damaged_from()},
            Offset{in.damaged_to()}};
}

proto::StreamSummary to_proto(const StreamHolding& holding) {
    proto::StreamSummary out;
    out.set_topic(holding.stream.topic.value);
    out.set_partition(holding.stream.partition);
    out.set_log_start(holding.log_start.value);
    out.set_log_end(holding.log_end.value);
    out.set_high_watermark(holding.high_watermark.value);
    out.set_bytes(holding.bytes);
    out.set_damaged_from(holding.damaged_from.value);
    out.set_damaged_to(holding.damaged_to.value);
    put_epochs(holding.epochs, out);
    return out;
}

StreamPlan plan_from_proto(const proto::StreamBase& in) {
    StreamPlan out{StreamId{protocol::TopicId{in.topic()}, in.partition()},
                   Offset{in.log_start()},
                   Offset{in.log_end()},
                   take_epochs(in),
                   {},
                   in.bytes()};
    for (std::uint64_t id : in.sources()) out.sources.push_back(NodeId{id});
    return out;
}

proto::StreamBase to_proto(const StreamPlan& plan) {
    proto::StreamBase out;
    out.set_topic(plan.stream.topic.value);
    out.set_partition(plan.stream.partition);
    out.set_log_start(plan.log_start.value);
    out.set_log_end(plan.log_end.value);
    put_epochs(plan.epochs, out);
    for (NodeId id : plan.sources) out.add_sources(id.value);
    out.set_bytes(plan.bytes);
    return out;
}

}  // namespace logstream::view
