#include "tests/sim/clients.h"

#include "internal/protocol/checksum.h"

namespace logstream::sim {

using namespace std::chrono_literals;
using protocol::Offset;

namespace {
constexpr Duration kBeginAgain = 500ms;
constexpr std::size_t kMaxBuffered = 256u << 10;  // beyond, a producer waits
constexpr std::uint32_t kResumedPartition = 0;    // the one that a producer with a file writes to
}  // namespace

std::string topic_name(std::uint32_t topic) { return "t" + std::to_string(topic); }

std::string group_name(std::uint32_t topic) { return "g" + std::to_string(topic); }

ClientProcess::ClientProcess(World& world, Transcript& transcript, Endpoint address, std::string name)
    : world_(world), host_(world.host(address, transcript.logger(name))) {
    host_.frame = [this](const env::ReceivedFrame& frame) {
        if (router_) router_->on_frame(frame);
    };
}

void ClientProcess::connect() {
    router_.reset();
    router_ = std::make_unique<client::Router>(host_, client::Bootstrap{});
    router_->start();
}

protocol::TopicId ClientProcess::topic_id(std::uint32_t topic) {
    if (const auto known = router_->view().topic(topic_name(topic))) topic_id_ = known->id;
    return topic_id_;
}

ProducerClient::ProducerClient(World& world, Transcript& transcript, Endpoint address, std::uint32_t number,
                               ProducerPlan plan, History& history, ReportHandler on_report)
    : ClientProcess(world, transcript, address, "p" + std::to_string(number)),
      number_(number),
      plan_(plan),
      history_(history),
      on_report_(std::move(on_report)) {
    host_.set_timer(Duration{0}, [this] { begin(); });
}

ProducerClient::~ProducerClient() { world_.kill(host_); }

void ProducerClient::begin() {
    connect();
    client::ProducerOptions options;
    options.topic = topic_name(plan_.topic);
    options.acks = plan_.acks;
    options.compression = plan_.codec;
    options.batch_bytes = plan_.batch_bytes;
    options.linger = plan_.linger;
    options.timeout = plan_.timeout;
    options.max_in_flight = plan_.max_in_flight;
    if (plan_.named) options.name = "producer-" + std::to_string(number_);
    options.resumes = plan_.resumes;
    if (plan_.resumes) options.named_partition = kResumedPartition;
    producer_ = std::make_unique<client::Producer>(*router_, options,
                                                   [this](const client::BatchReport& batch) { report(batch); });
    producer_->start([this, instance = instance_](const protocol::Result<void>& ready) {
        if (instance != instance_) return;
        if (!ready) return begin_again();
        ready_ = true;
        if (plan_.resumes) take_over(producer_->sent_before(kResumedPartition));
        host_.set_timer(Duration{0}, [this, instance] {
            if (instance == instance_) burst();
        });
    });
}

// What the cluster says it has is not sent again, so it is as good as acknowledged; the rest is this instance's to
// send.
void ProducerClient::take_over(const client::SentBefore& there) {
    const auto count = static_cast<std::size_t>(there.count());
    LS_ASSERT(count <= file_.size());
    to_send_.clear();
    for (std::size_t i = 0; i < file_.size(); ++i) {
        if (there.has(static_cast<std::int64_t>(i))) {
            history_.vouch_for(file_[i].id, router_->view().cluster_id, {topic_id(plan_.topic), kResumedPartition});
            continue;
        }
        if (i < count) history_.count_refill();
        history_.take_over(file_[i].id);
        to_send_.push_back(i);
    }
}

// Not from within the producer's own call.
void ProducerClient::begin_again() {
    ready_ = false;
    ++instance_;
    host_.set_timer(kBeginAgain, [this, instance = instance_] {
        if (instance != instance_) return;
        producer_.reset();
        begin();
    });
}

void ProducerClient::die() {
    producer_.reset();
    router_.reset();
    begin_again();
}

void ProducerClient::send_poison(std::function<void()> taken) {
    Random& random = world_.chance_of();
    const auto topic = router_ ? router_->view().topic(topic_name(plan_.topic)) : protocol::fail({}, "no router");
    if (!topic) return;
    const auto partition = static_cast<std::uint32_t>(random.below(topic->partitions));
    const client::Broker* owner = router_->view().owner({topic->id, partition});
    if (owner == nullptr) return;
    protocol::BatchBuilder builder(
        {.producer_id = protocol::ProducerId{static_cast<std::int64_t>(world_.random() >> 1)},
         .producer_epoch = 0,
         .base_sequence = 0});
    for (int i = 0; i < 3; ++i) builder.add(0, std::nullopt, "poison");
    protocol::Bytes batch = builder.finish().value();
    std::byte* const body = batch.mutable_data() + protocol::kBatchHeaderBytes;
    body[random.below(3) * (batch.size() - protocol::kBatchHeaderBytes) / 3] ^= std::byte{0x40};  // a record's length
    protocol::restamp_producer(batch, protocol::BatchView::parse(batch)->producer_id(), 0, 0);  // and a right checksum
    proto::Produce header;
    header.set_cluster_id(router_->view().cluster_id.value);
    header.set_topic(topic->id.value);
    header.set_partition(partition);
    router_->requests().send(owner->endpoint, protocol::MessageType::kProduce, header.SerializeAsString(), {batch}, 5s,
                             [taken = std::move(taken)](const protocol::Result<protocol::Message>& answer) {
                                 if (client::read_response<proto::ProduceResponse>(answer)) taken();
                             });
}

void ProducerClient::burst() {
    if (stopped_) return;
    (void)topic_id(plan_.topic);  // learnt before the first report
    // A named producer that failed sends nothing more, and one whose lineage is gone neither: a new instance goes on.
    if (router_->failure()) return begin_again();
    Random& random = world_.chance_of();
    for (std::uint32_t i = 0; i < plan_.burst && producer_->buffered_bytes() < kMaxBuffered; ++i) {
        const Line line = next_line();
        const std::string value = make_value(number_, count_of(line.id), line.bytes);
        const auto partition = plan_.resumes ? std::optional(kResumedPartition) : std::nullopt;
        const auto taken = producer_->send({.key = line.key, .value = value, .partition = partition});
        if (taken) continue;
        Sent& sent = *history_.find(line.id);
        sent.outcome = Outcome::kFailed;
        sent.error = taken.error().code;
        if (plan_.named) return begin_again();
    }
    host_.set_timer(random.between(Duration{1}, plan_.pause * 2), [this, instance = instance_] {
        if (instance == instance_) burst();
    });
}

ProducerClient::Line ProducerClient::next_line() {
    if (!to_send_.empty()) {
        const Line& line = file_[to_send_.front()];
        to_send_.pop_front();
        return line;
    }
    // A named producer takes over from its earlier instances, so that their records stand before its own.
    const std::uint32_t instance = plan_.named ? 0 : instance_;
    Random& random = world_.chance_of();
    Line line{
        .id = history_.add({number_, instance}, plan_.topic, plan_.acks, world_.now()).id,
        .bytes = random.chance(0.02) ? random.below(20'000) : random.below(plan_.record_bytes),
        .key = std::nullopt,
    };
    if (random.chance(0.5)) line.key = "k" + std::to_string(random.below(8));
    if (plan_.resumes) file_.push_back(line);
    return line;
}

void ProducerClient::report(const client::BatchReport& batch) {
    history_.report(batch, router_->view().cluster_id, {topic_id(plan_.topic), batch.partition},
                    [this](const Sent& sent) {
                        if (sent.outcome == Outcome::kAcknowledged) ++acknowledged_;
                        on_report_(sent);
                    });
    if (!batch.outcome && plan_.named && ready_) begin_again();
}

ConsumerClient::ConsumerClient(World& world, Transcript& transcript, Endpoint address, std::string name,
                               ConsumerPlan plan, BeginHandler on_begin, DeliverHandler on_delivery)
    : ClientProcess(world, transcript, address, std::move(name)),
      plan_(plan),
      on_begin_(std::move(on_begin)),
      on_delivery_(std::move(on_delivery)) {
    host_.set_timer(Duration{0}, [this] { begin(); });
}

ConsumerClient::~ConsumerClient() { world_.kill(host_); }

std::int64_t ConsumerClient::position(std::uint32_t partition) const {
    const auto position = consumer_ ? consumer_->position(partition) : std::nullopt;
    return position ? position->value : -1;
}

void ConsumerClient::begin() {
    consumer_.reset();
    ++instance_;
    last_.clear();
    on_begin_();
    connect();
    client::ConsumerOptions options;
    options.topic = topic_name(plan_.topic);
    options.follow = true;
    if (plan_.group) options.group = group_name(plan_.topic);
    consumer_ = std::make_unique<client::Consumer>(
        *router_, options, [this](const client::ConsumedRecord& record) { return deliver(record); },
        [this](const protocol::Result<void>&) { host_.set_timer(kBeginAgain, [this] { begin(); }); });
    consumer_->start();
}

void ConsumerClient::die() {
    consumer_.reset();
    router_.reset();
    host_.set_timer(kBeginAgain, [this] { begin(); });
}

bool ConsumerClient::deliver(const client::ConsumedRecord& record) {
    ++delivered_;
    const client::ClusterView& cluster = router_->view();
    const protocol::TopicId topic = topic_id(plan_.topic);
    auto [last, first] = last_.try_emplace(record.partition, Offset{-1});
    if (plan_.group && record.offset <= last->second) last->second = Offset{-1};  // given back and taken again
    const std::string_view value = record.record.value.value_or("");
    if (topic.value != 0)
        on_delivery_({cluster.cluster_id,
                      {topic, record.partition},
                      last->second,
                      record.offset,
                      record_id_of(record.record.value),
                      protocol::crc32c(std::as_bytes(std::span(value)))});
    last->second = record.offset;
    if (plan_.group) {
        // Written a little later, as a program would.
        host_.set_timer(1ms,
                        [this, partition = record.partition, next = record.offset + 1, consumer = consumer_.get()] {
                            if (consumer == consumer_.get()) consumer_->written(partition, next);
                        });
    }
    return true;
}

}  // namespace logstream::sim
