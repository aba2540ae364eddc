// Consumer groups: while a member is heard of within its session, nobody (itself included) gets again what it got; and
// in the end the members together have got every record.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/sim/checkers/truth.h"
#include "tests/sim/checkers/violations.h"
#include "tests/sim/clients.h"

namespace logstream::sim {

class GroupChecker {
public:
    GroupChecker(Violations& violations, const protocol::TimePoint& now) : violations_(violations), now_(now) {}

    // The process at `member` began to read for `group`; what it was before has ended.
    void on_begin(Endpoint member);
    // A broker answers that it has the member on its list.
    void on_heard(Endpoint member);
    void on_delivery(const std::string& group, Endpoint member, const ConsumerClient::Delivery& delivery);
    // Old records are removed: a group that is slow leaves them out.
    void expect_retention(bool on) { retention_ = on; }

    // What a group that has read anything of a topic lacks of it; empty: nothing.
    std::string what_is_missing(const Truth& truth) const;
    std::uint64_t handed_over() const { return handed_over_; }

private:
    struct Life {
        std::uint64_t number{};
        protocol::TimePoint heard;       // last
        protocol::TimePoint was_silent;  // so long that its session may have ended: until then
    };
    struct Got {
        Endpoint member;
        std::uint64_t life{};  // 0: nobody has got it
        protocol::TimePoint at;
    };
    bool lived_since(const Got& got) const;

    Violations& violations_;
    const protocol::TimePoint& now_;
    std::map<Endpoint, Life> lives_;
    std::map<std::pair<std::string, LogKey>, std::vector<Got>> got_;  // by offset
    std::map<std::pair<std::string, LogKey>, Endpoint> last_reader_;
    std::uint64_t handed_over_{};
    bool retention_{};
};

}  // namespace logstream::sim
