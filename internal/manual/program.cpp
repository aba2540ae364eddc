#include "internal/manual/program.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace logstream::manual {

namespace {

// CLI11 keeps nothing with an option that --help does not show, but the names of its checks.
constexpr std::string_view kWordsMark = "words:";
constexpr std::string_view kSourceMark = "source:";

// What stands behind the mark; empty when nothing is marked so.
std::string marked(CLI::Option& option, std::string_view mark) {
    std::string found;
    try {  // CLI11's way to say that there are no more; nothing of ours throws
        for (int i = 0;; ++i)
            if (const std::string name = option.get_validator(i)->get_name(); name.starts_with(mark))
                found = name.substr(mark.size());
    } catch (const CLI::OptionNotFound&) {
    }
    return found;
}

CLI::Option* set_mark(CLI::Option* option, std::string_view mark, std::string_view text) {
    const auto allow_all = [](const std::string&) { return std::string(); };
    return option->check(CLI::Validator(allow_all, "", fmt::format("{}{}", mark, text)));
}

ValueKind kind_of(const Flag& flag) {
    if (flag.value.empty()) return ValueKind::kNone;
    if (!flag.words.empty()) return ValueKind::kWord;
    if (!flag.source.empty()) return ValueKind::kAsked;
    if (flag.value == "PATH" || flag.value == "FILE") return ValueKind::kFile;
    return flag.value == "DIR" || flag.value.ends_with(":DIR") ? ValueKind::kFolder : ValueKind::kText;
}

Flag describe_option(CLI::Option& option) {
    Flag flag;
    for (const std::string& name : option.get_snames()) flag.names.push_back("-" + name);
    for (const std::string& name : option.get_lnames()) flag.names.push_back("--" + name);
    if (option.get_positional()) flag.argument = option.get_name(true, false);
    if (option.get_items_expected_max() > 0) flag.value = option.get_type_name();
    if (const std::string words = marked(option, kWordsMark); !words.empty())
        flag.words = CLI::detail::split(words, ' ');
    flag.source = marked(option, kSourceMark);
    flag.kind = kind_of(flag);
    if (flag.kind == ValueKind::kFolder) flag.value = "DIR";
    flag.help = option.get_description();
    flag.default_text = option.get_default_str();
    flag.environment = option.get_envname();
    flag.required = option.get_required();
    flag.repeatable = option.get_items_expected_max() >= CLI::detail::expected_max_vector_size;
    return flag;
}

}  // namespace

Program describe(CLI::App& app) {
    Program program{app.get_name(), app.get_description(), app.get_footer(), {}, {}, {}};
    for (CLI::Option* option : app.get_options()) {
        if (option->get_group().empty()) continue;
        Flag flag = describe_option(*option);
        if (!flag.argument.empty()) program.arguments.push_back(flag);
        if (!flag.names.empty()) program.flags.push_back(std::move(flag));
    }
    for (CLI::App* command : app.get_subcommands({}))
        if (!command->get_group().empty()) program.commands.push_back(describe(*command));
    return program;
}

CLI::Option* set_words(CLI::Option* option, const std::vector<std::string>& words) {
    return set_mark(option, kWordsMark, fmt::format("{}", fmt::join(words, " ")));
}

CLI::Option* set_source(CLI::Option* option, const std::string& source) {
    return set_mark(option, kSourceMark, source);
}

}  // namespace logstream::manual
