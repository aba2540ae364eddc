// Reads a topic: every partition of it, one, or those that a group gives us.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "internal/client/group_member.h"
#include "internal/client/partition_reader.h"
#include "internal/client/waiting.h"

namespace logstream::client {

struct ConsumerOptions {
    std::string topic;
    std::optional<std::uint32_t> partition;  // not with a group
    StartAt start;                           // with a group: where it has not committed yet
    bool start_given{};                      // by the user, who with a group is told where it does not apply
    bool follow{};
    bool skip_unreadable{};                // see ReaderOptions
    std::optional<std::int64_t> until_ms;  // likewise
    std::string group;                     // empty: none
    Duration session_timeout = std::chrono::seconds(6);
    Duration topic_timeout = std::chrono::seconds(3);  // for a topic that nobody has created yet; following waits on
    Duration timeout{};                                // without a record for so long it gives up; 0: never
    std::uint32_t max_bytes = 4u << 20;                // of one answer
};

// Records of one partition come in the order of their offsets, those of several partitions interleaved. With a group,
// what the caller reports as written is committed, and what was lost to another member is handed over only when it has
// been written.
//
// It reads a topic, not a name: when the topic is deleted, reading to an end fails. Following says so, waits for the
// name to be there again, and goes on at the beginning of the new topic; partitions that are added are read from their
// beginning, too. What it waits for is said on the log.
class Consumer {
public:
    // Returns whether there is room for more; false pauses until resume().
    using RecordHandler = std::function<bool(const ConsumedRecord& record)>;
    // All ends are reached, or reading failed. Comes once.
    using FinishHandler = std::move_only_function<void(Result<void> result)>;

    Consumer(Router& router, ConsumerOptions options, RecordHandler on_record, FinishHandler on_finish);
    ~Consumer();
    Consumer(const Consumer&) = delete;
    Consumer& operator=(const Consumer&) = delete;

    void start();
    void resume();
    // All records of `partition` below `next` have left the program for good.
    void written(std::uint32_t partition, Offset next);
    // The offset after what was read of a partition last; nullopt: it is not read here.
    std::optional<Offset> position(std::uint32_t partition) const;
    // Records that are there and were not given out yet, in all partitions that are read; as of the last answers.
    std::int64_t lag() const;
    // Whoever takes the records has no room for more.
    bool paused() const;
    // Commits what was written and leaves the group; then `done`. No record comes any more.
    void stop(std::move_only_function<void()> done);

private:
    void on_view();
    void on_topic_timeout();
    void on_topic(const Topic& topic);
    void on_topic_gone(std::string_view what);
    void open(StreamId stream, StartAt start);
    bool on_record(const ConsumedRecord& record);
    void on_reader_end();
    void schedule_check();
    void check_end();
    void join_group();
    // How things stand, twice a second.
    void look();
    std::string why_waiting() const;
    void on_assignment(const GroupMember::Offsets& assigned);
    StartAt start_in_group(std::int64_t position) const;
    void hand_over();
    void tell_assignment(const GroupMember::Offsets& assigned);
    void finish(Result<void> result);

    Router& router_;
    ConsumerOptions options_;
    ReaderOptions reader_options_;
    RecordHandler record_handler_;
    FinishHandler finish_handler_;
    PartitionReader::RecordHandler on_record_;
    PartitionReader::EndHandler on_reader_end_;
    Router::ListenerId listener_;
    env::TimerId topic_timer_;
    env::TimerId check_timer_;
    env::TimerId look_timer_;
    Waiting waiting_;
    TimePoint progress_at_{};     // the last record, or what excuses that none came
    std::optional<Topic> topic_;  // as it is read
    bool opened_{};
    bool stopped_{};
    std::map<std::uint32_t, std::unique_ptr<PartitionReader>> readers_;
    std::map<StreamId, std::int64_t> emitted_;  // the offset after the last record given out
    std::map<StreamId, std::int64_t> written_;  // the same, written
    // With a group.
    std::unique_ptr<GroupMember> member_;
    std::optional<GroupMember::Offsets> next_assignment_;  // waits until what is lost has been written
    bool told_start_{};
};

}  // namespace logstream::client
