// Which machine this is, for a data folder to remember. Blocks: for start-up only.
#pragma once

#include <string>

namespace logstream::net {

// The machine id that its system made when it was installed, and where there is one the id that a hypervisor gives it
// and changes when it clones the machine or takes it back to a snapshot. Empty when nothing is known (some containers).
// "ID" or "ID/GENERATION": not everybody may read the latter. Files are looked for below `root`.
std::string this_machine(const std::string& root = "");

}  // namespace logstream::net
