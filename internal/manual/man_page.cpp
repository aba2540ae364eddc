// roff with the macros of man(7). What comes from outside is escaped: a backslash, a hyphen (which would be typeset as
// a dash) and a line that begins like a request.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "internal/manual/forms.h"

namespace logstream::manual {

namespace {

constexpr std::array kPages{"logstream", "logstream-producer", "logstream-consumer", "logstreamctl",
                            "netdiag",   "logstream-bench"};
constexpr std::string_view kExitStatus = R"(.SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 1
Failed; a line on standard error says what failed and what to do.
.TP
.B 2
Wrong usage.
)";

std::string escape(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\\')
            out += "\\e";
        else if (c == '-' || c == '^' || c == '~' || c == '\'' || c == '`')
            out += c == '-' ? "\\-" : c == '^' ? "\\(ha" : c == '~' ? "\\(ti" : c == '\'' ? "\\(aq" : "\\(ga";
        else
            out += c;
    }
    return out.starts_with('.') ? "\\&" + out : out;
}

std::string upper(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return out;
}

std::string bold(std::string_view text) { return fmt::format("\\fB{}\\fR", escape(text)); }
std::string italic(std::string_view text) { return fmt::format("\\fI{}\\fR", escape(text)); }

// "-t, --topic T", or the argument's name.
std::string title(const Flag& flag) {
    if (flag.names.empty()) return italic(flag.argument);
    std::vector<std::string> names;
    for (const std::string& name : flag.names) names.push_back(bold(name));
    return fmt::format("{}{}{}", fmt::join(names, ", "), flag.value.empty() ? "" : " ", italic(flag.value));
}

void write_flag(std::string& out, const Flag& flag) {
    out += fmt::format(".TP\n{}\n{}.", title(flag), escape(flag.help));
    if (flag.required) out += " Required.";
    if (!flag.default_text.empty()) out += fmt::format(" Default: {}.", escape(flag.default_text));
    if (!flag.environment.empty()) out += fmt::format(" Environment: {}.", bold(flag.environment));
    out += '\n';
}

std::string arguments_of(const Program& program) {
    std::string out;
    for (const Flag& argument : program.arguments) {
        const std::string shown = italic(argument.argument) + (argument.repeatable ? " ..." : "");
        out += argument.required ? " " + shown : " [" + shown + "]";
    }
    return out;
}

// Each command that can be given, below `path`: its own flags are indented.
void write_commands(std::string& out, const Program& program, const std::string& path) {
    for (const Program& command : program.commands) {
        const std::string name = path + command.name;
        out += fmt::format(".TP\n{}{}\n{}.\n", bold(name), arguments_of(command), escape(command.summary));
        const auto shown = [](const Flag& flag) { return std::ranges::find(flag.names, "--help") == flag.names.end(); };
        out += ".RS\n";
        for (const Flag& argument : command.arguments)
            if (argument.names.empty()) write_flag(out, argument);
        for (const Flag& flag : command.flags)
            if (shown(flag)) write_flag(out, flag);
        out += ".RE\n";
        write_commands(out, command, name + " ");
    }
}

// The footer of --help: text, "Examples:" with what is indented below it, text again.
struct Footer {
    std::string before;
    std::string examples;
    std::string after;
};

Footer split(const std::string& footer) {
    Footer out;
    std::string* part = &out.before;
    std::istringstream lines(footer);
    for (std::string line; std::getline(lines, line);) {
        if (line == "Examples:") {
            part = &out.examples;
            continue;
        }
        if (part == &out.examples && !line.empty() && !line.starts_with(' ')) part = &out.after;
        *part += part == &out.examples ? escape(line) + "\n" : line.empty() ? "" : escape(line) + "\n";
    }
    return out;
}

}  // namespace

std::string man_page(const Program& program, std::string_view installed_name, std::string_view version) {
    const Footer footer = split(program.footer);
    const bool renamed = installed_name != program.name;
    std::string out =
        fmt::format(".TH {} 1 \"\" \"LogStream {}\" \"LogStream\"\n", escape(upper(installed_name)), version);
    out += fmt::format(".SH NAME\n{}{}{} \\- {}\n", escape(installed_name), renamed ? ", " : "",
                       renamed ? escape(program.name) : "",
                       escape(program.summary.substr(0, program.summary.find_last_not_of('.') + 1)));
    out += fmt::format(".SH SYNOPSIS\n{} [{}]{}{}\n", bold(installed_name), italic("flags"), arguments_of(program),
                       program.commands.empty() ? "" : " " + italic("command"));
    out += fmt::format(".SH DESCRIPTION\n{}\n{}", escape(program.summary), footer.before);
    if (renamed)
        out += fmt::format(".PP\nUnless another package uses that name, it is also installed as {}.\n",
                           bold(program.name));
    out += ".SH OPTIONS\n";
    for (const Flag& flag : program.flags) write_flag(out, flag);
    if (!program.commands.empty()) out += ".SH COMMANDS\nThe flags above apply to each of them.\n";
    write_commands(out, program, "");
    out += kExitStatus;
    if (!footer.after.empty()) out += fmt::format(".SH NOTES\n{}", footer.after);
    if (!footer.examples.empty()) out += fmt::format(".SH EXAMPLES\n.EX\n{}.EE\n", footer.examples);
    out += ".SH SEE ALSO\n";
    for (const std::string_view page : kPages)
        if (page != installed_name) out += fmt::format(".BR {} (1),\n", escape(page));
    return out + ".BR logstream.yaml (5)\n";
}

}  // namespace logstream::manual
