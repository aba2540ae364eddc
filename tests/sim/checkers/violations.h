// Where checkers report that a promise of the broker is broken.
#pragma once

#include <string>
#include <vector>

#include "internal/protocol/error.h"
#include "internal/protocol/time.h"

namespace logstream::sim {

struct Violation {
    std::string promise;  // "P1", …, or the name of another rule
    std::string text;
    protocol::TimePoint at;
};

class Violations {
public:
    explicit Violations(const protocol::TimePoint& now) : now_(now) {}
    // Only the first few are kept: what follows a broken promise means little.
    template <class... Args>
    void report(std::string promise, fmt::format_string<Args...> text, Args&&... args) {
        if (list_.size() < kKept)
            list_.push_back({std::move(promise), fmt::format(text, std::forward<Args>(args)...), now_});
    }
    bool none() const { return list_.empty(); }
    const std::vector<Violation>& list() const { return list_; }

private:
    static constexpr std::size_t kKept = 8;
    const protocol::TimePoint& now_;
    std::vector<Violation> list_;
};

}  // namespace logstream::sim
