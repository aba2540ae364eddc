// Room `manual`: what a program's --help says, for man pages and for shells that complete its command line, taken from
// the same CLI11 objects. It knows nothing of what the flags do.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace logstream::manual {

// What a flag's value stands for, as far as a shell can complete it.
enum class ValueKind : std::uint8_t { kNone, kText, kWord, kFile, kFolder, kAsked };

// A flag, or an argument where `names` is empty.
struct Flag {
    std::vector<std::string> names;  // "-t", "--topic"; short ones first
    std::string argument;            // its name as an argument, "topic"; empty: it is a flag only
    std::string value;               // what --help shows for its value, "PATH"; empty: it takes none
    ValueKind kind{};
    std::vector<std::string> words;  // of kWord: what the value may be
    std::string source;              // of kAsked: `logstreamctl complete SOURCE` tells what the value may be
    std::string help;
    std::string default_text;  // empty: none is shown
    std::string environment;   // empty: none
    bool required{};
    bool repeatable{};
};

// A program, or one of its subcommands.
struct Program {
    std::string name;
    std::string summary;
    std::string footer;       // below the flags: examples, notes
    std::vector<Flag> flags;  // those with names, in the order of --help
    std::vector<Flag> arguments;
    std::vector<Program> commands;
};

Program describe(CLI::App& app);

// Tells shells which words the option's value is chosen from. It checks nothing: that is the option's own business.
CLI::Option* set_words(CLI::Option* option, const std::vector<std::string>& words);
// Tells shells that the cluster, or the user's file, knows what the value may be: topics, groups, members, brokers or
// contexts.
CLI::Option* set_source(CLI::Option* option, const std::string& source);

}  // namespace logstream::manual
