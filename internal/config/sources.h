// Lays the sources over each other, and remembers where each value came from, so that a refusal can say so.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "internal/config/config.h"
#include "internal/config/setting.h"

namespace logstream::config {

// Ordered: a later one overrides.
enum class Source : std::uint8_t { kDefault, kFile, kEnvironment, kFlag };

// Where a value was given: "logstream.yaml:12", "environment NODE_ADDRESS", "--address".
struct Origin {
    Source source{Source::kDefault};
    std::string where;
    bool names_setting{};  // `where` says which setting it is: a message need not repeat the key
};

// Why a configuration was refused, and which source has to be put right.
struct Refusal {
    Source source{};
    std::string message;  // one line: where, which setting, what was expected, what was found
};
using Checked = std::expected<void, Refusal>;

class Sources {
public:
    // Values given by a later source win; within one source the last one wins.
    Checked set(std::string_view key, std::string_view text, Origin origin);

    // `name` is what the user calls the file.
    Checked set_from_yaml(std::string_view yaml, std::string_view name);
    Checked set_from_file(const std::string& path);
    // A variable that is set to nothing counts as not set.
    Checked set_from_environment(const Environment& environment);

    // Whether the settings go together; the refusal names the one that was given last.
    Checked check() const;

    const Config& config() const { return config_; }

private:
    Config config_;
    struct Given {
        Origin origin;
        std::size_t order{};  // of the settings given so far
    };
    std::map<std::string_view, Given> given_;  // by key; what is missing has its default
    std::size_t next_order_{1};
};

// Variables that are probably meant for us and are not read: "environment NODE_ADRESS is not read; did you mean …".
std::vector<std::string> misspelt_variables(const Environment& environment);

}  // namespace logstream::config
