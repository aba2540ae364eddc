// Makes this node's logs agree with a given base log: what departs from it goes to the orphans, what lacks or is
// damaged is fetched by TCP from a member that has it, and nothing more than that.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "internal/node/core.h"
#include "internal/node/fetch_pace.h"
#include "internal/protocol/lifetime.h"

namespace logstream::node {

struct AlignTarget {
    enum class Purpose : std::uint8_t {
        kAgree,  // with the base log: what departs from it goes to the orphans, unless it is committed
        // A member of the view in which all this stands mends its log where it is, and gives nothing up.
        kMend,
        // A person named the survivors that begin a new lineage: what is committed here gives way to their base log,
        // and is kept like all else that departs from it.
        kRecover,
    };

    view::StreamPlan plan;  // epochs and log end to agree with, and who holds it
    Offset fetch_to{};      // at most plan.log_end; up to here the suffix is fetched
    // Records of this view beyond plan.log_end stay: they may be committed though the one who made the plan has not
    // received them yet. None: the plan's end is the end.
    std::optional<ViewNumber> current_view = std::nullopt;
    std::vector<NodeId> others{};  // who else may hold some of it: asked for what is damaged here
    Purpose purpose = Purpose::kAgree;
};

class Aligner {
public:
    // Success: every target is reached and flushed. kNetwork, kTimeout: no source could be read; try again later.
    // kCorrupt, in place only: damage that cannot be mended so, or that nobody holds the records of any more.
    using DoneHandler = std::function<void(Result<void>)>;
    using AddressOf = std::function<std::optional<Endpoint>(NodeId)>;

    // Work starts at once, or when what another one began and left is done; `done` is called once, from the loop,
    // unless the object is destroyed before.
    Aligner(Core& core, ClusterId cluster, std::vector<AlignTarget> targets, AddressOf address_of, DoneHandler done);
    Aligner(const Aligner&) = delete;
    Aligner& operator=(const Aligner&) = delete;

    std::uint64_t fetched_bytes() const { return fetched_bytes_; }

private:
    struct Task {
        AlignTarget target;
        std::size_t source{};  // index in plan.sources
        std::size_t failures{};
        view::NodeSet without{};  // sources that lack what is damaged here: removed by retention, or damaged there too
        bool removed{};           // by one of them, so that nobody needs it
        bool begun{};             // the log begins where that of the source does
    };
    using TaskPtr = std::shared_ptr<Task>;

    void start_more();
    void cut(const TaskPtr& task);
    Offset departure(const Task& task, const storage::StreamLog& log) const;
    Offset departure_behind(const Task& task, const storage::StreamLog& log, Offset at) const;
    void keep_and_cut(const TaskPtr& task, Offset from, Offset to);
    void move_to_orphans(const TaskPtr& task, Stream& stream, Offset from, Offset cut_at);
    ClusterId history_of(const Task& task, ViewNumber view) const;
    void truncate(const TaskPtr& task, Stream& stream, Offset to);
    void mend(const TaskPtr& task, Stream& stream, storage::DamageRange damage);
    void mended(const TaskPtr& task, const protocol::Bytes& answer, std::int64_t appended_ms);
    void give_up_from(const TaskPtr& task, Offset from);
    void start_over(const TaskPtr& task);
    void without_vote(const TaskPtr& task, std::function<void(Stream&)> then);
    void fill(const TaskPtr& task);
    enum class What : std::uint8_t { kBatches, kStartTables, kRepair };
    void fetch(const TaskPtr& task, Stream& stream, What what);
    void fetched(const TaskPtr& task, What what, NodeId source, Result<Message> reply);
    std::vector<NodeId> sources_of(const Task& task, What what) const;
    void source_failed(const TaskPtr& task, const Error& error);
    void task_done();
    void finish(Result<void> result);

    Core& core_;
    ClusterId cluster_;  // the lineage of the base log; this node may not have entered it yet
    AddressOf address_of_;
    DoneHandler done_;
    std::deque<TaskPtr> waiting_;
    FetchPace pace_;
    std::size_t running_{};
    std::uint64_t fetched_bytes_{};
    protocol::Lifetime lifetime_;
};

}  // namespace logstream::node
