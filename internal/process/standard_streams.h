// Room `process`: what every program owes its surroundings: the three standard descriptors, an output that was really
// written, a log file that can be rotated. It knows nothing of brokers or clients.
#pragma once

#include <string_view>

namespace logstream::process {

// First thing in main. A descriptor of 0 to 2 that the caller left closed (`<&-`) would become a socket's or a file's
// number, and what is printed would go there: each is opened so that its use fails as that of a closed one does.
void open_standard_streams();

// Last thing in main: `exit_code`, or 1 with a line on stderr when something on stdout could not be written. A reader
// that went away (`… | head`) is no failure.
int finish_output(std::string_view program, int exit_code);

// Whether the caller wants the signal ignored, as nohup does with SIGHUP.
bool ignores(int signal);

}  // namespace logstream::process
