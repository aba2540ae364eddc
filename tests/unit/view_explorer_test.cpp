// Random histories of a small cluster against the promises (view_model.h, view_oracle.h).
//
// One failing history again: VIEW_EXPLORER_SEED=n bin/view_test --gtest_filter='ViewExplorer.*'
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/unit/view_model.h"

namespace logstream::view {
namespace {

constexpr std::uint64_t kSeeds = 8000;

struct Outcome {
    std::optional<std::string> violation;
    std::size_t views_chosen{};
    std::size_t committed{};
    std::size_t most_bases{};
};

Outcome explore(std::uint64_t seed, Rules rules = {}) {
    Model model(seed, rules);
    const std::size_t steps = 1000 + seed % 5 * 1500;
    bool kept = true;
    for (std::size_t i = 0; i < steps && kept; ++i) kept = model.step();
    if (kept) model.heal();
    return {model.oracle.violation, model.oracle.views_chosen, model.oracle.committed().size(),
            model.oracle.most_bases};
}

TEST(ViewExplorer, NoHistoryBreaksAPromise) {
    if (const char* seed = std::getenv("VIEW_EXPLORER_SEED")) {
        const Outcome outcome = explore(std::strtoull(seed, nullptr, 10));
        EXPECT_FALSE(outcome.violation) << *outcome.violation;
        return;
    }
    Outcome sum;
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
        const Outcome outcome = explore(seed);
        ASSERT_FALSE(outcome.violation) << "seed " << seed << ": " << *outcome.violation;
        sum.views_chosen += outcome.views_chosen;
        sum.committed += outcome.committed;
        sum.most_bases = std::max(sum.most_bases, outcome.most_bases);
    }
    RecordProperty("views_chosen", static_cast<int>(sum.views_chosen));
    RecordProperty("committed", static_cast<int>(sum.committed));
    RecordProperty("most_bases", static_cast<int>(sum.most_bases));
    // Histories in which nothing happens would prove nothing.
    EXPECT_GT(sum.views_chosen, 5 * kSeeds);
    EXPECT_GT(sum.committed, 10 * kSeeds);
}

// The explorer is worth what it finds: each of these rules is needed, and it notices when one is broken.
std::optional<std::uint64_t> first_seed_that_breaks(Rules rules) {
    for (std::uint64_t seed = 1; seed <= 2 * kSeeds; ++seed)
        if (explore(seed, rules).violation) return seed;
    return std::nullopt;
}

TEST(ViewExplorer, FindsAPromiseThatWasNotPersisted) {
    EXPECT_TRUE(first_seed_that_breaks({.persist_promise = false}));
}

TEST(ViewExplorer, FindsAMemberThatAppendsAfterAPromise) { EXPECT_TRUE(first_seed_that_breaks({.freeze = false})); }

TEST(ViewExplorer, FindsALineageThatBeginsTwice) {
    EXPECT_TRUE(first_seed_that_breaks({.lineage_begins_once = false}));
}

TEST(ViewExplorer, FindsAVoteOfOneWhoLostWhatItAcknowledged) {
    EXPECT_TRUE(first_seed_that_breaks({.lossy_has_no_vote = false}));
}

TEST(ViewExplorer, FindsALearnerThatCutsWhatItAcknowledged) {
    EXPECT_TRUE(first_seed_that_breaks({.learner_keeps_acked_tail = false}));
}

}  // namespace
}  // namespace logstream::view
