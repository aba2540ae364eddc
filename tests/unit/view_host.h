// A node of the view model (view_model.h) and what can be said of it and its log alone.
#pragma once

#include <memory>

#include "internal/view/record.h"
#include "tests/unit/view_oracle.h"

namespace logstream::view {

// Rules that lie outside the room but that its promises rest on. Each can be broken, to see that the explorer notices.
struct Rules {
    bool persist_promise = true;           // the promise is on disk before it is answered
    bool check_what_is_fetched = true;     // by the epoch table of the base log
    bool learner_keeps_acked_tail = true;  // a learner cuts only what it holds of views older than the one it follows
    bool lossy_has_no_vote = true;         // who may have lost acknowledged bytes says so
    bool lineage_begins_once = true;       // another beginning would be another lineage
    bool freeze = true;                    // nothing is appended or acknowledged once a greater number is promised
};

struct Install {
    View view;
    std::optional<View> chosen;
    StreamPlan plan;
};

struct Host {
    Record record;
    std::string disk;  // the record as it would be read after a crash
    bool up = true;
    Incarnation run;
    Log log;
    std::size_t durable{};  // of the log
    std::size_t high_watermark{};
    Log orphans;
    std::optional<View> installed;  // by this run
    std::optional<Install> installing;
    std::map<NodeId, std::size_t> acked;  // of an owner
    std::unique_ptr<Change> change;
    std::map<NodeId, Log> exchanged;  // what those who answered held then; for the oracle

    NodeId id() const { return record.node; }
};

inline void persist(Host& host) { host.disk = encode(host.record); }

inline constexpr StreamId kOnlyStream{protocol::TopicId{16}, 0};
inline Offset end_of(const Log& log) { return Offset(static_cast<std::int64_t>(log.size())); }
inline NodeId owner_of(const View& view) { return view.members[view.number.value % view.members.size()].id; }
inline bool frozen(const Host& host) { return !host.installed || host.record.promised > host.installed->number; }
inline bool serving(const Host& host) {
    return host.up && !frozen(host) && host.record.chosen_number() == host.installed->number;
}
inline bool owns(const Host& host) { return serving(host) && owner_of(*host.installed) == host.id(); }
// The log below this end was written before `view`.
inline std::size_t written_before(const Log& log, ViewNumber view) {
    std::size_t end = log.size();
    while (end > 0 && log[end - 1].view >= view) --end;
    return end;
}

// Up to where the same views wrote the log and the base log, hence the same records.
inline std::size_t agreement(const Log& log, const std::vector<EpochStart>& base, std::size_t base_end) {
    std::size_t at = 0;
    while (at < std::min(log.size(), base_end) && log[at].view == writer_at(base, at)) ++at;
    return at;
}

}  // namespace logstream::view
