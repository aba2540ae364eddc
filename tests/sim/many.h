// Running seeds: one with its transcript, many in processes of their own, and one again and again with ever less.
#pragma once

#include <functional>

#include "tests/sim/options.h"
#include "tests/sim/report.h"
#include "tests/sim/transcript.h"

namespace logstream::sim {

// Each returns the exit code: 0 when no promise was broken, else 1.
int run_one(const Options& options, Transcript::Detail detail);
// `jobs` 0: one a processor. The last line is "seeds A..B: N passed, M failed".
int run_many(const Options& options, std::uint64_t first, std::uint64_t last, unsigned jobs);
int minimize(Options options);

// Runs seeds in processes of their own and hands over what each came to, in no order, until `each` returns false.
void run_seeds(const Options& options, std::uint64_t first, std::uint64_t last, unsigned jobs,
               const std::function<bool(const Report&)>& each);

// Runs in a process of its own, so that an assertion that fails is a report like others.
Report run_apart(const Options& options);
void print_failure(const Options& options, const Report& report);

}  // namespace logstream::sim
