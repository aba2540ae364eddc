// One function a command, each with the flags of those above it, for zsh's _arguments.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "internal/manual/forms.h"

namespace logstream::manual {

namespace {

// What the cluster knows, or the user's file; in the file of each program, since each is read alone.
constexpr std::string_view kAsk = R"zsh(_logstream_ask() {
    local -a names=(${(f)"$(logstreamctl complete $1 2>/dev/null)"})
    compadd -a names
}
)zsh";

// For a text between single quotes in which zsh's _arguments reads brackets and colons.
std::string escape_spec(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\'')
            out += "'\\''";
        else if (c == '[' || c == ']' || c == ':' || c == '\\')
            out += {'\\', c};
        else
            out += c;
    }
    return out;
}

std::string action_of(const Flag& flag) {
    switch (flag.kind) {
        case ValueKind::kNone:
        case ValueKind::kText:
            return "";
        case ValueKind::kWord:
            return fmt::format("({})", escape_spec(fmt::format("{}", fmt::join(flag.words, " "))));
        case ValueKind::kFile:
            return "_files";
        case ValueKind::kFolder:
            return "_files -/";
        case ValueKind::kAsked:
            return "_logstream_ask " + flag.source;
    }
    std::unreachable();
}

void write_spec(std::string& out, const Flag& flag) {
    const std::string value =
        flag.kind == ValueKind::kNone ? "" : fmt::format(":{}:{}", escape_spec(flag.value), action_of(flag));
    const std::string excluded = flag.repeatable ? "*" : fmt::format("({})", fmt::join(flag.names, " "));
    for (const std::string& name : flag.names)
        out += fmt::format(" \\\n        '{}{}[{}]{}'", excluded, name, escape_spec(flag.help), value);
}

void write_command(std::string& out, const Program& program, const std::string& function, std::vector<Flag> inherited) {
    std::ranges::copy(program.flags, std::back_inserter(inherited));
    std::string flags;
    std::vector<std::string> seen;
    // Of two flags of one name the nearer one counts.
    for (auto flag = inherited.rbegin(); flag != inherited.rend(); ++flag)
        if (std::ranges::find(seen, flag->names.back()) == seen.end()) {
            seen.push_back(flag->names.back());
            write_spec(flags, *flag);
        }
    out += fmt::format("{}() {{\n", function);
    if (program.commands.empty()) {
        for (const Flag& argument : program.arguments)
            flags += fmt::format(" \\\n        '{}:{}:{}'", argument.repeatable ? "*" : "",
                                 escape_spec(argument.argument), action_of(argument));
        out += fmt::format("    _arguments -s{}\n}}\n", flags);
        return;
    }
    out += "    local curcontext=$curcontext state line\n    local -a commands=(";
    for (const Program& command : program.commands)
        out += fmt::format("\n        '{}:{}'", command.name, escape_spec(command.summary));
    out += fmt::format("\n    )\n    _arguments -s -C{} \\\n        '1: :->command' '*:: :->rest'\n", flags);
    out += "    case $state in\n        command) _describe command commands ;;\n        rest)\n";
    out += "            case $line[1] in\n";
    for (const Program& command : program.commands)
        out += fmt::format("                {}) {}_{} ;;\n", command.name, function, command.name);
    out += "            esac\n            ;;\n    esac\n}\n";
    for (const Program& command : program.commands)
        write_command(out, command, function + "_" + command.name, inherited);
}

}  // namespace

std::string zsh_completion(const Program& program, std::string_view installed_name) {
    const bool renamed = installed_name != program.name;
    std::string out = fmt::format("#compdef {}{}{}\n# Made from what its --help says.\n{}", installed_name,
                                  renamed ? " " : "", renamed ? program.name : "", kAsk);
    const std::string function = fmt::format("_{}", installed_name);
    write_command(out, program, function, {});
    return out + fmt::format("{} \"$@\"\n", function);
}

}  // namespace logstream::manual
