// A function that knows, for each subcommand, its words and what its flags take, and one that goes by it.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "internal/manual/forms.h"

namespace logstream::manual {

namespace {

// COMP_WORDS has `--flag=value` as three words. The word before the cursor decides, or else the subcommand that is
// found left of it, past the values of flags.
//
// The names that a cluster knows come from anybody: they are quoted, and never go through compgen -W, which would
// expand what looks like a command in them.
constexpr std::string_view kComplete = R"bash(
{function}_ask() {{
    local name place=() i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
            --brokers | --cluster | --context | --broadcast-port | --interface)
                name=${{COMP_WORDS[i]}} i=$((i + 1))
                [[ ${{COMP_WORDS[i]}} != = ]] || i=$((i + 1))
                place+=("$name" "${{COMP_WORDS[i]}}")
                ;;
        esac
    done
    while IFS= read -r name; do
        [[ $name != "$cur"* ]] || COMPREPLY+=("$(printf %q "$name")")
    done < <(logstreamctl complete "$1" "${{place[@]}}" 2>/dev/null)
}}
{function}() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} command='' words commands asks word i
    local -A takes=()
    {function}_at ''
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}}
        if [[ $word && ${{takes[$word]-}} ]]; then
            i=$((i + 1))
            [[ ${{COMP_WORDS[i]}} != = ]] || i=$((i + 1))
        elif [[ " $commands " == *" $word "* ]]; then
            command+=${{command:+ }}$word
            {function}_at "$command"
        fi
    done
    if [[ $cur == = ]]; then
        cur=''
    elif [[ $prev == = ]]; then
        prev=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    case ${{prev:+${{takes[$prev]-}}}} in
        '')
            mapfile -t COMPREPLY < <(compgen -W "$words $commands" -- "$cur")
            [[ ! $asks || $cur == -* ]] || {function}_ask "$asks"
            ;;
        :ask*) {function}_ask "${{takes[$prev]#:ask }}" ;;
        :file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        :folder) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
        :text) COMPREPLY=() ;;
        *)
            mapfile -t COMPREPLY < <(compgen -W "${{takes[$prev]}}" -- "$cur")
            [[ ${{COMPREPLY[0]-}} != *= ]] || compopt -o nospace
            ;;
    esac
}}
complete -F {function} {names}
)bash";

std::string value_of(const Flag& flag) {
    switch (flag.kind) {
        case ValueKind::kNone:
            return "";
        case ValueKind::kText:
            return ":text";
        case ValueKind::kWord:
            return fmt::format("{}", fmt::join(flag.words, " "));
        case ValueKind::kFile:
            return ":file";
        case ValueKind::kFolder:
            return ":folder";
        case ValueKind::kAsked:
            return ":ask " + flag.source;
    }
    std::unreachable();
}

// The branch of one command, and those of its subcommands. They inherit what flags take, and may change it.
void write_branch(std::string& out, const Program& program, const std::string& path) {
    std::vector<std::string> words;
    std::vector<std::string> commands;
    std::string takes;
    for (const Flag& flag : program.flags)
        for (const std::string& name : flag.names) {
            words.push_back(name);
            if (flag.kind != ValueKind::kNone) takes += fmt::format(" [{}]='{}'", name, value_of(flag));
        }
    for (const Program& command : program.commands) commands.push_back(command.name);
    const std::string asks = program.arguments.empty() ? "" : program.arguments.front().source;
    out += fmt::format("        '{}')\n            words{}='{}{}' commands='{}' asks='{}'\n", path,
                       path.empty() ? "" : "+", path.empty() ? "" : " ", fmt::join(words, " "),
                       fmt::join(commands, " "), asks);
    if (!takes.empty()) out += fmt::format("            takes+=({})\n", takes.substr(1));
    out += "            ;;\n";
    for (const Program& command : program.commands)
        write_branch(out, command, path.empty() ? command.name : path + " " + command.name);
}

}  // namespace

std::string bash_completion(const Program& program, std::string_view installed_name) {
    std::string function = fmt::format("_{}", installed_name);
    std::ranges::replace(function, '-', '_');
    const bool renamed = installed_name != program.name;
    std::string out =
        fmt::format("# bash completion of {}, made from what its --help says\n{}_at() {{\n    case $1 in\n",
                    installed_name, function);
    write_branch(out, program, "");
    out += "    esac\n}\n";
    return out + fmt::format(kComplete, fmt::arg("function", function),
                             fmt::arg("names", fmt::format("{}{}{}", installed_name, renamed ? " " : "",
                                                           renamed ? program.name : "")));
}

}  // namespace logstream::manual
