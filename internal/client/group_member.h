// A consumer's membership of a group: which partitions it reads, where they begin, and what it has done with them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "internal/client/owner_call.h"

namespace logstream::client {

// The protocol, asked of the owner of the groups stream. SUBSCRIBE is both the request to join and the keep-alive; its
// answer carries the generation and this member's partitions with the group's committed offsets. When the generation
// changes, the member stops reading what it lost, commits what it has written (with the new generation), and confirms
// by a SUBSCRIBE that carries the new generation. Only after that, or after the session of a silent member has ended,
// the broker gives the lost partitions to others: so no record is read twice in an orderly change.
class GroupMember {
public:
    struct Options {
        std::string group;
        std::string topic;
        Duration session_timeout = std::chrono::seconds(6);
    };
    using Offsets = std::map<std::uint32_t, std::int64_t>;  // partition -> the next offset to read; -1: none committed
    // The group gave this member another set of partitions. Call `confirm` when what is lost has been written out.
    using AssignmentHandler = std::function<void(const Offsets& assigned)>;
    using FailureHandler = std::function<void(const Error& error)>;

    GroupMember(Router& router, Options options, AssignmentHandler on_assignment, FailureHandler on_failure);
    ~GroupMember();
    GroupMember(const GroupMember&) = delete;
    GroupMember& operator=(const GroupMember&) = delete;

    void start();
    // The change of generation is carried out; `written` is what to commit first.
    void confirm(const Offsets& written);
    // Remembers progress; it is committed within `kCommitEvery`.
    void written(const Offsets& offsets);
    // Commits what is not committed yet, leaves the group, then calls `done` (at the latest after a few seconds).
    void leave(std::move_only_function<void()> done);

    // Nothing is under way that could change the assignment.
    bool stable() const { return confirmed_ && generation_ != 0; }
    // How long the assignment has been as it is.
    Duration unchanged_for() const;
    Duration session_timeout() const { return options_.session_timeout; }

    static constexpr Duration kCommitEvery = std::chrono::seconds(1);

private:
    void subscribe();
    void on_subscribed(Result<proto::SubscribeResponse> response);
    void schedule_subscribe(Duration after);
    void schedule_commit();
    void commit(std::move_only_function<void()> then);
    void send_leave();

    Router& router_;
    Options options_;
    AssignmentHandler on_assignment_;
    FailureHandler on_failure_;
    std::string member_;  // this process's name in the group
    std::uint64_t generation_{};
    bool confirmed_{true};
    bool leaving_{};
    Offsets assigned_;
    Offsets uncommitted_;
    TimePoint changed_at_{};
    env::TimerId subscribe_timer_;
    env::TimerId commit_timer_;
    bool commit_scheduled_{};
    bool committing_{};
    std::unique_ptr<OwnerCall> subscribe_call_;
    std::unique_ptr<OwnerCall> commit_call_;
    std::move_only_function<void()> left_;
};

}  // namespace logstream::client
