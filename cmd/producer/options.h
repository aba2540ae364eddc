// The command line of `producer`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cmd/runtime/client_flags.h"
#include "internal/client/producer.h"

namespace logstream::producer {

// Where a record goes that names no partition.
enum class Partitioner : std::uint8_t {
    kKey,   // by its key; without one in turn, a batch each
    kTurn,  // in turn, a record each
    kRandom,
};

struct Options {
    runtime::ClientFlags client;
    client::ProducerOptions producer;
    std::string file;                    // empty: standard input
    std::optional<std::string> message;  // makes records in place of reading them
    std::optional<std::uint64_t> count;  // records at most
    std::optional<double> rate;          // records per second
    std::optional<std::string> key;      // of every record
    std::optional<char> key_separator;   // the key is what stands before the first one
    std::optional<std::uint32_t> partition;
    Partitioner partitioner{Partitioner::kKey};
    bool partitioner_given{};          // then it goes before what a line of JSON says
    std::vector<std::string> headers;  // of every record, each KEY=VALUE
    bool json{};                       // each line is a record as runtime::parse_json_record reads it
    bool null_value{};                 // an empty value is none
    bool same_file{};                  // with --resume: no comparison of what is skipped
    std::string failed;                // path
};

// Either the options or the exit code.
std::expected<Options, int> parse_options(int argc, char** argv);

}  // namespace logstream::producer
