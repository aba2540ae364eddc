// A line for each flag and each subcommand, with the condition under which it is offered.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "internal/manual/forms.h"

namespace logstream::manual {

namespace {

std::string quote(std::string_view text) {
    std::string out = "'";
    for (const char c : text) {
        if (c == '\'' || c == '\\') out += '\\';
        out += c;
    }
    return out + "'";
}

std::string value_option(const Flag& flag) {
    switch (flag.kind) {
        case ValueKind::kNone:
            return "";
        case ValueKind::kText:
            return " -x";
        case ValueKind::kWord:
            return fmt::format(" -x -a {}", quote(fmt::format("{}", fmt::join(flag.words, " "))));
        case ValueKind::kFile:
            return " -r -F";
        case ValueKind::kFolder:
            return " -x -a '(__fish_complete_directories)'";
        case ValueKind::kAsked:
            return fmt::format(" -x -a '(logstreamctl complete {} 2>/dev/null)'", flag.source);
    }
    std::unreachable();
}

// `begin` has the program's names; `condition` holds below the commands that lead here.
void write_completions(std::string& out, const Program& program, const std::string& begin,
                       const std::string& condition) {
    const auto when = [](const std::string& text) { return text.empty() ? "" : fmt::format(" -n {}", quote(text)); };
    for (const Flag& flag : program.flags) {
        out += begin + when(condition);
        for (const std::string& name : flag.names)
            out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
        out += fmt::format("{} -d {}\n", value_option(flag), quote(flag.help));
    }
    if (!program.arguments.empty() && !program.arguments.front().source.empty())
        out += fmt::format("{}{} -a '(logstreamctl complete {} 2>/dev/null)'\n", begin, when(condition),
                           program.arguments.front().source);
    std::vector<std::string> names;
    for (const Program& command : program.commands) names.push_back(command.name);
    const std::string both = condition.empty() ? "" : condition + "; and ";
    for (const Program& command : program.commands) {
        const auto none_yet = fmt::format("{}not __fish_seen_subcommand_from {}", both, fmt::join(names, " "));
        out += fmt::format("{}{} -a {} -d {}\n", begin, when(none_yet), command.name, quote(command.summary));
        write_completions(out, command, begin, fmt::format("{}__fish_seen_subcommand_from {}", both, command.name));
    }
}

}  // namespace

std::string fish_completion(const Program& program, std::string_view installed_name) {
    const bool renamed = installed_name != program.name;
    const std::string begin =
        fmt::format("complete -c {}{}{}", installed_name, renamed ? " -c " : "", renamed ? program.name : "");
    std::string out =
        fmt::format("# fish completion of {}, made from what its --help says\n{} -f\n", installed_name, begin);
    write_completions(out, program, begin, "");
    return out;
}

}  // namespace logstream::manual
