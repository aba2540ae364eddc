#include "tests/sim/history.h"

#include <charconv>

namespace logstream::sim {

namespace {
constexpr std::size_t kPrefixBytes = 15;  // "p003:00000017:#"
}

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

const Sent* History::find(RecordId id) const {
    const std::uint32_t producer = producer_of(id);
    if (producer >= sent_.size() || count_of(id) == 0 || count_of(id) > sent_[producer].size()) return nullptr;
    return &sent_[producer][count_of(id) - 1];
}

}  // namespace logstream::sim
