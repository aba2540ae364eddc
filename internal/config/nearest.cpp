#include "internal/config/nearest.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace logstream::config {

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> two_back(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = std::min(row[j], two_back[j - 2] + 1);
        }
        std::swap(two_back, last);
        std::swap(last, row);
    }
    return last[b.size()];
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
    constexpr std::size_t kLongestWord = 100;  // beyond, it is no misspelling of anything
    if (word.size() > kLongestWord) return {};
    std::size_t least = std::min<std::size_t>(3, word.size() / 3) + 1;
    std::string_view found;
    for (const auto candidate : candidates) {
        const auto distance = edit_distance(word, candidate);
        if (distance < least) {
            least = distance;
            found = candidate;
        }
    }
    return found;
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates) {
    auto guess = nearest(word, candidates);
    if (guess.empty()) {
        const auto last_part = [](std::string_view key) { return key.substr(key.rfind('.') + 1); };
        const auto same = [&](std::string_view key) { return key.contains('.') && last_part(key) == last_part(word); };
        if (std::ranges::count_if(candidates, same) == 1) guess = *std::ranges::find_if(candidates, same);
    }
    return guess.empty() ? "" : fmt::format("; did you mean '{}'?", guess);
}

}  // namespace logstream::config
