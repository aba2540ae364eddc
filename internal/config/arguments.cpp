#include "internal/config/arguments.h"

#include <algorithm>
#include <string_view>

namespace logstream::config {

std::vector<std::string> arguments_for_parser(int argc, const char* const* argv) {
    std::vector<std::string> arguments;
    bool flags = true;  // none after `--`
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument(argv[i]);
        flags &= argument != "--";
        if (flags && argument.size() > 3 && argument.starts_with("--") && argument.find('=') == argument.size() - 1) {
            arguments.emplace_back(argument.substr(0, argument.size() - 1));
            arguments.emplace_back();
        } else {
            arguments.emplace_back(argument);
        }
    }
    std::ranges::reverse(arguments);
    return arguments;
}

}  // namespace logstream::config
