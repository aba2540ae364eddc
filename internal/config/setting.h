// One setting: its names in each source, how its text is read and shown. `settings()` is the whole table.
#pragma once

#include <expected>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "internal/config/config.h"

namespace logstream::config {

struct Setting {
    std::string_view key;          // in the file: section.name
    std::string_view environment;  // empty: none of its own
    std::string_view flag;         // empty: none of its own (--set reaches every key)
    std::string_view placeholder;  // what --help shows for the flag's value; empty: the flag takes none and means true
    std::string_view help;         // one line
    // What --help shows for a default that depends on the machine; empty: `show` of a fresh Config.
    std::string_view default_text;
    bool list{};                     // the file may give a sequence
    std::vector<std::string> words;  // what the value is chosen from; empty: it is no such choice

    // Puts the value that `text` stands for into the config. The error completes "expected …"; the config is unchanged.
    std::function<std::expected<void, std::string>(Config&, std::string_view text)> parse;
    // Text that `parse` reads back to the same value.
    std::function<std::string(const Config&)> show;
};

std::span<const Setting> settings();
const Setting* find_setting(std::string_view key);

// Two or more settings that do not go together, checked when all sources have been read.
struct Rule {
    std::vector<std::string_view> keys;
    std::function<bool(const Config&)> holds;
    std::string_view expected;  // completes "expected …"
};
std::span<const Rule> rules();

}  // namespace logstream::config
