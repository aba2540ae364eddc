#include "internal/node/orphans.h"

#include <algorithm>

namespace logstream::node {

namespace {
constexpr Duration kOrphanTimeout = std::chrono::seconds(5);
constexpr Duration kRetry = std::chrono::milliseconds(200);
}  // namespace

void Orphans::start() {
    stop();
    for (StreamId stream : core_.store.orphans().streams()) {
        const auto entries = core_.store.orphans().list(stream);
        if (!entries.empty())
            departed_at_[stream] = std::ranges::min(entries, {}, &storage::OrphanEntry::base_offset).base_offset;
        lost_of_[stream] = 0;
        send(stream, 0);
    }
}

void Orphans::stop() { lifetime_.renew(); }

void Orphans::again(StreamId stream, std::size_t index) {
    core_.env.set_timer(kRetry, lifetime_.guard([this, stream, index] { send(stream, index); }));
}

void Orphans::send(StreamId stream, std::size_t index) {
    const auto entries = core_.store.orphans().list(stream);
    if (index >= entries.size()) {
        const std::size_t lost = lost_of_[stream];
        core_.env.log().info("ORPHAN returned stream={} batches={} lost={}", protocol::to_string(stream),
                             entries.size() - lost, lost);
        core_.store.orphans().remove(stream, [](auto) {});
        return;
    }
    const view::Member* owner = owner_of_(stream);
    if (owner == nullptr) return again(stream, index);
    const storage::OrphanEntry entry = entries[index];
    core_.store.orphans().read(
        stream, entry,
        lifetime_.guard([this, stream, index, entry, to = address_of(*owner)](Result<protocol::Bytes> batch) {
            // A disk that fails to read may do so for a moment only; what is damaged will not come back.
            if (!batch && batch.error().code != ErrorCode::kCorrupt) {
                if (!std::exchange(unreadable_, true))
                    core_.env.log().error("ORPHAN stream={} cannot be read now; retrying: {}",
                                          protocol::to_string(stream), batch.error().message);
                return again(stream, index);
            }
            unreadable_ = false;
            if (!batch) {
                say_lost(stream, entry, batch.error().message);
                return send(stream, index + 1);
            }
            proto::Orphan request;
            request.set_cluster_id(core_.record.cluster.value);
            request.set_topic(stream.topic.value);
            request.set_partition(stream.partition);
            request.set_lineage(entry.lineage.value);
            request.set_departed_at(departed_at_[stream].value);
            core_.links.request(to, MessageType::kOrphan, request, kOrphanTimeout,
                                lifetime_.guard([this, stream, index, entry](const Result<Message>& reply) {
                                    sent(stream, index, entry, reply);
                                }),
                                {*batch});
        }));
}

void Orphans::say_lost(StreamId stream, const storage::OrphanEntry& entry, const std::string& why) {
    ++lost_;
    ++lost_of_[stream];
    core_.env.log().error("ORPHAN stream={} offset={} view={} is lost: {}", protocol::to_string(stream),
                          entry.base_offset, entry.view, why);
}

void Orphans::sent(StreamId stream, std::size_t index, const storage::OrphanEntry& entry,
                   const Result<Message>& reply) {
    proto::ProduceResponse response;
    if (!reply || reply->type != MessageType::kOrphan || !reply->parse(response)) return again(stream, index);
    switch (static_cast<ErrorCode>(response.error().code())) {
        case ErrorCode::kNone:
            ++returned_;
            break;
        case ErrorCode::kUnknownTopic:
            if (!was_deleted_(stream)) {
                core_.env.log().error(
                    "ORPHAN stream={} belongs to a topic that this cluster does not know and did not delete: its "
                    "records "
                    "stay "
                    "in this broker's folder and are in no topic",
                    protocol::to_string(stream));
                return;
            }
            core_.env.log().warn("ORPHAN stream={} belongs to a deleted topic and is dropped",
                                 protocol::to_string(stream));
            break;
        case ErrorCode::kTooLarge:
        case ErrorCode::kInvalid:  // it can never succeed, and others wait behind it
            say_lost(stream, entry, response.error().message());
            break;
        default:
            return again(stream, index);
    }
    send(stream, index + 1);
}

}  // namespace logstream::node
