// Places in a log as people write them.
#pragma once

#include <cstdint>
#include <string_view>

#include "internal/client/partition_reader.h"
#include "internal/config/value.h"

namespace logstream::runtime {

// earliest, latest, OFFSET, -N for the last N records of each partition, or @ and a time as config::parse_time reads
// it.
config::Parsed<client::StartAt> parse_start(std::string_view text, std::int64_t now_ms);

// Of the system's clock, in ms since 1970.
std::int64_t wall_clock_ms();

}  // namespace logstream::runtime
