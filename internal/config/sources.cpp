#include "internal/config/sources.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "internal/config/nearest.h"
#include "internal/config/yaml_file.h"

namespace logstream::config {

namespace {

// Values are shown in one line of a terminal, whatever they are.
std::string in_quotes(std::string_view text) {
    constexpr std::size_t kMaxShown = 80;
    std::string shown(text.substr(0, kMaxShown));
    std::ranges::replace_if(shown, [](unsigned char c) { return c < ' ' || c == 127; }, '?');
    return fmt::format("'{}{}'", shown, text.size() > kMaxShown ? "…" : "");
}

Checked refuse(Source source, std::string message) { return std::unexpected(Refusal{source, std::move(message)}); }

}  // namespace

Checked Sources::set(std::string_view key, std::string_view text, Origin origin) {
    const Setting* setting = find_setting(key);
    if (setting == nullptr) {
        std::vector<std::string_view> known;
        for (const auto& each : settings()) known.push_back(each.key);
        return refuse(origin.source,
                      fmt::format("{}: unknown key {}{}", origin.where, in_quotes(key), did_you_mean(key, known)));
    }
    if (auto parsed = setting->parse(config_, text); !parsed) {
        const auto key_too = origin.names_setting ? std::string() : fmt::format("{}: ", setting->key);
        return refuse(origin.source,
                      fmt::format("{}: {}expected {}, got {}", origin.where, key_too, parsed.error(), in_quotes(text)));
    }
    given_.insert_or_assign(setting->key, Given{std::move(origin), next_order_++});
    return {};
}

Checked Sources::set_from_yaml(std::string_view yaml, std::string_view name) {
    const auto entries = parse_yaml(yaml, name);
    if (!entries) return refuse(Source::kFile, entries.error().message);
    for (const auto& entry : *entries)
        if (auto done = set(entry.key, entry.text, {Source::kFile, fmt::format("{}:{}", name, entry.line), false});
            !done)
            return done;
    return {};
}

Checked Sources::set_from_file(const std::string& path) {
    const auto text = read_config_file(path);
    if (!text) return refuse(Source::kFile, text.error().message);
    return set_from_yaml(*text, path);
}

Checked Sources::set_from_environment(const Environment& environment) {
    for (const auto& setting : settings()) {
        if (setting.environment.empty()) continue;
        const auto found = environment.find(setting.environment);
        if (found == environment.end() || found->second.empty()) continue;
        Origin origin{Source::kEnvironment, fmt::format("environment {}", setting.environment), true};
        if (auto done = set(setting.key, found->second, std::move(origin)); !done) return done;
    }
    return {};
}

Checked Sources::check() const {
    for (const auto& rule : rules()) {
        if (rule.holds(config_)) continue;
        Given last{{Source::kDefault, "default"}, 0};
        std::vector<std::string> values;
        for (const auto key : rule.keys) {
            values.push_back(fmt::format("{} is {}", key, find_setting(key)->show(config_)));
            if (const auto given = given_.find(key); given != given_.end() && given->second.order > last.order)
                last = given->second;
        }
        return refuse(last.origin.source, fmt::format("{}: expected {}, but {}", last.origin.where, rule.expected,
                                                      fmt::join(values, " and ")));
    }
    return {};
}

std::vector<std::string> misspelt_variables(const Environment& environment) {
    std::vector<std::string_view> ours;
    for (const auto& setting : settings())
        if (!setting.environment.empty()) ours.push_back(setting.environment);
    std::vector<std::string> warnings;
    for (const auto& [name, value] : environment) {
        if (std::ranges::find(ours, name) != ours.end()) continue;
        // The environment belongs to everybody: only what is hardly another program's own is worth a word.
        const auto guess = nearest(name, ours);
        if (guess.size() < 8 || edit_distance(name, guess) > 2) continue;
        warnings.push_back(fmt::format("environment {} is not used; did you mean {}?", in_quotes(name), guess));
    }
    return warnings;
}

}  // namespace logstream::config
