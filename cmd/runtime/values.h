// Flags that take more than a text: whatever is written there goes through the conversions of internal/config/value.h,
// which the broker's settings go through, and what these refuse is wrong usage.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <array>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "internal/config/value.h"
#include "logstream.pb.h"

namespace logstream::runtime {

template <class T>
using Parse = std::function<config::Parsed<T>(std::string_view)>;

// A flag whose text `parse` converts. Repeated without need, it is an error, as with CLI11's own flags.
template <class Target, class T>
CLI::Option* add_value(CLI::App& app, const std::string& names, Target& target, const std::string& help,
                       const Parse<T>& parse) {
    const auto check = [parse](const std::string& text) {
        const auto value = parse(text);
        return value ? std::string() : fmt::format("expected {}, got '{}'", value.error(), text);
    };
    const auto convert = [&target, parse](const CLI::results_t& texts) {
        target = *parse(texts.back());  // it passed the check
        return true;
    };
    return app.add_option(names, CLI::callback_t(convert), help)->check(CLI::Validator(check, ""))->type_name("N");
}

// What a whole number may be.
template <std::unsigned_integral T>
Parse<T> count_from(T least, T most = std::numeric_limits<T>::max()) {
    return [least, most](std::string_view text) { return config::parse_count_between<T>(text, least, most); };
}
// In bytes: 4096, 64KiB.
inline Parse<std::uint64_t> size_between(std::uint64_t least, std::uint64_t most) {
    return [least, most](std::string_view text) { return config::parse_size_between(text, least, most); };
}
// So many of `unit`, or a time with its own.
inline Parse<config::Duration> wait_in(config::Duration unit, config::Duration least = {}) {
    return [unit, least](std::string_view text) { return config::parse_wait(text, unit, least); };
}
inline Parse<std::uint16_t> port() { return config::parse_port; }
// Records per second.
Parse<double> rate(double least);
// HOST:PORT, which is kept as it is written until it is asked for.
Parse<std::string> host_port();
// HOST:PORT,HOST:PORT,…, once or several times.
CLI::Option* add_host_ports(CLI::App& app, const std::string& names, std::vector<std::string>& target,
                            const std::string& help);

template <class T>
struct Word {
    std::string_view text;
    T value;
};

// One of the words, as it is written; nothing else stands for a value.
template <class T, std::size_t N>
Parse<T> one_of(const std::array<Word<T>, N>& words) {
    return [words](std::string_view text) -> config::Parsed<T> {
        std::vector<std::string_view> known;
        for (const Word<T>& word : words) {
            if (word.text == text) return word.value;
            known.push_back(word.text);
        }
        return std::unexpected(fmt::format("one of {}", fmt::join(known, ", ")));
    };
}

// --acks: our words, and the numbers that Kafka's users have in their fingers. Kafka's -1 is satisfied by the replicas
// in sync, which is what a quorum of the view stands for here.
inline constexpr std::array kAcks{Word{"none", proto::NONE}, Word{"owner", proto::OWNER}, Word{"quorum", proto::QUORUM},
                                  Word{"all", proto::ALL},   Word{"0", proto::NONE},      Word{"1", proto::OWNER},
                                  Word{"-1", proto::QUORUM}};
std::string_view to_string(proto::Acks acks);

}  // namespace logstream::runtime
