// What a misspelt word was probably meant to be.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace logstream::config {

// Steps from one word to the other, where a step inserts, removes or replaces a character or swaps two neighbours
// (optimal string alignment distance).
std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate that is fewest steps away, if that is near: a third of the word's length, and at most three. Else
// empty.
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

// "; did you mean 'storage.fsync'?", or nothing when there is no good guess. Of keys with dots one with the same last
// part is a good guess too, as long as there is only one.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace logstream::config
