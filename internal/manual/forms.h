// The forms in which a program's flags are printed for other programs.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "internal/manual/program.h"

namespace logstream::manual {

// For man(1), section 1.
std::string man_page(const Program& program, std::string_view installed_name, std::string_view version);
// For the completion of bash, zsh and fish, under both names of the program.
std::string bash_completion(const Program& program, std::string_view installed_name);
std::string zsh_completion(const Program& program, std::string_view installed_name);
std::string fish_completion(const Program& program, std::string_view installed_name);

// What `PROGRAM --print-manual man|bash|zsh|fish [INSTALLED-NAME]` prints; nullopt: that is not asked for. The build
// asks for it (deploy/package/CMakeLists.txt). A program may be installed under a name of its own, since `producer` is
// nobody's alone.
std::optional<std::string> asked_for(CLI::App& app, int argc, const char* const* argv, std::string_view version);

}  // namespace logstream::manual
