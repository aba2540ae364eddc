// Says how a run goes on while its threads work.
#pragma once

#include <thread>

#include "cmd/bench/options.h"
#include "cmd/bench/worker.h"

namespace logstream::bench {

// A line on a terminal; and, wherever stderr goes, a line when no record has come through for a while.
class Progress {
public:
    // Both outlive it. Ends with the run, and at the latest when it is destroyed.
    Progress(const Options& options, const Schedule& schedule);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

private:
    std::jthread thread_;
};

}  // namespace logstream::bench
