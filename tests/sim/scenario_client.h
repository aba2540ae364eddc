// Clients of one topic, with the real client library, each on a machine of its own: one that a scenario tells what to
// send, and one that follows.
#pragma once

#include <memory>
#include <string>

#include "tests/sim/clients.h"

namespace logstream::sim {

class ScenarioClient final : public ClientProcess {
public:
    ScenarioClient(World& world, Transcript& transcript, Endpoint address, const std::string& topic);
    ~ScenarioClient() override;

    // Does not wait. Each is a batch of its own, tried again until it is acknowledged by quorum.
    void send(const std::string& value);
    std::size_t acknowledged() const { return acknowledged_; }

private:
    void flush();

    std::unique_ptr<client::Producer> producer_;
    bool ready_{};
    std::vector<std::string> waiting_;
    std::size_t acknowledged_{};
};

class ScenarioReader final : public ClientProcess {
public:
    ScenarioReader(World& world, Transcript& transcript, Endpoint address, const std::string& topic);
    ~ScenarioReader() override;

    std::size_t records() const { return records_; }

private:
    std::unique_ptr<client::Consumer> consumer_;
    std::size_t records_{};
};

}  // namespace logstream::sim
