// What must hold in every run of the view model (view_model.h), checked after each event that could break it.
//
// The oracle sees everything, also what no node knows: which view content each number got, which base log each planned
// view has, who accepted it, which records anybody ever called committed. It never influences a run.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "internal/view/change.h"

namespace logstream::view {

// A record of the one stream of the model: who wrote it (the view), and what.
struct Entry {
    ViewNumber view;
    int value{};
    friend bool operator==(const Entry&, const Entry&) = default;
};
using Log = std::vector<Entry>;

inline std::vector<EpochStart> epochs_of(const Log& log) {
    std::vector<EpochStart> out;
    for (std::size_t i = 0; i < log.size(); ++i)
        if (out.empty() || out.back().view != log[i].view)
            out.push_back({log[i].view, Offset(static_cast<std::int64_t>(i))});
    return out;
}

// The view that wrote the record at `offset`, by an epoch table.
inline ViewNumber writer_at(const std::vector<EpochStart>& epochs, std::size_t offset) {
    ViewNumber out;
    for (const EpochStart& epoch : epochs)
        if (epoch.first <= Offset(static_cast<std::int64_t>(offset))) out = epoch.view;
    return out;
}

class Oracle {
public:
    // A coordinator made its plan; `logs` are what those who answered held when they answered.
    void planned(const Plan& plan, const std::map<NodeId, Log>& logs) {
        one_content(plan.view);
        const StreamPlan& stream = plan.streams.front();
        if (stream.sources.empty()) return violated("view {} has a base log that nobody holds", plan.view.number);
        const Log& base = logs.at(stream.sources.front());
        for (NodeId source : stream.sources)
            if (logs.at(source) != base)
                violated("view {} names source {}, whose log is not the base log", plan.view.number, source);
        base_logs_.try_emplace(plan.view.number, base);
        most_bases = std::max(most_bases, plan.view.bases.size());
        if (plan.chosen) chosen(*plan.chosen);  // its own coordinator may never have known
    }

    // P3: whoever accepts a view holds the base log then, no less and no more, hence the same as every other member.
    void accepted(NodeId node, const View& view, const Log& log) {
        one_content(view);
        if (log != base_logs_.at(view.number)) violated("node {} accepts view {} with another log", node, view.number);
        acceptors_[view.number].insert(node);
    }

    void chosen(const View& view) {
        one_content(view);
        if (chosen_.contains(view.number)) return;
        ++views_chosen;
        const Log& base = base_logs_.at(view.number);
        for (std::size_t i = 0; i < committed_.size(); ++i) check_kept(view.number, base, i);
        const auto next = chosen_.emplace(view.number, view).first;
        if (next != chosen_.begin()) share_a_quorum(std::prev(next)->second, view);
        if (std::next(next) != chosen_.end()) share_a_quorum(view, std::next(next)->second);
        committed_in(view.number, base, base.size());
    }

    // P1, P2, P4: the owner of `view` calls the first `end` records of its log committed, as producers and readers see
    // it.
    void committed_in(ViewNumber view, const Log& log, std::size_t end) {
        for (std::size_t i = 0; i < std::min(end, committed_.size()); ++i)
            if (log[i] != committed_[i]) return violated("view {} changes the committed record at {}", view, i);
        for (std::size_t i = committed_.size(); i < end; ++i) {
            committed_.push_back(log[i]);
            for (const auto& [number, later] : chosen_)
                if (number > log[i].view) check_kept(number, base_logs_.at(number), i);
        }
    }

    // Members without a vote had to be counted: from here on records may be missing, and everybody was told so.
    void loss_was_announced() { over = true; }

    template <class... Args>
    void violated(fmt::format_string<Args...> format, Args&&... args) {
        if (!violation) violation = fmt::format(format, std::forward<Args>(args)...);
    }

    const Log& committed() const { return committed_; }

    std::optional<std::string> violation;  // the first one
    bool over{};                           // nothing more is promised in this history
    std::size_t views_chosen{};
    std::size_t most_bases{};

private:
    void one_content(const View& view) {
        const auto [at, fresh] = contents_.try_emplace(view.number, view);
        if (!fresh && at->second != view) violated("view {} has two contents", view.number);
    }

    // A committed record that was written before `view` is in its base log; one that `view` or a later one wrote is
    // not.
    void check_kept(ViewNumber view, const Log& base, std::size_t at) {
        if (at < base.size()) {
            if (base[at] != committed_[at])
                violated("the base log of view {} changes the committed record at {}", view, at);
        } else if (committed_[at].view < view) {
            violated("the base log of view {} lacks the record at {}, committed in view {}", view, at,
                     committed_[at].view);
        }
    }

    // Consecutive chosen views: the later one had to ask a quorum of the earlier one, and has one among its acceptors.
    void share_a_quorum(const View& before, const View& after) {
        if (!is_quorum(before.base(), acceptors_[after.number]))
            violated("view {} was chosen without a quorum of view {}", after.number, before.number);
    }

    std::map<ViewNumber, View> contents_;
    std::map<ViewNumber, Log> base_logs_;
    std::map<ViewNumber, NodeSet> acceptors_;
    std::map<ViewNumber, View> chosen_;
    Log committed_;
};

}  // namespace logstream::view
