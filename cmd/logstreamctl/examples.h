// Examples of command lines for the help of logstreamctl and of each of its subcommands.
#pragma once

#include <CLI/CLI.hpp>

namespace logstream::ctl {

// Puts below each help text the examples that belong there; call it when all subcommands are there.
void add_examples(CLI::App& app);

}  // namespace logstream::ctl
