// P5: no record that a member of the new view held vanishes. When a member promises a number its logs stand still; what
// it holds beyond the committed, and among its orphans, must stand in the final log if the view of that number is
// served with it as a member.
#pragma once

#include <functional>
#include <map>
#include <set>

#include "tests/sim/checkers/truth.h"
#include "tests/sim/checkers/violations.h"
#include "tests/sim/machine.h"

namespace logstream::sim {

class UnionChecker {
public:
    explicit UnionChecker(Violations& violations) : violations_(violations) {}

    void on_promise(Machine& machine, ViewNumber number);
    void on_first_served(ClusterId cluster, const view::View& view);
    // Its disk lost something: it vouches for nothing any more.
    void on_disk_lost(NodeId node) { unreliable_.insert(node); }

    struct Kept {
        NodeId holder;
        ViewNumber view;
        StreamId stream;
        Offset begin;  // of its tail
    };
    // Records that must stand in the log at the end, unless retention has removed what was appended in their time:
    // `starts` says what it kept. Nor must those stand there that a later instance of their producer took over.
    void at_end(ClusterId cluster, const std::set<RecordId>& standing, const std::map<StreamId, Offset>& starts,
                const std::function<bool(RecordId)>& is_taken_over);
    std::uint64_t records() const { return kept_.size(); }

private:
    struct Tail {
        protocol::Incarnation incarnation;
        std::map<RecordId, StreamId> records;
        std::map<StreamId, Offset> begins;  // of what the member held beyond what it knew to be committed
    };
    static void collect(StreamId stream, const Bytes& batch, Tail& out);

    Violations& violations_;
    std::map<std::pair<NodeId, ViewNumber>, std::shared_ptr<Tail>> tails_;
    std::map<std::pair<ClusterId, RecordId>, Kept> kept_;
    std::vector<std::tuple<ClusterId, ViewNumber, NodeId, std::shared_ptr<Tail>>> vouched_;
    std::set<NodeId> unreliable_;
};

}  // namespace logstream::sim
