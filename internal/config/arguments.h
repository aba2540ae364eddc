// The command line as CLI11 is to see it.
#pragma once

#include <string>
#include <vector>

namespace logstream::config {

// In the order that CLI11's parse(vector) wants: the last first, without the program's name. `--name=` becomes `--name`
// and an empty value, which CLI11 would take for none, and the next argument for the value.
std::vector<std::string> arguments_for_parser(int argc, const char* const* argv);

}  // namespace logstream::config
