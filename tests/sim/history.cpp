#include "tests/sim/history.h"

#include <charconv>

namespace logstream::sim {

namespace {
constexpr std::size_t kPrefixBytes = 15;  // "p003:00000017:#"
constexpr std::size_t kMaxDecompressedBytes = 64u << 20;
}  // namespace

std::string make_value(std::uint32_t producer, std::uint32_t count, std::size_t bytes) {
    std::string out = fmt::format("p{:03}:{:08}:", producer, count);
    const char filler = static_cast<char>('a' + (count + producer) % 26);
    if (bytes > out.size()) out.append(bytes - out.size(), filler);
    return out;
}

RecordId record_id_of(std::optional<std::string_view> value) {
    if (!value || value->size() < kPrefixBytes - 1 || (*value)[0] != 'p' || (*value)[4] != ':') return 0;
    std::uint32_t producer = 0;
    std::uint32_t count = 0;
    if (std::from_chars(value->data() + 1, value->data() + 4, producer).ec != std::errc{}) return 0;
    if (std::from_chars(value->data() + 5, value->data() + 13, count).ec != std::errc{}) return 0;
    return RecordId{producer} << 32 | count;
}

std::string to_text(RecordId id) {
    return id == 0 ? "none of the clients' records"
                   : fmt::format("record {} of producer {}", count_of(id), producer_of(id));
}

Sent& History::add(Producer producer, std::uint32_t topic, proto::Acks acks, protocol::TimePoint now) {
    if (sent_.size() <= producer.number) sent_.resize(producer.number + 1);
    std::vector<Sent>& own = sent_[producer.number];
    Sent& out = own.emplace_back();
    out.id = RecordId{producer.number} << 32 | own.size();
    out.instance = producer.instance;
    out.topic = topic;
    out.acks = acks;
    out.sent_at = now;
    return out;
}

void History::take_over(RecordId id) {
    Sent& sent = *find(id);
    sent.taken_over = true;
    if (sent.outcome != Outcome::kAcknowledged) sent.outcome = Outcome::kPending;
}

void History::vouch_for(RecordId id, protocol::ClusterId cluster, protocol::StreamId stream) {
    Sent& sent = *find(id);
    if (sent.outcome == Outcome::kAcknowledged && sent.cluster == cluster) return;
    sent.vouched_for = true;
    sent.outcome = Outcome::kAcknowledged;
    sent.cluster = cluster;
    sent.stream = stream;
    sent.partition = stream.partition;
    sent.offset = protocol::Offset{-1};
}

const Sent* History::find(RecordId id) const {
    const std::uint32_t producer = producer_of(id);
    if (producer >= sent_.size() || count_of(id) == 0 || count_of(id) > sent_[producer].size()) return nullptr;
    return &sent_[producer][count_of(id) - 1];
}

void History::report(const client::BatchReport& batch, protocol::ClusterId cluster, protocol::StreamId stream,
                     const std::function<void(const Sent&)>& on_report) {
    auto view = protocol::BatchView::parse(batch.batch);
    LS_ASSERT(view.has_value());
    std::int64_t index = 0;
    const auto all = view->for_each(kMaxDecompressedBytes, [&](const protocol::Record& record) {
        Sent* sent = find(record_id_of(record.value));
        LS_ASSERT(sent != nullptr);
        sent->partition = stream.partition;
        sent->cluster = cluster;
        sent->stream = stream;
        if (batch.outcome) {
            sent->outcome = sent->acks == proto::NONE ? Outcome::kUnknown : Outcome::kAcknowledged;
            // Of a batch that came twice the broker may not know any more where it stands.
            if (batch.outcome->value >= 0 && stream.topic.value != 0) sent->offset = *batch.outcome + index;
            if (sent->outcome == Outcome::kAcknowledged) ++acknowledged_;
        } else {
            sent->error = batch.outcome.error().code;
            sent->outcome = sent->error == protocol::ErrorCode::kUnknown ? Outcome::kUnknown : Outcome::kFailed;
        }
        ++index;
        on_report(*sent);
        return true;
    });
    LS_ASSERT(all.has_value());
}

}  // namespace logstream::sim
