// What --help says reaches man pages and completions, and what is special to roff and to shells does no harm there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "internal/manual/forms.h"

namespace logstream::manual {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Manual : public ::testing::Test {
protected:
    Manual() {
        app_.footer(
            "Read this first.\n\nExamples:\n  tool --file '/tmp/x'   a file\nNotes: \\n is a newline.\n.not a request");
        app_.add_option("-f,--file", text_, "File to read")->type_name("PATH")->required();
        app_.add_option("--dir", text_, "A folder")->type_name("DIR");
        set_words(app_.add_option("--acks", text_, "Who: [all] or 'none'"), {"none", "all"})
            ->type_name("WHO")
            ->default_str("all");
        app_.add_option("--name", text_, "A name")->envname("TOOL_NAME");
        app_.add_flag("--json", flag_, "Print JSON");
        app_.add_option("--secret", text_, "Not shown")->group("");
        auto* topics = app_.add_subcommand("topics", "What topics there are");
        auto* create = topics->add_subcommand("create", "Make a topic");
        create->add_option("topic", text_, "Its name")->required();
        create->add_option("--partitions", text_, "How many");
        topics->add_subcommand("list", "All topics");
    }

    CLI::App app_{"Does things.", "tool"};
    std::string text_;
    bool flag_{};
};

TEST_F(Manual, KnowsEachFlagThatHelpShows) {
    const Program program = describe(app_);
    std::vector<std::string> names;
    for (const Flag& flag : program.flags) names.push_back(flag.names.back());
    EXPECT_THAT(names, ElementsAre("--help", "--file", "--dir", "--acks", "--name", "--json"));
    EXPECT_EQ(program.flags[1].kind, ValueKind::kFile);
    EXPECT_TRUE(program.flags[1].required);
    EXPECT_EQ(program.flags[2].kind, ValueKind::kFolder);
    EXPECT_EQ(program.flags[3].kind, ValueKind::kWord);
    EXPECT_THAT(program.flags[3].words, ElementsAre("none", "all"));
    EXPECT_EQ(program.flags[4].kind, ValueKind::kText);
    EXPECT_EQ(program.flags[4].environment, "TOOL_NAME");
    EXPECT_EQ(program.flags[5].kind, ValueKind::kNone);
    ASSERT_EQ(program.commands.size(), 1u);
    ASSERT_EQ(program.commands[0].commands.size(), 2u);
    const Program& create = program.commands[0].commands[0];
    ASSERT_EQ(create.arguments.size(), 1u);
    EXPECT_EQ(create.arguments[0].argument, "topic");
    EXPECT_THAT(create.arguments[0].names, IsEmpty());
}

TEST_F(Manual, WordsChangeNeitherHelpNorWhatIsTaken) {
    EXPECT_THAT(app_.help(), HasSubstr("--acks WHO=all"));
    EXPECT_THAT(app_.help(), Not(HasSubstr("words:")));
    app_.parse(std::vector<std::string>{"neither", "--acks", "x", "--file"});
    EXPECT_EQ(text_, "neither");
}

TEST_F(Manual, PageHasTheSectionsOfTheFooter) {
    const std::string page = man_page(describe(app_), "my-tool", "1.2");
    EXPECT_THAT(page, HasSubstr(".TH MY\\-TOOL 1"));
    EXPECT_THAT(page, HasSubstr("my\\-tool, tool \\- Does things\n"));
    EXPECT_THAT(page, HasSubstr(".SH DESCRIPTION\nDoes things.\nRead this first.\n"));
    EXPECT_THAT(page, HasSubstr(".EX\n  tool \\-\\-file \\(aq/tmp/x\\(aq   a file\n.EE"));
    EXPECT_THAT(page, HasSubstr(".SH NOTES\nNotes: \\en is a newline.\n\\&.not a request\n"));
    EXPECT_THAT(page, HasSubstr("\\fB\\-f\\fR, \\fB\\-\\-file\\fR \\fIPATH\\fR\nFile to read. Required.\n"));
    EXPECT_THAT(page, HasSubstr("Default: all."));
    EXPECT_THAT(page, HasSubstr("Environment: \\fBTOOL_NAME\\fR."));
    EXPECT_THAT(page, HasSubstr("\\fBtopics create\\fR \\fItopic\\fR\nMake a topic.\n"));
    EXPECT_THAT(page, Not(HasSubstr("Not shown")));
}

TEST_F(Manual, CompletionsServeBothNames) {
    const Program program = describe(app_);
    EXPECT_THAT(bash_completion(program, "my-tool"), HasSubstr("complete -F _my_tool my-tool tool\n"));
    EXPECT_THAT(zsh_completion(program, "my-tool"), HasSubstr("#compdef my-tool tool\n"));
    EXPECT_THAT(fish_completion(program, "my-tool"), HasSubstr("complete -c my-tool -c tool -f\n"));
    EXPECT_THAT(bash_completion(program, "tool"), HasSubstr("complete -F _tool tool\n"));
}

TEST_F(Manual, CompletionsQuoteWhatTheirShellWouldRead) {
    const Program program = describe(app_);
    EXPECT_THAT(zsh_completion(program, "tool"), HasSubstr("[Who\\: \\[all\\] or '\\''none'\\'']:WHO:(none all)'"));
    EXPECT_THAT(fish_completion(program, "tool"), HasSubstr("-l acks -x -a 'none all' -d 'Who: [all] or \\'none\\''"));
}

TEST_F(Manual, IsPrintedOnlyWhenItIsAskedFor) {
    const auto ask = [this](std::vector<const char*> words) {
        words.insert(words.begin(), "tool");
        return asked_for(app_, static_cast<int>(words.size()), words.data(), "1");
    };
    EXPECT_TRUE(ask({"--print-manual", "man"}));
    EXPECT_TRUE(ask({"--print-manual", "fish", "other"}));
    EXPECT_FALSE(ask({"--print-manual", "csh"}));
    EXPECT_FALSE(ask({"--print-manual"}));
    EXPECT_FALSE(ask({"--file", "man"}));
}

}  // namespace
}  // namespace logstream::manual
