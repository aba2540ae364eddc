// The command line of `logstream-bench`.
#pragma once

#include <algorithm>
#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "cmd/runtime/client_flags.h"
#include "internal/client/partition_sender.h"

namespace logstream::bench {

struct Options {
    runtime::ClientFlags client;
    client::ProducerOptions producer;  // topic, acks, batches, in flight
    std::string compression = "none";
    bool own_topic{};     // made for this run, deleted after it
    bool topics_tried{};  // to make: some may be there
    std::uint32_t topics = 1;
    std::uint32_t active = 0;  // topics that are written to; 0: all
    std::uint32_t partitions = 1;
    std::uint32_t producers = 1;  // threads
    std::uint32_t consumers = 0;  // threads; each reads the whole topic
    std::uint32_t record_bytes = 100;
    std::uint64_t window = 0;  // records under way per producer; 0: what the batches in flight hold
    double rate = 0;           // records per second of all producers; 0: as fast as it goes
    protocol::Duration warm_up = std::chrono::seconds(2);
    protocol::Duration duration = std::chrono::seconds(10);
    bool json{};
    std::vector<std::string>
        compare;          // files with results: an earlier one, and one to compare it with in place of a run
    bool limits{};        // what the machine could do, in place of what the brokers do
    std::string network;  // of deploy/netns, for the limits; empty: loopback
    std::string dir = ".";

    // One topic has the name that was asked for, several have numbers behind it.
    std::string topic(std::uint32_t index) const;
    std::uint32_t active_topics() const { return active == 0 ? topics : std::min(active, topics); }
};

// Either the options or the exit code.
std::expected<Options, int> parse_options(int argc, char** argv);

}  // namespace logstream::bench
