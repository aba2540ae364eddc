// Flags whose value is one of a few words, which shells complete.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "internal/protocol/compression.h"
#include "logstream.pb.h"

namespace logstream::runtime {

// --acks: who must have a record before it counts.
CLI::Option* add_acks(CLI::App& app, proto::Acks& target, const std::string& help);
// --compression, of a batch's records.
CLI::Option* add_compression(CLI::App& app, std::string& target);
// What such a word stands for; nullopt: auto.
std::optional<protocol::Codec> codec_of(const std::string& word);

}  // namespace logstream::runtime
