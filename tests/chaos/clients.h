// Producers and consumers of the real client library on the real event loop, whose every report and record is kept, to
// be held against the brokers' logs in the end. What the simulator's clients (tests/sim/clients.h) are to virtual time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cmd/runtime/session.h"
#include "internal/client/consumer.h"
#include "internal/client/producer.h"
#include "tests/sim/clients.h"
#include "tests/sim/history.h"
#include "tests/sim/random.h"

namespace logstream::chaos {

using protocol::Duration;
using protocol::Offset;
using protocol::StreamId;
using protocol::TimePoint;
using Delivery = sim::ConsumerClient::Delivery;

// What the clients share.
struct Place {
    runtime::Session& session;
    client::Bootstrap bootstrap;
    sim::Random& random;
};

// A client with a router, and so with connections, of its own, which can be killed and begins anew.
class Client {
public:
    Client(Place& place, std::uint32_t topic) : place_(place), topic_(topic) {}
    virtual ~Client() = default;
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // As if its process were killed: what is under way stays open, and another one begins a little later.
    void die();

protected:
    virtual void begin() = 0;
    virtual void end() = 0;
    void connect();
    // Not from within a call of the library: later, `begin`.
    void begin_again();
    // Calls `task` unless this life of the client has ended by then.
    void later(Duration after, std::function<void()> task);
    StreamId stream(std::uint32_t partition) const { return {topic_id_, partition}; }

    Place& place_;
    std::uint32_t topic_;
    std::uint32_t life_{};
    std::unique_ptr<client::Router> router_;

private:
    protocol::TopicId topic_id_;  // as it was last known: a broker that is catching up may not know the topic
    std::shared_ptr<bool> alive_ = std::make_shared<bool>();
};

struct ProducerPlan {
    std::uint32_t topic{};
    proto::Acks acks{proto::QUORUM};
    Duration timeout{};  // how long a record is retried
    double rate{};       // records per second
};

class Producer final : public Client {
public:
    using ReportHandler = std::function<void(const sim::Sent&)>;
    Producer(Place& place, std::uint32_t number, ProducerPlan plan, sim::History& history, ReportHandler on_report);
    ~Producer() override { end(); }
    // Sends no more; what is under way goes on.
    void stop();
    bool idle() const { return !producer_ || producer_->idle(); }

private:
    void begin() override;
    void end() override;
    void burst();
    void send_one();
    void report(const client::BatchReport& batch);

    std::uint32_t number_;
    ProducerPlan plan_;
    sim::History& history_;
    ReportHandler on_report_;
    std::unique_ptr<client::Producer> producer_;
    bool stopped_{};
};

// Follows a topic from its start.
class Consumer final : public Client {
public:
    using DeliverHandler = std::function<void(const Delivery&)>;
    // `group` may be empty.
    Consumer(Place& place, std::uint32_t topic, std::string group, DeliverHandler on_delivery);
    ~Consumer() override { end(); }

private:
    void begin() override;
    void end() override;
    bool deliver(const client::ConsumedRecord& record);

    std::string group_;
    DeliverHandler on_delivery_;
    std::unique_ptr<client::Consumer> consumer_;
    std::map<std::uint32_t, Offset> last_;  // by partition, in this life
};

}  // namespace logstream::chaos
