// What must hold of views, counted apart from the code under test: a number names one membership everywhere, views rise
// at each node and across its restarts, promises are kept, each member is in its own view, consecutive views share a
// quorum, and members that begin to serve a view have the same base log (P3).
#pragma once

#include <map>
#include <set>

#include "tests/sim/checkers/truth.h"
#include "tests/sim/checkers/violations.h"
#include "tests/sim/machine.h"

namespace logstream::sim {

class ViewChecker {
public:
    explicit ViewChecker(Violations& violations) : violations_(violations) {}

    // A process has started, from what its disk remembers.
    void on_start(Machine& machine);
    // What it promised and accepted since it does not know any more.
    void on_image_restored(NodeId node) { memories_.erase(node); }
    // Something ran in the machine's process.
    void look(Machine& machine);
    // It answered a coordinator: granted `number`.
    void on_granted(Machine& machine, ViewNumber number, Endpoint coordinator);

    using ViewKey = std::pair<ClusterId, ViewNumber>;
    // A view was served by somebody for the first time.
    std::function<void(const ViewKey&, const view::View&)> on_first_served;
    // What a node promised rose: from here on its logs stand still until it accepts.
    std::function<void(Machine&, ViewNumber)> on_promise;

    const std::map<ViewKey, view::View>& served() const { return served_; }
    const std::map<ViewKey, view::View>& accepted() const { return contents_; }
    std::uint64_t changes() const { return served_.size(); }
    // The newest view that this node served: it knows that one to be chosen.
    ViewNumber served_by(NodeId node) const;

private:
    struct Memory {  // of one node id, while it stays in its lineage
        ViewNumber granted;
        ViewNumber accepted;
        ViewNumber served;
        std::map<ViewNumber, Endpoint> granted_to;
    };
    struct Last {  // of one process
        bool loaded{};
        ClusterId cluster;
        ViewNumber promised;
        ViewNumber accepted;
        ViewNumber installed;
        ViewNumber serving;
    };
    void loaded(Machine& machine, Last& last);
    void accepted(Machine& machine, const view::View& view);
    void installed(Machine& machine, const view::View& view);
    void serving(Machine& machine, const view::View& view);
    void check_content(Machine& machine, const view::View& view);
    bool linked(const ViewKey& before, const ViewKey& after) const;
    void check_quorums(const ViewKey& key, const view::View& view);
    void check_base_log(Machine& machine, const ViewKey& key);
    ClusterId cluster_of(Machine& machine) const { return machine.node().core().record.cluster; }

    Violations& violations_;
    std::map<NodeId, Memory> memories_;
    std::map<std::size_t, Last> last_;
    std::map<ViewKey, view::View> contents_;
    std::map<ViewKey, std::set<NodeId>> acceptors_;  // who ever recorded it
    std::map<ViewKey, view::View> served_;
    std::map<std::pair<ViewKey, StreamId>, std::pair<Offset, std::string>> base_ends_;
};

}  // namespace logstream::sim
