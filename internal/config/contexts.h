// Clusters that a person has given names to, so that no tool needs to be told addresses: a YAML file of the user's.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "internal/config/config.h"
#include "internal/protocol/error.h"

namespace logstream::config {

struct Context {
    std::vector<std::string> brokers;    // HOST:PORT; empty: they are found by broadcast
    std::optional<std::string> cluster;  // its name
};

struct Contexts {
    std::string current;  // which one counts when none is named; empty: none
    std::map<std::string, Context> all;
};

// $XDG_CONFIG_HOME/logstream/contexts.yaml, else ~/.config/logstream/contexts.yaml; empty when there is no HOME either.
std::string contexts_path(const Environment& environment);
// A file that is not there holds none. kConfig: it cannot be read, and why.
protocol::Result<Contexts> read_contexts(const std::string& path);
// Reads the file, applies `edit` and replaces the file as a whole; makes its folders. Others who change it meanwhile
// wait. A link stays one: the file that it leads to is replaced. kConfig, also from `edit`: nothing is changed.
protocol::Result<void> change_contexts(const std::string& path,
                                       const std::function<protocol::Result<void>(Contexts&)>& edit);
// The one of that name; kConfig names those that there are.
protocol::Result<Context> find_context(const Contexts& contexts, const std::string& name);

}  // namespace logstream::config
