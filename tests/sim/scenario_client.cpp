#include "tests/sim/scenario_client.h"

namespace logstream::sim {

ScenarioClient::ScenarioClient(World& world, Transcript& transcript, Endpoint address, const std::string& topic)
    : ClientProcess(world, transcript, address, "client") {
    connect();
    client::ProducerOptions options;
    options.topic = topic;
    producer_ = std::make_unique<client::Producer>(*router_, options, [this](const client::BatchReport& batch) {
        if (batch.outcome) acknowledged_ += batch.records;
    });
    producer_->start([this](const protocol::Result<void>& ready) {
        ready_ = ready.has_value();
        flush();
    });
}

ScenarioClient::~ScenarioClient() { world_.kill(host_); }

void ScenarioClient::send(const std::string& value) {
    waiting_.push_back(value);
    flush();
}

void ScenarioClient::flush() {
    if (!ready_) return;
    for (const std::string& value : std::exchange(waiting_, {})) {
        (void)producer_->send({.key = std::nullopt, .value = value});
        producer_->flush();
    }
}

ScenarioReader::ScenarioReader(World& world, Transcript& transcript, Endpoint address, const std::string& topic)
    : ClientProcess(world, transcript, address, "reader") {
    connect();
    client::ConsumerOptions options;
    options.topic = topic;
    options.follow = true;
    consumer_ = std::make_unique<client::Consumer>(
        *router_, options,
        [this](const client::ConsumedRecord&) {
            ++records_;
            return true;
        },
        [](const protocol::Result<void>&) {});
    consumer_->start();
}

ScenarioReader::~ScenarioReader() { world_.kill(host_); }

}  // namespace logstream::sim
