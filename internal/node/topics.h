// The topics of the cluster, as the metadata stream tells them: every member applies what is committed there, the
// leader appends to it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <unordered_map>

#include "internal/node/committed_reader.h"
#include "internal/node/settings.h"

namespace logstream::node {

using protocol::TopicId;

// Kafka's rule: 1 to 249 of a-z A-Z 0-9 . _ -, and neither "." nor "..".
protocol::Result<void> check_topic_name(std::string_view name);

class Topics {
public:
    // A topic is gone: its streams are to be dropped.
    using DeletedHandler = std::function<void(TopicId)>;

    Topics(env::Env& env, Streams& streams, DeletedHandler on_deleted);

    const proto::TopicRecord* find(const std::string& name) const;
    const proto::TopicRecord* find(TopicId id) const;
    // Only if it has this id, where that is not 0.
    const proto::TopicRecord* find(const std::string& name, TopicId id) const;
    // By name.
    const std::map<std::string, proto::TopicRecord>& all() const { return by_name_; }
    bool was_deleted(TopicId id) const { return deleted_.contains(id); }
    // Total partitions of all topics.
    std::size_t stream_count() const { return stream_count_; }

    CommittedReader& reader() { return reader_; }
    void reset();

    // The batch that makes, alters or deletes a topic when it is appended to the metadata stream. What deletes it
    // stands there twice: under its name, which a new topic may take over, and for good under its id, so that a broker
    // that was away for however long knows that the records which it holds are not wanted any more.
    static Result<protocol::Bytes> encode(const proto::TopicRecord& record, std::int64_t timestamp_ms);

private:
    void apply(const protocol::Record& record);

    DeletedHandler on_deleted_;
    std::map<std::string, proto::TopicRecord> by_name_;
    std::unordered_map<std::uint64_t, const proto::TopicRecord*> by_id_;  // those of by_name_
    std::size_t stream_count_{};
    std::set<TopicId> deleted_;
    CommittedReader reader_;
};

}  // namespace logstream::node
