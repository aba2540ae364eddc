#include "tests/chaos/clients.h"

#include "internal/protocol/checksum.h"

namespace logstream::chaos {

using namespace std::chrono_literals;

namespace {

constexpr Duration kBeginAgain = 500ms;
constexpr Duration kPause = 10ms;                 // between two bursts, on average
constexpr Duration kWritten = 1ms;                // until a program has written what it consumed
constexpr std::size_t kMaxBuffered = 256u << 10;  // beyond, a producer waits
constexpr std::size_t kUsualBytes = 200;          // of a value
constexpr std::size_t kManyBytes = 20'000;        // of one in fifty

std::uint32_t crc_of(std::string_view value) { return protocol::crc32c(std::as_bytes(std::span(value))); }

}  // namespace

void Client::connect() {
    router_ = std::make_unique<client::Router>(place_.session.env(), place_.bootstrap);
    router_->listen([this] {
        if (const auto known = router_->view().topic(sim::topic_name(topic_))) topic_id_ = known->id;
    });
    router_->start();
}

void Client::begin_again() {
    ++life_;
    later(kBeginAgain, [this] {
        end();
        router_.reset();
        begin();
    });
}

void Client::die() {
    end();
    router_.reset();
    begin_again();
}

void Client::later(Duration after, std::function<void()> task) {
    place_.session.env().set_timer(after,
                                   [this, task = std::move(task), life = life_, alive = std::weak_ptr<bool>(alive_)] {
                                       if (alive.lock() && life == life_) task();
                                   });
}

Producer::Producer(Place& place, std::uint32_t number, ProducerPlan plan, sim::History& history,
                   ReportHandler on_report)
    : Client(place, plan.topic), number_(number), plan_(plan), history_(history), on_report_(std::move(on_report)) {
    begin();
}

void Producer::end() { producer_.reset(); }

void Producer::stop() {
    stopped_ = true;
    if (producer_) producer_->flush();
}

void Producer::begin() {
    if (stopped_) return;
    connect();
    client::ProducerOptions options;
    options.topic = sim::topic_name(plan_.topic);
    options.acks = plan_.acks;
    options.batch_bytes = 16u << 10;
    options.timeout = plan_.timeout;
    options.auto_create = client::AutoCreate::kNo;
    producer_ = std::make_unique<client::Producer>(*router_, options,
                                                   [this](const client::BatchReport& batch) { report(batch); });
    producer_->start([this, life = life_](const protocol::Result<void>& ready) {
        if (life != life_) return;
        if (!ready) return begin_again();
        later(Duration{0}, [this] { burst(); });
    });
}

void Producer::burst() {
    if (stopped_) return;
    if (router_->failure()) return begin_again();
    const double mean = plan_.rate * std::chrono::duration<double>(kPause).count();
    const std::uint64_t count = place_.random.below(static_cast<std::uint64_t>(2 * mean) + 1);
    for (std::uint64_t i = 0; i < count && producer_->buffered_bytes() < kMaxBuffered; ++i) send_one();
    later(place_.random.between(Duration{1}, kPause * 2), [this] { burst(); });
}

void Producer::send_one() {
    sim::Sent& sent = history_.add({number_, life_}, plan_.topic, plan_.acks, place_.session.loop().now());
    const std::size_t bytes = place_.random.below(place_.random.chance(0.02) ? kManyBytes : kUsualBytes);
    const std::string value = sim::make_value(number_, sim::count_of(sent.id), bytes);
    sent.crc = crc_of(value);
    std::optional<std::string> key;
    if (place_.random.chance(0.5)) key = "k" + std::to_string(place_.random.below(8));
    if (const auto taken = producer_->send({.key = key, .value = value}); !taken) {
        sent.outcome = sim::Outcome::kFailed;
        sent.error = taken.error().code;
    }
}

void Producer::report(const client::BatchReport& batch) {
    history_.report(batch, router_->view().cluster_id, stream(batch.partition), on_report_);
}

Consumer::Consumer(Place& place, std::uint32_t topic, std::string group, DeliverHandler on_delivery)
    : Client(place, topic), group_(std::move(group)), on_delivery_(std::move(on_delivery)) {
    begin();
}

void Consumer::end() { consumer_.reset(); }

void Consumer::begin() {
    last_.clear();
    connect();
    client::ConsumerOptions options;
    options.topic = sim::topic_name(topic_);
    options.follow = true;
    options.group = group_;
    consumer_ = std::make_unique<client::Consumer>(
        *router_, options, [this](const client::ConsumedRecord& record) { return deliver(record); },
        [this](const protocol::Result<void>&) { begin_again(); });
    consumer_->start();
}

bool Consumer::deliver(const client::ConsumedRecord& record) {
    Offset& last = last_.try_emplace(record.partition, Offset{-1}).first->second;
    if (!group_.empty() && record.offset <= last) last = Offset{-1};  // given back and taken again
    on_delivery_({router_->view().cluster_id, stream(record.partition), last, record.offset,
                  sim::record_id_of(record.record.value), crc_of(record.record.value.value_or(""))});
    last = record.offset;
    if (!group_.empty())
        later(kWritten, [this, partition = record.partition, next = record.offset + 1] {
            if (consumer_) consumer_->written(partition, next);
        });
    return true;
}

}  // namespace logstream::chaos
