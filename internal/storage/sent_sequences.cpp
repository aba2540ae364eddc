#include "internal/storage/sent_sequences.h"

#include <algorithm>

namespace logstream::storage {

void SentSequences::begin_anew() {
    first_ = next_;
    missing_.clear();
    missing_known_ = content_known_ = true;
    content_ = 0;
}

void SentSequences::take(SequenceRange batch, std::optional<std::uint64_t> content) {
    bool whole = true;  // nothing of it was there before
    if (batch.first >= next_) {
        if (batch.first > next_) missing_.push_back({next_, batch.first - 1});
        next_ = batch.last + 1;
    } else {
        std::vector<SequenceRange> left;
        whole = false;
        for (const SequenceRange& hole : missing_) {
            whole = whole || (hole.first <= batch.first && batch.last <= hole.last);
            if (hole.first < batch.first) left.push_back({hole.first, std::min(hole.last, batch.first - 1)});
            if (hole.last > batch.last) left.push_back({std::max(hole.first, batch.last + 1), hole.last});
        }
        missing_ = std::move(left);
        next_ = std::max(next_, batch.last + 1);
    }
    content_known_ = content_known_ && content && whole;
    content_ = content_known_ ? content_ + *content : 0;
    if (missing_.size() <= kMaxMissing) return;
    missing_.erase(missing_.begin());
    missing_known_ = false;
}

const SequenceRange* SentSequences::missing_from(std::int64_t sequence) const {
    const auto found = std::ranges::find_if(missing_, [&](const SequenceRange& hole) { return hole.last >= sequence; });
    return found == missing_.end() ? nullptr : &*found;
}

bool SentSequences::lacks_any(SequenceRange range) const {
    const SequenceRange* hole = missing_from(range.first);
    return range.last >= next_ || (hole != nullptr && hole->first <= range.last);
}

std::optional<std::uint64_t> SentSequences::content() const {
    return content_known_ ? std::optional(content_) : std::nullopt;
}

void SentSequences::encode(ByteWriter& out) const {
    out.put(first_);
    out.put(next_);
    out.put(static_cast<std::uint8_t>(missing_known_));
    out.put(static_cast<std::uint8_t>(content_known_));
    out.put(content_);
    out.put(static_cast<std::uint32_t>(missing_.size()));
    for (const SequenceRange& hole : missing_) {
        out.put(hole.first);
        out.put(hole.last);
    }
}

bool SentSequences::decode(ByteReader& in) {
    *this = {};
    first_ = in.get<std::int64_t>();
    next_ = in.get<std::int64_t>();
    missing_known_ = in.get<std::uint8_t>() != 0;
    content_known_ = in.get<std::uint8_t>() != 0;
    content_ = in.get<std::uint64_t>();
    const std::size_t holes = in.get_count(2 * sizeof(std::int64_t));
    if (!in.ok() || first_ < 0 || next_ < first_ || next_ > kMaxSequence || holes > kMaxMissing) return false;
    std::int64_t from = first_;
    for (std::size_t i = 0; i < holes; ++i) {
        const SequenceRange hole{in.get<std::int64_t>(), in.get<std::int64_t>()};
        if (hole.first < from || hole.last < hole.first || hole.last >= next_) return false;
        from = hole.last + 1;
        missing_.push_back(hole);
    }
    return in.ok();
}

void SentSequences::restore(std::int64_t next) {
    *this = {};
    next_ = next;
    content_known_ = next == 0;
}

}  // namespace logstream::storage
