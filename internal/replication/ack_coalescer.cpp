#include "internal/replication/ack_coalescer.h"

#include <algorithm>

namespace logstream::replication {

AckCoalescer::AckCoalescer(const Options& options)
    : options_(options),
      received_(before(options.first_sequence)),
      last_message_end_(received_),
      highest_seen_(received_),
      durable_(received_),
      position_(received_),
      acknowledged_(received_) {
    LS_ASSERT(options.first_sequence.value >= 1);
    LS_ASSERT(options.frames >= 1 && options.max_delay >= Duration::zero());
}

void AckCoalescer::received(Sequence received, Sequence last_message_end, Sequence highest_seen, TimePoint now) {
    LS_ASSERT(last_message_end <= received && received <= highest_seen);
    received_ = received;
    last_message_end_ = last_message_end;
    highest_seen_ = highest_seen;
    update_position(now);
}

void AckCoalescer::durable(Sequence last_frame, TimePoint now) {
    LS_ASSERT(last_frame <= last_message_end_);
    durable_ = std::max(durable_, last_frame);
    update_position(now);
}

void AckCoalescer::update_position(TimePoint now) {
    const Sequence position = durable_ >= last_message_end_ ? received_ : durable_;
    if (position <= position_) return;
    if (position_ == acknowledged_) waiting_since_ = now;
    position_ = position;
}

std::optional<AckCoalescer::Ack> AckCoalescer::poll(TimePoint now) {
    const bool news =
        position_ > acknowledged_ && (position_ >= highest_seen_ || position_ - acknowledged_ >= options_.frames ||
                                      now >= waiting_since_ + options_.max_delay);
    if (!news && !repeat_) return std::nullopt;
    repeat_ = false;
    acknowledged_ = position_;
    return Ack{position_, received_};
}

TimePoint AckCoalescer::next_deadline() const {
    return position_ > acknowledged_ ? waiting_since_ + options_.max_delay : TimePoint::max();
}

}  // namespace logstream::replication
