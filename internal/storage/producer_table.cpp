#include "internal/storage/producer_table.h"

#include <algorithm>
#include <set>

namespace logstream::storage {
namespace {

constexpr std::int64_t kSequenceModulus = std::int64_t{1} << 31;

// The sequence number that `wire` (modulo 2^31) stands for: of those not below 0 the one nearest to `near`.
std::int64_t unwrap(std::int64_t near, std::int32_t wire) {
    std::int64_t distance = (wire - near) % kSequenceModulus;
    if (distance < 0) distance += kSequenceModulus;
    if (distance >= kSequenceModulus / 2 && near + distance - kSequenceModulus >= 0) distance -= kSequenceModulus;
    return near + distance;
}

// In place of Epoch::resumes_behind, in bytes.
constexpr std::int64_t kDoesNotResume = -2;
// More than any producer sends; bytes that claim more make no sense.
constexpr std::int64_t kMaxSequence = std::int64_t{1} << 62;

std::int32_t to_wire(std::int64_t sequence) { return static_cast<std::int32_t>(sequence % kSequenceModulus); }

}  // namespace

bool ProducerTable::Epoch::lacks_any(Range r) const {
    return r.last > last || std::ranges::any_of(gaps, [&](Range g) { return g.first <= r.last && r.first <= g.last; });
}

void ProducerTable::Epoch::forget_oldest_gap() {
    if (gaps.size() <= kMaxGaps) return;
    exact_from = gaps.front().last + 1;
    gaps.erase(gaps.begin());
}

void ProducerTable::Epoch::advance(Range r) {
    if (r.first > last + 1) {
        gaps.push_back({last + 1, r.first - 1});
        forget_oldest_gap();
    } else {
        fill({r.first, std::min(r.last, last)});
    }
    last = std::max(last, r.last);
}

void ProducerTable::Epoch::fill(Range r) {
    std::vector<Range> left;
    for (const Range gap : gaps) {
        if (gap.first < r.first) left.push_back({gap.first, std::min(gap.last, r.first - 1)});
        if (gap.last > r.last) left.push_back({std::max(gap.first, r.last + 1), gap.last});
    }
    gaps = std::move(left);
    forget_oldest_gap();
}

ProducerTable::Range ProducerTable::range_in(const Epoch& epoch, const ProducerBatch& batch) {
    const std::int64_t first = unwrap(epoch.last + 1, batch.base_sequence);
    std::int64_t length = (std::int64_t{batch.last_sequence} - batch.base_sequence) % kSequenceModulus;
    if (length < 0) length += kSequenceModulus;
    return {first, first + length};
}

ProducerTable::Epoch ProducerTable::epoch_opened_by(const ProducerBatch& batch, const Producer& producer) {
    Epoch out{.number = batch.epoch, .last = -1, .gaps = {}, .exact_from = 0, .resumes_behind = {}};
    if (batch.resumes()) out.resumes_behind = producer.last;
    return out;
}

const ProducerTable::Epoch* ProducerTable::find_epoch(const Producer& producer, std::int16_t number) {
    if (producer.current.number == number) return &producer.current;
    const auto found = std::ranges::find(producer.older, number, &Epoch::number);
    return found == producer.older.end() ? nullptr : &*found;
}

CheckResult ProducerTable::check(const ProducerBatch& batch) const {
    if (batch.producer == protocol::kNoProducer) return {SequenceCheck::kNew, {}};
    const auto found = producers_.find(batch.producer);
    if (found == producers_.end()) return {batch.base_sequence <= 0 ? SequenceCheck::kNew : SequenceCheck::kGap, {}};
    const Producer& producer = found->second;
    if (batch.epoch < producer.current.number) return {SequenceCheck::kFenced, {}};
    if (batch.base_sequence < 0) return {SequenceCheck::kNew, {}};
    const bool opens = batch.epoch > producer.current.number || producer.current.last < 0;
    if (opens) {
        const bool fits = batch.base_sequence == 0 || batch.base_sequence == to_wire(producer.last + 1);
        return {fits ? SequenceCheck::kNew : SequenceCheck::kGap, {}};
    }
    const Range range = range_in(producer.current, batch);
    if (range.first == producer.current.last + 1) return {SequenceCheck::kNew, {}};
    for (const Recent& recent : producer.recent) {
        if (recent.sequences == range) return {SequenceCheck::kDuplicate, recent.base_offset};
    }
    if (!producer.current.lacks_any(range)) return {SequenceCheck::kDuplicate, {}};
    return {SequenceCheck::kGap, {}};
}

bool ProducerTable::is_sent_again(const Producer& producer, const ProducerBatch& batch) {
    const auto takes_over = [&batch](const Epoch& later) {
        return later.number > batch.epoch && later.resumes_behind &&
               unwrap(*later.resumes_behind + 1, batch.base_sequence) > *later.resumes_behind;
    };
    return takes_over(producer.current) || std::ranges::any_of(producer.older, takes_over);
}

Standing ProducerTable::standing(const ProducerBatch& batch) const {
    if (batch.producer == protocol::kNoProducer || batch.base_sequence < 0) return Standing::kAbsent;
    const auto found = producers_.find(batch.producer);
    if (found == producers_.end()) return forgot_one_ ? Standing::kForgotten : Standing::kAbsent;
    const Producer& producer = found->second;
    if (is_sent_again(producer, batch)) return Standing::kSentAgain;
    if (const Epoch* epoch = find_epoch(producer, batch.epoch)) {
        const Range range = range_in(*epoch, batch);
        if (epoch->last < 0 || epoch->lacks_any(range)) return Standing::kAbsent;
        return range.first < epoch->exact_from ? Standing::kForgotten : Standing::kPresent;
    }
    const bool dropped = producer.older.size() == kOlderEpochs && batch.epoch < producer.older.front().number;
    return dropped ? Standing::kForgotten : Standing::kAbsent;
}

void ProducerTable::apply(const ProducerBatch& batch, Offset base_offset) {
    if (batch.producer == protocol::kNoProducer) return;
    auto [found, is_new] = producers_.try_emplace(batch.producer);
    Producer& producer = found->second;
    if (is_new) {
        producer.current = epoch_opened_by(batch, producer);
    } else {
        erase_age(producer);
    }
    producer.last_offset = base_offset;
    producer.named = producer.named || batch.is_fence();
    apply_to(producer, batch, base_offset);
    insert_age(batch.producer, producer);
    if (producers_.size() > limit_) forget_one();
}

void ProducerTable::insert_age(ProducerId id, const Producer& producer) {
    by_age_[{producer.named, producer.last_offset}] = id;
    named_ += producer.named ? 1 : 0;
}

void ProducerTable::erase_age(const Producer& producer) {
    by_age_.erase({producer.named, producer.last_offset});
    named_ -= producer.named ? 1 : 0;
}

void ProducerTable::forget_one() {
    forgot_one_ = true;
    const auto first_named = by_age_.lower_bound({true, Offset{}});
    const auto oldest = named_ > limit_ / 2 ? first_named : by_age_.begin();
    const Producer& producer = producers_.at(oldest->second);
    forgot_a_name_ = forgot_a_name_ || producer.named;
    const ProducerId id = oldest->second;
    erase_age(producer);
    producers_.erase(id);
}

void ProducerTable::apply_to(Producer& producer, const ProducerBatch& batch, Offset base_offset) {
    if (batch.epoch > producer.current.number) {
        // A new epoch; an older one that was known may be it (an orphan brought it before).
        producer.older.push_back(std::move(producer.current));
        if (producer.older.size() > kOlderEpochs) producer.older.erase(producer.older.begin());
        producer.current = epoch_opened_by(batch, producer);
        producer.recent.clear();
    }
    if (batch.base_sequence < 0) return;
    if (batch.epoch < producer.current.number) {
        auto at = std::ranges::lower_bound(producer.older, batch.epoch, {}, &Epoch::number);
        if (at == producer.older.end() || at->number != batch.epoch) {
            if (at == producer.older.begin() && producer.older.size() >= kOlderEpochs) {  // forgotten at once
                producer.last = std::max(producer.last, range_in(Epoch{}, batch).last);
                return;
            }
            const auto index = at - producer.older.begin();
            producer.older.insert(at, epoch_opened_by(batch, producer));
            at = producer.older.begin() + index;
            if (producer.older.size() > kOlderEpochs) {
                producer.older.erase(producer.older.begin());
                at = producer.older.begin() + index - 1;
            }
        }
        const Range range = range_in(*at, batch);
        at->advance(range);
        producer.last = std::max(producer.last, range.last);
        return;
    }
    const Range range = range_in(producer.current, batch);
    producer.last = std::max(producer.last, range.last);
    const bool moves_on = range.last > producer.current.last;
    producer.current.advance(range);
    if (!moves_on) return;
    producer.recent.push_back({range, base_offset});
    if (producer.recent.size() > kRecentBatches) producer.recent.erase(producer.recent.begin());
}

std::optional<std::int16_t> ProducerTable::epoch_of(ProducerId producer) const {
    const auto found = producers_.find(producer);
    if (found == producers_.end()) return std::nullopt;
    return found->second.current.number;
}

std::int32_t ProducerTable::last_sequence_of(ProducerId producer) const {
    const auto found = producers_.find(producer);
    if (found == producers_.end()) return -1;
    const std::int64_t last = found->second.last;
    return last < 0 ? -1 : to_wire(last);
}

void ProducerTable::encode_epoch(ByteWriter& out, const Epoch& epoch) {
    out.put(epoch.number);
    out.put(epoch.last);
    out.put(epoch.exact_from);
    out.put(epoch.resumes_behind.value_or(kDoesNotResume));
    out.put(static_cast<std::uint32_t>(epoch.gaps.size()));
    for (const Range gap : epoch.gaps) {
        out.put(gap.first);
        out.put(gap.last);
    }
}

bool ProducerTable::decode_epoch(ByteReader& in, Epoch& epoch) {
    epoch.number = in.get<std::int16_t>();
    epoch.last = in.get<std::int64_t>();
    epoch.exact_from = in.get<std::int64_t>();
    const auto resumes_behind = in.get<std::int64_t>();
    if (resumes_behind < kDoesNotResume || std::max(resumes_behind, epoch.last) > kMaxSequence) return false;
    if (resumes_behind != kDoesNotResume) epoch.resumes_behind = resumes_behind;
    std::int64_t before = -1;
    const std::size_t gaps = in.get_count(2 * sizeof(std::int64_t));
    if (epoch.last < -1 || epoch.exact_from < 0 || gaps > kMaxGaps) return false;
    for (std::size_t i = 0; i < gaps; ++i) {
        const Range gap{in.get<std::int64_t>(), in.get<std::int64_t>()};
        if (gap.first <= before || gap.last < gap.first || gap.last >= epoch.last) return false;
        before = gap.last;
        epoch.gaps.push_back(gap);
    }
    return in.ok();
}

void ProducerTable::encode(ByteWriter& out) const {
    out.put(static_cast<std::uint8_t>(forgot_one_));
    out.put(static_cast<std::uint8_t>(forgot_a_name_));
    out.put(static_cast<std::uint32_t>(producers_.size()));
    // By age, so that equal tables have equal bytes.
    for (const auto& [age, id] : by_age_) {
        const Producer& producer = producers_.at(id);
        out.put(id.value);
        out.put(producer.last_offset.value);
        out.put(producer.last);
        out.put(static_cast<std::uint8_t>(producer.named));
        encode_epoch(out, producer.current);
        out.put(static_cast<std::uint32_t>(producer.recent.size()));
        for (const Recent& recent : producer.recent) {
            out.put(recent.sequences.first);
            out.put(recent.sequences.last);
            out.put(recent.base_offset.value);
        }
        out.put(static_cast<std::uint32_t>(producer.older.size()));
        for (const Epoch& epoch : producer.older) encode_epoch(out, epoch);
    }
}

bool ProducerTable::decode(ByteReader& in) {
    *this = ProducerTable(limit_);
    forgot_one_ = in.get<std::uint8_t>() != 0;
    forgot_a_name_ = in.get<std::uint8_t>() != 0;
    std::set<Offset> offsets;
    const std::size_t count = in.get_count(40);
    for (std::size_t i = 0; i < count; ++i) {
        const ProducerId id(in.get<std::int64_t>());
        Producer producer;
        producer.last_offset = Offset(in.get<std::int64_t>());
        producer.last = in.get<std::int64_t>();
        if (producer.last_offset < Offset{} || producer.last < -1 || producer.last > kMaxSequence) break;
        producer.named = in.get<std::uint8_t>() != 0;
        if (!decode_epoch(in, producer.current)) break;
        const std::size_t recent = in.get_count(24);
        if (recent > kRecentBatches) in.fail();
        for (std::size_t r = 0; r < recent && in.ok(); ++r) {
            const Range range{in.get<std::int64_t>(), in.get<std::int64_t>()};
            producer.recent.push_back({range, Offset(in.get<std::int64_t>())});
        }
        const std::size_t older = in.get_count(30);
        if (older > kOlderEpochs) in.fail();
        for (std::size_t o = 0; o < older && in.ok(); ++o) {
            if (!decode_epoch(in, producer.older.emplace_back())) in.fail();
        }
        if (!in.ok()) break;
        if (!offsets.insert(producer.last_offset).second) break;
        insert_age(id, producer);
        producers_[id] = std::move(producer);
    }
    if (in.ok() && producers_.size() == count && by_age_.size() == count) return true;
    in.fail();
    *this = ProducerTable(limit_);
    return false;
}

}  // namespace logstream::storage
