// A consumer's membership of a group: which partitions it reads, where they begin, and what it has done with them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "internal/client/owner_call.h"

namespace logstream::client {

using protocol::Offset;

// The protocol, asked of the owner of the groups stream. SUBSCRIBE is both the request to join and the keep-alive; its
// answer carries the generation and this member's partitions with the group's committed offsets. When the generation
// changes, the member stops reading what it lost, commits what it has written (with the new generation), and confirms
// by a SUBSCRIBE that carries the new generation. Only after that, or after the session of a silent member has ended,
// the broker gives the lost partitions to others: so no record is read twice in an orderly change.
//
// Partitions and offsets go by the topic's id: a topic that is deleted and made anew is another one. Where the group
// has no position yet, the one where reading begins is committed before anything is read.
class GroupMember {
public:
    struct Options {
        std::string group;
        std::string topic;
        Duration session_timeout = std::chrono::seconds(6);
    };
    using Offsets = std::map<StreamId, std::int64_t>;  // the next offset to read, or one of these:
    static constexpr std::int64_t kNoPosition = -1;    // the group has none yet
    static constexpr std::int64_t kNewTopic = -2;      // likewise, and it has read an older topic of this name

    struct Handlers {
        // The group gave this member another set of partitions. Call `confirm` when what is lost has been written out.
        std::function<void(const Offsets& assigned)> assigned;
        std::function<void(const Error& error)> failed;
        // `lives` is true again.
        std::function<void()> lives_again;
    };

    GroupMember(Router& router, Options options, Handlers handlers);
    ~GroupMember();
    GroupMember(const GroupMember&) = delete;
    GroupMember& operator=(const GroupMember&) = delete;

    void start();
    // The change of generation is carried out; `written` is what to commit first.
    void confirm(const Offsets& written);
    // Reading begins here, as far as the group did not say where.
    void begins(StreamId stream, Offset at);
    // Remembers progress; it is committed within `kCommitEvery`.
    void written(StreamId stream, Offset next);
    // Commits what is not committed yet, leaves the group, then calls `done` (at the latest after a few seconds).
    void leave(std::move_only_function<void()> done);

    // The group heard this member within its session. When it did not (this process stood still, or reached nobody),
    // others may be reading what was this member's.
    bool lives() const { return router_.env().now() - heard_at_ < options_.session_timeout; }
    // Nothing is under way that could change the assignment.
    bool stable() const { return confirmed_generation_ == generation_ && generation_ != 0; }
    // How long the assignment has been as it is.
    Duration unchanged_for() const;
    // After so long without a word from it, each member, this one or another, is out of the group.
    Duration longest_session() const { return longest_session_; }
    // The group's position in this partition was moved back by an operator; until `confirm`.
    bool was_reset(StreamId stream) const { return reset_.contains(stream); }
    // Why the group does not answer, for a person; empty: it does.
    const std::string& trouble() const { return trouble_; }

    static constexpr Duration kCommitEvery = std::chrono::seconds(1);

private:
    using CommitHandler = std::move_only_function<void(Result<void> committed)>;

    void subscribe();
    void on_subscribed(Result<proto::SubscribeResponse> response, TimePoint asked_at);
    void on_refused(const Error& error);
    void schedule_subscribe(Duration after);
    void take_resets();
    void confirm_generation(std::uint64_t generation);
    void commit_progress();
    void schedule_commit(Duration after);
    void commit(CommitHandler then);
    void send_leave();

    Router& router_;
    Options options_;
    Handlers handlers_;
    std::string member_;  // this process's name in the group
    std::uint64_t generation_{};
    std::uint64_t confirmed_generation_{};
    bool leaving_{};
    Offsets assigned_;
    Offsets uncommitted_;
    Offsets committed_;         // by this member, last
    std::set<StreamId> reset_;  // what was read before that is not committed any more
    Duration longest_session_{};
    TimePoint changed_at_{};
    TimePoint heard_at_{};  // when what the group last answered was asked
    std::string trouble_;
    env::TimerId subscribe_timer_;
    env::TimerId confirm_timer_;
    env::TimerId commit_timer_;
    bool commit_scheduled_{};
    bool committing_{};
    std::unique_ptr<OwnerCall> subscribe_call_;
    std::unique_ptr<OwnerCall> commit_call_;
    std::move_only_function<void()> left_;
};

}  // namespace logstream::client
