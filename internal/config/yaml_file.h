// A YAML file as a flat list of settings, each with the line it stands in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "internal/protocol/error.h"

namespace logstream::config {

struct YamlEntry {
    std::string key;   // "storage.fsync"
    std::string text;  // a sequence is joined by commas
    int line{};        // from 1
};

// Every value of the file in its order. Only known keys come back: a misspelt one, one given twice, or a value of the
// wrong shape is kConfig with "<name>:<line>: …". `name` is what the user calls the file.
protocol::Result<std::vector<YamlEntry>> parse_yaml(std::string_view text, std::string_view name);

// Reads the file, at most 1 MiB of it.
protocol::Result<std::string> read_config_file(const std::string& path);

}  // namespace logstream::config
