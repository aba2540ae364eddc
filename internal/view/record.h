// What a node has promised, accepted and knows to be chosen: the memory that must not forget.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "internal/view/view_names.h"

namespace logstream::view {

// A lineage that another one was recovered from: what was appended before that one's first view is the same in both.
struct Ancestor {
    ClusterId cluster;
    ViewNumber first_view;  // of the lineage that came after it
    friend bool operator==(const Ancestor&, const Ancestor&) = default;
};
inline constexpr std::size_t kMaxAncestors = 64;

// A number that was promised, and the one coordinator whom it was promised to.
struct Promise {
    ViewNumber number;
    NodeId to;
    friend bool operator==(const Promise&, const Promise&) = default;
};
// More than views are made in the life of a cluster, and half of what there is.
inline constexpr ViewNumber kLastOrdinaryNumber{1u << 30};
inline constexpr std::uint64_t kNumbersBeyondChosen = 1u << 20;

// The node's persistent record. Whoever changes it writes it to disk, flushed, before anything that rests on it is
// sent. `promised` never falls; `accepted` and `chosen` rise by number, and chosen <= the greatest number anyone
// installed.
struct Record {
    NodeId node;                       // made once
    ClusterId cluster;                 // 0 until it accepted or was taught a view, or promised one in an old lineage
    ViewNumber promised;               // the greatest number it answered; >= accepted->number
    NodeId promised_to;                // the one coordinator whom that number was promised to
    Incarnation promised_incarnation;  // and the run of it
    std::optional<View> accepted;      // the last view it was told to install, with its bases
    std::optional<View> chosen;        // the last view that it knows to be installed
    std::string machine;               // where it was last a voter; empty: not known
    bool must_relearn{};               // may have lost acknowledged bytes: no vote until it has caught up
    ViewNames views;                   // that it accepted, knows to be chosen, or holds records of
    std::vector<Promise> promises;     // the newest that it made, rising; the last one is of `promised`
    std::vector<Ancestor> ancestors;   // of its lineage, the oldest first
    ClusterId recovered_from;          // a lineage that a recovery ended, until the new one has its first view; 0: none
    // Why this broker must not go on by itself (committed records of its own contradict the cluster's, another history
    // bears the name of its own): it votes, joins and serves nothing until a person decides. Empty: it may go on.
    std::string verdict;

    // Of a broker that has promised nothing yet.
    static Record made_for(NodeId node);

    // May this coordinator's number be promised (or the same promise repeated)? A member promises a number to one
    // coordinator only, and never goes back.
    bool may_promise(ViewNumber number, NodeId coordinator, Incarnation incarnation) const;
    void promise(ViewNumber number, NodeId coordinator, Incarnation incarnation);
    // False: this view, if it counts on this node, proves that the node has forgotten.
    bool remembers_promise(const Base& view) const;
    // Nothing has come since this number was promised: no greater promise, no newer view that is chosen.
    bool is_latest(ViewNumber number) const { return promised == number && chosen_number() <= number; }
    // Only the view that was promised last is accepted. Accepting the same view again is fine.
    bool may_accept(const View& view) const;
    // The lineage goes on as `cluster`, by the word of a person. Repeating it changes nothing.
    void recover_as(ClusterId new_cluster);
    // Records `view` as accepted. What VIEW_INSTALL names as chosen is learned beside it (`learn_chosen`), in one
    // write.
    void accept(const View& view);
    // `view` is known to be chosen; older knowledge never replaces newer. True if that was news.
    bool learn_chosen(const View& view);

    ViewNumber accepted_number() const { return accepted ? accepted->number : ViewNumber{}; }
    ViewNumber chosen_number() const { return chosen ? chosen->number : ViewNumber{}; }
    // The greatest number the node has seen anywhere in this record.
    ViewNumber greatest_number() const;
    // The greatest number that is promised to anybody. A promise never falls, so one of the last number would be the
    // last one: numbers near the end are for those who know views near it to be chosen, which nobody can make them
    // believe with a message.
    ViewNumber greatest_promisable() const;
};

// Whether a node that remembers these promises, rising, promised the number of `view` to its coordinator: a number is
// promised to another one only by who has forgotten. What is older than the first one, it may have forgotten in order.
bool remembers_promise(std::span<const Promise> promises, const Base& view);

std::string encode(const Record& record);
// The field `ancestors` of a message.
template <class Proto>
void put_ancestors(const std::vector<Ancestor>& ancestors, Proto& out) {
    for (const Ancestor& ancestor : ancestors) {
        proto::Ancestor& added = *out.add_ancestors();
        added.set_cluster_id(ancestor.cluster.value);
        added.set_first_view(ancestor.first_view.value);
    }
}
template <class Proto>
std::vector<Ancestor> take_ancestors(const Proto& in) {
    std::vector<Ancestor> out;
    for (const proto::Ancestor& ancestor : in.ancestors())
        if (out.size() < kMaxAncestors)
            out.push_back({ClusterId{ancestor.cluster_id()}, ViewNumber{ancestor.first_view()}});
    return out;
}
// The field `promises` of a message.
template <class Proto>
void put_promises(const std::vector<Promise>& promises, Proto& out) {
    for (const Promise& promise : promises) {
        proto::Promise& added = *out.add_promises();
        added.set_number(promise.number.value);
        added.set_to(promise.to.value);
    }
}
// nullopt when they are not in order.
template <class Proto>
std::optional<std::vector<Promise>> take_promises(const Proto& in) {
    std::vector<Promise> out;
    for (const proto::Promise& promise : in.promises())
        out.push_back({ViewNumber{promise.number()}, NodeId{promise.to()}});
    if (!std::ranges::is_sorted(out, {}, &Promise::number)) return std::nullopt;
    return out;
}
protocol::Result<Record> decode_record(std::string_view bytes);

}  // namespace logstream::view
