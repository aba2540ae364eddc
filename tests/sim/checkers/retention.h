// Retention by time takes no record before its time, whatever the clocks on the walls say.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "tests/sim/checkers/truth.h"
#include "tests/sim/checkers/violations.h"
#include "tests/sim/machine.h"

namespace logstream::sim {

class RetentionChecker {
public:
    RetentionChecker(Violations& violations, World& world, const std::vector<std::unique_ptr<Machine>>& machines)
        : violations_(violations), world_(world), machines_(machines) {}

    // Records are kept so long, and nothing else takes them. Without this nothing is checked.
    void expect(Duration keep) { keep_ = keep; }
    // About ten times a second.
    void on_tick();
    std::uint64_t removed() const { return removed_; }

private:
    // From when on some log has reached so far.
    struct Reached {
        Offset end;
        TimePoint at;
    };
    enum class Blame : std::uint8_t { kBroker, kNobody };  // for what was removed before its time
    void look(const Machine& machine, const LogKey& log, const storage::StreamLog& stream, Blame blame);
    bool nobody_could_tell(Machine& machine) const;
    static std::int64_t wall_error_ms(Machine& machine);

    Violations& violations_;
    World& world_;
    const std::vector<std::unique_ptr<Machine>>& machines_;
    Duration keep_{};
    std::map<LogKey, std::vector<Reached>> reached_;
    std::map<std::pair<std::size_t, LogKey>, Offset> starts_;
    std::map<LogKey, Offset> farthest_;  // of the starts of all
    std::uint64_t removed_{};
};

}  // namespace logstream::sim
