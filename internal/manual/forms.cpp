#include "internal/manual/forms.h"

namespace logstream::manual {

std::optional<std::string> asked_for(CLI::App& app, int argc, const char* const* argv, std::string_view version) {
    if (argc < 3 || argc > 4 || std::string_view(argv[1]) != "--print-manual") return std::nullopt;
    const Program program = describe(app);
    const std::string_view form = argv[2];
    const std::string_view name = argc == 4 ? argv[3] : program.name.c_str();
    if (form == "man") return man_page(program, name, version);
    if (form == "bash") return bash_completion(program, name);
    if (form == "zsh") return zsh_completion(program, name);
    if (form == "fish") return fish_completion(program, name);
    return std::nullopt;
}

}  // namespace logstream::manual
