// Flags whose value is one of a few words, which shells complete.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "logstream.pb.h"

namespace logstream::runtime {

// --acks: who must have a record before it counts.
CLI::Option* add_acks(CLI::App& app, proto::Acks& target, const std::string& help);
// --compression, of a batch's records: what protocol::parse_codec knows, and auto.
CLI::Option* add_compression(CLI::App& app, std::string& target);

}  // namespace logstream::runtime
