// The real client library in the virtual world: producers that send without end and record what they are told, and
// consumers that report every record.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "internal/client/consumer.h"
#include "internal/client/producer.h"
#include "tests/sim/history.h"
#include "tests/sim/host.h"
#include "tests/sim/options.h"

namespace logstream::sim {

std::string topic_name(std::uint32_t topic);
std::string group_name(std::uint32_t topic);

// What a client process has in common: its place, its router.
class ClientProcess {
public:
    ClientProcess(World& world, Transcript& transcript, Endpoint address, std::string name);
    virtual ~ClientProcess() = default;
    ClientProcess(const ClientProcess&) = delete;
    ClientProcess& operator=(const ClientProcess&) = delete;

    Endpoint address() const { return host_.address(); }
    client::Router& router() { return *router_; }
    // The id that the topic has, or had when it was last known; 0 before.
    protocol::TopicId topic_id(std::uint32_t topic);

protected:
    // Drops the router and makes another, which begins to look for brokers.
    void connect();
    World& world_;
    Host& host_;
    std::unique_ptr<client::Router> router_;

private:
    protocol::TopicId topic_id_;
};

class ProducerClient final : public ClientProcess {
public:
    // Sees each report after the history has it.
    using ReportHandler = std::function<void(const Sent&)>;
    ProducerClient(World& world, Transcript& transcript, Endpoint address, std::uint32_t number, ProducerPlan plan,
                   History& history, ReportHandler on_report);
    ~ProducerClient() override;
    // Sends no more; what is under way goes on.
    void stop() { stopped_ = true; }
    // The process is killed and starts again: what it sent and was not told of stays open.
    void die();
    // Sends a batch that no reader could decode, beside what the producer sends; `taken` is called if it is
    // acknowledged.
    void send_poison(std::function<void()> taken);
    bool idle() const { return !producer_ || !ready_ || producer_->idle(); }
    bool ready() const { return ready_; }
    std::uint64_t acknowledged() const { return acknowledged_; }

private:
    struct Line {
        RecordId id{};
        std::size_t bytes{};
        std::optional<std::string> key;
    };
    void begin();
    void begin_again();
    void burst();
    void take_over(const client::SentBefore& there);
    Line next_line();
    void report(const client::BatchReport& report);

    std::uint32_t number_;
    ProducerPlan plan_;
    History& history_;
    ReportHandler on_report_;
    std::unique_ptr<client::Producer> producer_;
    bool ready_{};
    bool stopped_{};
    std::uint64_t acknowledged_{};
    std::uint32_t instance_{};
    std::vector<Line> file_;           // of one that resumes: all that it ever sent
    std::deque<std::size_t> to_send_;  // of it, before new ones
};

class ConsumerClient final : public ClientProcess {
public:
    struct Delivery {
        protocol::ClusterId cluster;
        protocol::StreamId stream;
        protocol::Offset previous;  // the last one of this reader in this stream; -1: it is the first
        protocol::Offset offset;
        RecordId id{};
        std::uint32_t crc{};
    };
    using DeliverHandler = std::function<void(const Delivery&)>;
    // It begins to read, at first or after its end.
    using BeginHandler = std::function<void()>;
    ConsumerClient(World& world, Transcript& transcript, Endpoint address, std::string name, ConsumerPlan plan,
                   BeginHandler on_begin, DeliverHandler on_delivery);
    ~ConsumerClient() override;
    std::uint64_t delivered() const { return delivered_; }
    bool in_group() const { return plan_.group; }
    // Which of the consumers that ran here, one after another.
    std::uint64_t instance() const { return instance_; }
    // The topic that it reads, once it is known; 0 before.
    protocol::TopicId topic() { return consumer_ ? topic_id(plan_.topic) : protocol::TopicId{}; }
    // The offset after what it read last; -1: it reads nothing of the partition.
    std::int64_t position(std::uint32_t partition) const;
    void die();

private:
    void begin();
    bool deliver(const client::ConsumedRecord& record);

    ConsumerPlan plan_;
    BeginHandler on_begin_;
    DeliverHandler on_delivery_;
    std::unique_ptr<client::Consumer> consumer_;
    std::map<std::uint32_t, protocol::Offset> last_;
    std::uint64_t delivered_{};
    std::uint64_t instance_{};
};

}  // namespace logstream::sim
