// A record as one line of JSON: what `consumer --json` writes and `producer --json` reads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "internal/config/value.h"
#include "internal/protocol/record_batch.h"

namespace logstream::runtime {

// Where a record stands, or is to stand.
struct RecordPlace {
    std::optional<std::string_view> topic;
    std::uint32_t partition{};
    std::optional<protocol::Offset> offset;
};

// Appends an object and a newline: what is known of the place; timestamp (ms since 1970), key, value, and headers, each
// of these an object with key and value. Bytes that are not UTF-8 stand in key_base64 and value_base64.
void append_json(std::string& out, const RecordPlace& place, const protocol::Record& record);

// A record that owns its fields.
struct OwnedRecord {
    std::optional<std::string> key;
    std::optional<std::string> value;
    std::vector<std::pair<std::string, std::optional<std::string>>> headers;
    std::optional<std::uint32_t> partition;
    std::optional<std::int64_t> timestamp_ms;
};

// Reads what append_json writes, and what people write by hand: all fields but the value may be missing, headers may be
// an object ({"host": "web1"}), and a key or a value that is no string is taken as it is written there. Topic and
// offset are passed over. Errors say what was expected.
config::Parsed<OwnedRecord> parse_json_record(std::string_view line);

}  // namespace logstream::runtime
