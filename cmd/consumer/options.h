// The command line of `consumer`.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "cmd/consumer/filter.h"
#include "cmd/runtime/client_flags.h"
#include "internal/client/consumer.h"
#include "internal/config/value.h"

namespace logstream::consumer {

struct Options {
    runtime::ClientFlags client;
    std::vector<std::string> topics;     // names, and patterns that stand for all that match
    client::ConsumerOptions consumer;    // of each of them; its topic is not set
    std::optional<std::uint64_t> count;  // records at most
    std::string format = "%v";
    bool json{};  // in place of `format`
    Filter filter;
    bool analytics{};
    protocol::Duration window = std::chrono::seconds(10);
    protocol::Duration interval = std::chrono::seconds(1);
};

// Either the options or the exit code.
std::expected<Options, int> parse_options(int argc, char** argv);

}  // namespace logstream::consumer
