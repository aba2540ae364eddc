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

// Of an epoch that does not resume, in the bytes of the older format.
constexpr std::int64_t kDoesNotResume = -2;
constexpr std::int64_t kMaxEpochNumber = std::int64_t{1} << 40;

// How many epochs later one is than another, modulo their number.
int epochs_between(std::int64_t from, std::int64_t to) {
    const auto distance = static_cast<int>((to - from) % kEpochModulus);
    return distance < 0 ? distance + kEpochModulus : distance;
}

bool overlap(SequenceRange a, SequenceRange b) { return a.first <= b.last && b.first <= a.last; }

SequenceRange range_near(std::int64_t near, const ProducerBatch& batch) {
    const std::int64_t first = unwrap(near, batch.base_sequence);
    std::int64_t length = (std::int64_t{batch.last_sequence} - batch.base_sequence) % kSequenceModulus;
    if (length < 0) length += kSequenceModulus;
    return {first, first + length};
}

// Whether an instance that goes on at `next`, and fills these holes, sends what the orphan is.
bool sends_again(std::int64_t next, const std::vector<SequenceRange>& holes, const ProducerBatch& orphan) {
    const SequenceRange range = range_near(next, orphan);
    return range.first >= next || std::ranges::any_of(holes, [&](SequenceRange hole) { return overlap(hole, range); });
}

}  // namespace

bool ProducerTable::Epoch::lacks_any(SequenceRange r) const {
    return r.last > last || std::ranges::any_of(gaps, [&](SequenceRange gap) { return overlap(gap, r); });
}

void ProducerTable::Epoch::forget_oldest_gap() {
    if (gaps.size() <= kMaxGaps) return;
    exact_from = gaps.front().last + 1;
    gaps.erase(gaps.begin());
}

void ProducerTable::Epoch::advance(SequenceRange r) {
    if (r.first > last + 1) {
        gaps.push_back({last + 1, r.first - 1});
        forget_oldest_gap();
    } else {
        fill({r.first, std::min(r.last, last)});
    }
    last = std::max(last, r.last);
}

void ProducerTable::Epoch::fill(SequenceRange r) {
    std::vector<SequenceRange> left;
    for (const SequenceRange gap : gaps) {
        if (gap.first < r.first) left.push_back({gap.first, std::min(gap.last, r.first - 1)});
        if (gap.last > r.last) left.push_back({std::max(gap.first, r.last + 1), gap.last});
    }
    gaps = std::move(left);
    forget_oldest_gap();
}

SequenceRange ProducerTable::range_in(const Epoch& epoch, const ProducerBatch& batch) {
    return range_near(epoch.last < 0 ? epoch.opened_at : epoch.last + 1, batch);
}

// An older epoch than the first one there is none, so what would be is ahead.
std::int64_t ProducerTable::number_of(const Producer& producer, const ProducerBatch& batch) {
    if (!producer.named) return batch.epoch;
    const int distance = epochs_between(producer.current.number, batch.epoch);
    const std::int64_t ahead = producer.current.number + distance;
    return distance < kEpochsAhead || ahead < kEpochModulus ? ahead : ahead - kEpochModulus;
}

ProducerTable::Epoch ProducerTable::epoch_opened_by(const ProducerBatch& batch, std::int64_t number,
                                                    const Producer& producer) {
    Epoch out{};
    out.number = number;
    if (producer.named) out.opened_at = producer.sent.next();
    if (batch.resumes()) {
        out.resumes_from = producer.begun;
        out.refills = producer.sent.missing();
    }
    return out;
}

const ProducerTable::Epoch* ProducerTable::find_epoch(const Producer& producer, std::int64_t number) {
    if (producer.current.number == number) return &producer.current;
    const auto found = std::ranges::find(producer.older, number, &Epoch::number);
    return found == producer.older.end() ? nullptr : &*found;
}

// The first hole that the instance of the current epoch took over and has not filled yet.
const SequenceRange* ProducerTable::next_refill(const Producer& producer) {
    for (const SequenceRange& hole : producer.sent.missing())
        if (std::ranges::any_of(producer.current.refills, [&](SequenceRange taken) { return overlap(taken, hole); }))
            return &hole;
    return nullptr;
}

CheckResult ProducerTable::check(const ProducerBatch& batch) const {
    if (batch.producer == protocol::kNoProducer) return {SequenceCheck::kNew, {}};
    const auto found = producers_.find(batch.producer);
    if (found == producers_.end()) return {batch.base_sequence <= 0 ? SequenceCheck::kNew : SequenceCheck::kGap, {}};
    const Producer& producer = found->second;
    const std::int64_t number = number_of(producer, batch);
    if (number < producer.current.number) return {SequenceCheck::kFenced, {}};
    if (batch.base_sequence < 0) return {SequenceCheck::kNew, {}};
    const SequenceRange range = range_in(producer.current, batch);
    const SequenceRange* refill = number == producer.current.number ? next_refill(producer) : nullptr;
    if (refill != nullptr && range.first == refill->first)
        return {range.last <= refill->last ? SequenceCheck::kNew : SequenceCheck::kGap, {}};
    const bool opens = number > producer.current.number || producer.current.last < 0;
    if (opens) {
        const bool fits =
            batch.base_sequence == 0 || batch.base_sequence == protocol::wire_sequence(producer.sent.next());
        return {fits && refill == nullptr ? SequenceCheck::kNew : SequenceCheck::kGap, {}};
    }
    const std::int64_t next = producer.named ? producer.sent.next() : producer.current.last + 1;
    if (range.first == next && refill == nullptr) return {SequenceCheck::kNew, {}};
    for (const Recent& recent : producer.recent) {
        if (recent.sequences == range) return {SequenceCheck::kDuplicate, recent.base_offset};
    }
    if (!producer.current.lacks_any(range)) return {SequenceCheck::kDuplicate, {}};
    return {SequenceCheck::kGap, {}};
}

bool ProducerTable::is_sent_again(const Producer& producer, const ProducerBatch& batch) {
    const std::int64_t number = number_of(producer, batch);
    const auto takes_over = [&](const Epoch& later) {
        return later.number > number && later.resumes_from && number >= *later.resumes_from &&
               sends_again(later.opened_at, later.refills, batch);
    };
    return takes_over(producer.current) || std::ranges::any_of(producer.older, takes_over);
}

bool ProducerTable::is_taken_over(const ProducerBatch& orphan, const ProducerBatch& fence, const Takeover& takeover) {
    const int later = epochs_between(orphan.epoch, fence.epoch);
    return fence.resumes() && fence.producer == orphan.producer && later > 0 && later <= takeover.epochs &&
           sends_again(takeover.next, takeover.missing, orphan);
}

Standing ProducerTable::standing(const ProducerBatch& batch) const {
    if (batch.producer == protocol::kNoProducer || batch.base_sequence < 0) return Standing::kAbsent;
    const auto found = producers_.find(batch.producer);
    if (found == producers_.end()) return forgot_one_ ? Standing::kForgotten : Standing::kAbsent;
    const Producer& producer = found->second;
    if (is_sent_again(producer, batch)) return Standing::kSentAgain;
    const std::int64_t number = number_of(producer, batch);
    if (const Epoch* epoch = find_epoch(producer, number)) {
        const SequenceRange range = range_in(*epoch, batch);
        if (epoch->last < 0 || epoch->lacks_any(range)) return Standing::kAbsent;
        return range.first < epoch->exact_from ? Standing::kForgotten : Standing::kPresent;
    }
    const Epoch& oldest = producer.older.empty() ? producer.current : producer.older.front();
    const bool forgot_some = producer.forgotten_before || producer.older.size() == kOlderEpochs;
    return forgot_some && number < oldest.number ? Standing::kForgotten : Standing::kAbsent;
}

void ProducerTable::apply(const ProducerBatch& batch, Offset base_offset) {
    if (batch.producer == protocol::kNoProducer) return;
    auto [found, is_new] = producers_.try_emplace(batch.producer);
    Producer& producer = found->second;
    if (!is_new) erase_age(producer);
    producer.last_offset = base_offset;
    producer.named = producer.named || batch.is_fence() || batch.named;
    if (is_new) begin(producer, batch);
    apply_to(producer, batch, base_offset);
    insert_age(batch.producer, producer);
    if (producers_.size() > limit_) forget_one();
}

void ProducerTable::begin(Producer& producer, const ProducerBatch& batch) const {
    producer.forgotten_before = forgot_one_;
    producer.current = epoch_opened_by(batch, batch.epoch, producer);
    if (batch.is_fence()) {
        if (!batch.resumes()) producer.begun = batch.epoch;
        return;
    }
    if (!forgot_one_) return;
    // What it sent before may be forgotten, so it is not missing.
    Epoch& epoch = producer.current;
    epoch.exact_from = range_in(epoch, batch).first;
    epoch.last = epoch.exact_from - 1;
    producer.sent.restore(epoch.exact_from);
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

void ProducerTable::open_epoch(Producer& producer, const ProducerBatch& batch, std::int64_t number) {
    // An older one that was known may be it (an orphan brought it before).
    producer.older.push_back(std::move(producer.current));
    if (producer.older.size() > kOlderEpochs) producer.older.erase(producer.older.begin());
    if (batch.is_fence() && !batch.resumes()) {
        producer.begun = number;
        producer.sent.begin_anew();
    }
    producer.current = epoch_opened_by(batch, number, producer);
    producer.recent.clear();
}

// nullptr: it is forgotten at once.
ProducerTable::Epoch* ProducerTable::older_epoch(Producer& producer, const ProducerBatch& batch, std::int64_t number) {
    auto at = std::ranges::lower_bound(producer.older, number, {}, &Epoch::number);
    if (at != producer.older.end() && at->number == number) return &*at;
    if (at == producer.older.begin() && producer.older.size() >= kOlderEpochs) return nullptr;
    const auto index = at - producer.older.begin();
    producer.older.insert(at, epoch_opened_by(batch, number, producer));
    at = producer.older.begin() + index;
    if (producer.older.size() > kOlderEpochs) {
        producer.older.erase(producer.older.begin());
        at = producer.older.begin() + index - 1;
    }
    return &*at;
}

void ProducerTable::apply_to(Producer& producer, const ProducerBatch& batch, Offset base_offset) {
    const std::int64_t number = number_of(producer, batch);
    if (number > producer.current.number) open_epoch(producer, batch, number);
    if (batch.base_sequence < 0) return;
    const bool is_older = number < producer.current.number;
    Epoch* epoch = is_older ? older_epoch(producer, batch, number) : &producer.current;
    const Epoch forgotten = epoch_opened_by(batch, number, producer);
    const SequenceRange range = range_in(epoch == nullptr ? forgotten : *epoch, batch);
    if (number >= producer.begun) producer.sent.take(range, batch.content);
    if (epoch == nullptr) return;
    const bool moves_on = range.last > epoch->last;
    epoch->advance(range);
    if (is_older || !moves_on) return;
    producer.recent.push_back({range, base_offset});
    if (producer.recent.size() > kRecentBatches) producer.recent.erase(producer.recent.begin());
}

std::optional<std::int16_t> ProducerTable::epoch_of(ProducerId producer) const {
    const auto found = producers_.find(producer);
    if (found == producers_.end()) return std::nullopt;
    return static_cast<std::int16_t>(found->second.current.number % kEpochModulus);
}

const SentSequences* ProducerTable::sent_by(ProducerId producer) const {
    const auto found = producers_.find(producer);
    return found == producers_.end() ? nullptr : &found->second.sent;
}

ProducerTable::Takeover ProducerTable::takeover_by(ProducerId id) const {
    const auto found = producers_.find(id);
    constexpr std::int64_t kMost = kEpochModulus - kEpochsAhead;
    if (found == producers_.end()) return {static_cast<std::int32_t>(kMost), 0, {}};
    const Producer& producer = found->second;
    const std::int64_t epochs = producer.begun == 0 ? kMost : producer.current.number + 1 - producer.begun;
    return {static_cast<std::int32_t>(std::min(epochs, kMost)), producer.sent.next(), producer.sent.missing()};
}

void ProducerTable::encode_epoch(ByteWriter& out, const Epoch& epoch) {
    out.put(epoch.number);
    out.put(epoch.last);
    out.put(epoch.exact_from);
    out.put(epoch.opened_at);
    out.put(static_cast<std::uint8_t>(epoch.resumes_from.has_value()));
    out.put(epoch.resumes_from.value_or(0));
    for (const auto* ranges : {&epoch.gaps, &epoch.refills}) {
        out.put(static_cast<std::uint32_t>(ranges->size()));
        for (const SequenceRange range : *ranges) {
            out.put(range.first);
            out.put(range.last);
        }
    }
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
        producer.sent.encode(out);
        out.put(producer.begun);
        out.put(static_cast<std::uint8_t>(producer.forgotten_before));
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

namespace {
// Rising, disjoint, and below `end`.
bool decode_ranges(ByteReader& in, std::size_t most, std::int64_t end, std::vector<SequenceRange>& ranges) {
    const std::size_t count = in.get_count(2 * sizeof(std::int64_t));
    if (count > most) return false;
    std::int64_t before = -1;
    for (std::size_t i = 0; i < count; ++i) {
        const SequenceRange range{in.get<std::int64_t>(), in.get<std::int64_t>()};
        if (range.first <= before || range.last < range.first || range.last >= end) return false;
        before = range.last;
        ranges.push_back(range);
    }
    return in.ok();
}
}  // namespace

bool ProducerTable::decode_epoch(ByteReader& in, Epoch& epoch, Format format) {
    const bool present = format == Format::kPresent;
    epoch.number = present ? in.get<std::int64_t>() : in.get<std::int16_t>();
    epoch.last = in.get<std::int64_t>();
    epoch.exact_from = in.get<std::int64_t>();
    if (present) {
        epoch.opened_at = in.get<std::int64_t>();
        const bool resumes = in.get<std::uint8_t>() != 0;
        const auto from = in.get<std::int64_t>();
        if (resumes) epoch.resumes_from = from;
    } else if (const auto behind = in.get<std::int64_t>(); behind < kDoesNotResume || behind > kMaxSequence) {
        return false;
    } else if (behind != kDoesNotResume) {
        epoch.opened_at = behind + 1;
        epoch.resumes_from = 0;
    }
    if (epoch.number < std::numeric_limits<std::int16_t>::min() || epoch.number > kMaxEpochNumber || epoch.last < -1 ||
        std::max(epoch.last, epoch.opened_at) > kMaxSequence || std::min(epoch.exact_from, epoch.opened_at) < 0)
        return false;
    if (!decode_ranges(in, kMaxGaps, epoch.last, epoch.gaps)) return false;
    return !present || decode_ranges(in, SentSequences::kMaxMissing, kMaxSequence, epoch.refills);
}

bool ProducerTable::decode_producer(ByteReader& in, Producer& producer, Format format) {
    producer.last_offset = Offset(in.get<std::int64_t>());
    if (producer.last_offset < Offset{}) return false;
    if (format == Format::kPresent) {
        if (!producer.sent.decode(in)) return false;
        producer.begun = in.get<std::int64_t>();
        producer.forgotten_before = in.get<std::uint8_t>() != 0;
    } else {
        const auto last = in.get<std::int64_t>();
        if (last < -1 || last > kMaxSequence) return false;
        producer.sent.restore(last + 1);
    }
    producer.named = in.get<std::uint8_t>() != 0;
    if (!decode_epoch(in, producer.current, format)) return false;
    const std::size_t recent = in.get_count(24);
    if (recent > kRecentBatches) return false;
    for (std::size_t i = 0; i < recent; ++i) {
        const SequenceRange range{in.get<std::int64_t>(), in.get<std::int64_t>()};
        producer.recent.push_back({range, Offset(in.get<std::int64_t>())});
    }
    const std::size_t older = in.get_count(30);
    if (older > kOlderEpochs) return false;
    for (std::size_t i = 0; i < older; ++i)
        if (!decode_epoch(in, producer.older.emplace_back(), format)) return false;
    return in.ok();
}

bool ProducerTable::decode(ByteReader& in, Format format) {
    *this = ProducerTable(limit_);
    forgot_one_ = in.get<std::uint8_t>() != 0;
    forgot_a_name_ = in.get<std::uint8_t>() != 0;
    std::set<Offset> offsets;
    const std::size_t count = in.get_count(40);
    for (std::size_t i = 0; i < count; ++i) {
        const ProducerId id(in.get<std::int64_t>());
        Producer producer;
        producer.forgotten_before = forgot_one_;
        if (!decode_producer(in, producer, format)) break;
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
