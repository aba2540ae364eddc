// The topics that `consumer` reads: those that are named, and those that match a pattern.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/consumer/format.h"
#include "cmd/runtime/session.h"
#include "internal/client/consumer.h"

namespace logstream::consumer {

// Stands for more than one name, as in a shell: * ? [a-z].
bool is_pattern(std::string_view topic);

// One topic.
struct Source {
    std::string topic;
    Formatter formatter;
    std::unique_ptr<client::Consumer> consumer;
    bool ended{};
};

// One client::Consumer a topic. What matches a pattern is read as soon as it is there, when records are followed; else
// what is there at the start. All ends are one end, and the first failure is the failure of all.
class Sources {
public:
    // As client::Consumer::RecordHandler and FinishHandler.
    using RecordHandler = std::function<bool(Source& source, const client::ConsumedRecord& record)>;
    using FinishHandler = client::Consumer::FinishHandler;

    // `how`: of each topic; with several of them its time limit is that of all together.
    Sources(runtime::Session& session, std::vector<std::string> topics, client::ConsumerOptions how, std::string format,
            RecordHandler on_record, FinishHandler on_finish);
    ~Sources();
    Sources(const Sources&) = delete;
    Sources& operator=(const Sources&) = delete;

    void start();
    void resume();
    // See Consumer::stop.
    void stop(std::function<void()> done);
    // Sum of Consumer::lag.
    std::int64_t lag() const;
    // Several topics may be read: which one a record is of is no matter of course.
    bool several() const { return several_; }
    // A reader that must wait for the output does not count as silent.
    void excuse() { progress_at_ = session_.loop().now(); }

private:
    void add(const std::string& topic, client::StartAt start);
    void look_for_matches();
    void check_end();
    void watch_silence();
    void finish(protocol::Result<void> result);

    runtime::Session& session_;
    std::vector<std::string> topics_;
    client::ConsumerOptions how_;
    std::string format_;
    RecordHandler record_handler_;
    FinishHandler finish_handler_;
    bool several_{};
    bool matched_{};  // patterns were compared with the topics that there are
    protocol::Duration silence_{};
    client::Waiting waiting_;
    protocol::TimePoint progress_at_{};
    std::map<std::string, Source> sources_;
    client::Router::ListenerId listener_{};
    env::TimerId match_timer_;
    env::TimerId silence_timer_;
    std::size_t stopping_{};
};

}  // namespace logstream::consumer
